// SPDX-License-Identifier: GPL-2.0

//! The module parameter that the `module!` macro cannot declare. It is declared in parameters.c.

use crate::bindings;

/// The value of the parameter `hold`: one of `RFUTEX_HOLD_*`.
pub(crate) fn hold() -> u32 {
    // SAFETY: The function only reads a variable, which is set before the module's `init` function
    // runs, and does not change later.
    unsafe { bindings::rfutex_param_hold() }
}
