// SPDX-License-Identifier: GPL-2.0
//! Opening the device, and what to say if a call fails.

use std::fmt;

use anyhow::{Error, Result, anyhow};
use rfutex::Rfutex;

/// Opens the device.
pub fn open() -> Result<Rfutex> {
    Rfutex::open().map_err(|error| {
        let path = Rfutex::PATH;
        match error.errno() {
            libc::ENOENT | libc::ENODEV | libc::ENXIO => {
                anyhow!("the module rfutex is not loaded (there is no {path})")
            }
            libc::EACCES | libc::EPERM => {
                anyhow!(
                    "permission to open {path} is missing, which root and the group rfutex have"
                )
            }
            libc::ENOTTY => anyhow!(
                "{path} belongs to another version of the module, which this program cannot use"
            ),
            _ => anyhow!("{path} cannot be opened: {error}"),
        }
    })
}

/// What is said of a failed call of the command `command`, such as `RFUTEX_LIST`.
pub fn failed(command: impl fmt::Display, error: rfutex::Error) -> Error {
    match error {
        rfutex::Error::Unsupported | rfutex::Error::NotBuilt => {
            anyhow!("the module that is loaded does not know {command}: it is too old")
        }
        error => anyhow!("{command} failed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_module_is_told_from_other_failures() {
        let too_old = failed("RFUTEX_LIST", rfutex::Error::Unsupported).to_string();
        assert!(too_old.ends_with("it is too old"), "{too_old}");
        let other = failed("RFUTEX_LIST", rfutex::Error::Fault).to_string();
        assert!(other.starts_with("RFUTEX_LIST failed: "), "{other}");
    }
}
