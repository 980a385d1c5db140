// SPDX-License-Identifier: GPL-2.0
//! Failures that the kernel provokes: each allocation, and each access to user memory, of a call.

use super::Feature;
use crate::memory::Setting;
use rfutex::Error;
use std::fs::File;
use std::io::{Read, Write};

/// What the kernel does not fail, or not in silence, without being told so.
const SETTINGS: [(&str, &str); 6] = [
    ("failslab/ignore-gfp-wait", "N"),
    ("failslab/verbose", "0"),
    ("fail_page_alloc/ignore-gfp-wait", "N"),
    ("fail_page_alloc/min-order", "0"),
    ("fail_page_alloc/verbose", "0"),
    ("fail_usercopy/verbose", "0"),
];

/// What a call fails with if an allocation does.
pub const NO_MEMORY: Error = Error::Os(libc::ENOMEM);

/// Checks that a call failed with `error` because something was made to fail: an allocation, or an
/// access to the caller's memory. Returns whether there was no memory.
#[track_caller]
pub fn lacked_memory(error: Error, failed: bool) -> bool {
    assert!(failed);
    assert!([NO_MEMORY, Error::Fault].contains(&error), "{error:?}");
    error == NO_MEMORY
}

/// Lets what a thread calls fail, in one place after the other.
#[derive(Debug)]
pub struct FailNth {
    _settings: Vec<Setting>,
}

impl FailNth {
    /// The most places in a call.
    const MOST: u32 = 1000;

    /// Makes everything ready. Skips the test if the kernel provokes no failures.
    #[track_caller]
    pub fn new() -> Self {
        Feature::FaultInjection.need();
        let setting = |(name, value)| {
            let path = format!("/sys/kernel/debug/{name}");
            Setting::set(path, value)
        };
        Self {
            _settings: SETTINGS.into_iter().map(setting).collect(),
        }
    }

    /// Makes the call again and again. Each time the next place in it that can fail does; the last
    /// time none. `after` gets the result, and whether something has failed.
    ///
    /// Returns how many places there are.
    #[track_caller]
    pub fn each<T>(&self, mut call: impl FnMut() -> T, mut after: impl FnMut(T, bool)) -> u32 {
        let path = "/proc/thread-self/fail-nth";
        for nr in 1..Self::MOST {
            let mut file = File::options()
                .read(true)
                .write(true)
                .open(path)
                .expect(path);
            let mut left = [0; 16];
            // One system call for each of these, because it counts what happens in them as well.
            file.write_all(nr.to_string().as_bytes()).expect(path);
            let result = call();
            // If the number is used up by this access, it was not by the call.
            let failed = matches!(file.read(&mut left), Ok(1..)) && left[0] == b'0';
            while file.write_all(b"0").is_err() {}
            after(result, failed);
            if !failed {
                return nr - 1;
            }
        }
        panic!("a call with {} places that can fail", Self::MOST);
    }

    /// The same for a call that makes something, which goes again at once. Returns how often there
    /// was no memory for it.
    #[track_caller]
    pub fn each_allocation<T>(&self, make: impl FnMut() -> Result<T, Error>) -> u32 {
        let mut without_memory = 0;
        let places = self.each(make, |result, failed| {
            if let Err(error) = result {
                without_memory += u32::from(lacked_memory(error, failed));
            }
        });
        println!("{places} places, {without_memory} without memory");
        without_memory
    }
}
