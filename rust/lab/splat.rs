// SPDX-License-Identifier: GPL-2.0

//! Splats on demand, to prove that the test harness sees each kind.

use kernel::prelude::*;

/// Makes the kernel complain in the way that is called `name`.
///
/// # Errors
///
/// `EINVAL`: no such way.
pub(crate) fn trigger(_name: &str) -> Result {
    Err(EINVAL)
}
