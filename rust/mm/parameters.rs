// SPDX-License-Identifier: GPL-2.0

//! The module parameter that the `module!` macro cannot declare (parameters.c).

use crate::bindings;

/// The value of the parameter `hold`: one of `RFUTEX_HOLD_*`.
pub(crate) fn hold() -> u32 {
    // SAFETY: Reads a number that was set before the module's `init` ran, and does not change.
    unsafe { bindings::rfutex_param_hold() }
}
