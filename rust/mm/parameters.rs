// SPDX-License-Identifier: GPL-2.0

//! The module parameters that the `module!` macro cannot declare. They are declared in
//! parameters.c.

use crate::bindings;

/// The value of the parameter `hold`: one of `RFUTEX_HOLD_*`.
pub(crate) fn hold() -> u32 {
    // SAFETY: The function only reads a variable, which is set before the module's `init` function
    // runs, and does not change later.
    unsafe { bindings::rfutex_param_hold() }
}

/// The value of the parameter `tables`: how many tables of his own a user may have.
pub(crate) fn tables() -> u32 {
    // SAFETY: The function only reads a variable, which is set before the module's `init` function
    // runs, and does not change later.
    unsafe { bindings::rfutex_param_tables() }
}

/// The value of the parameter `arena_pages`: how many pages all arenas of a user may have.
pub(crate) fn arena_pages() -> u64 {
    // SAFETY: The function only reads a variable, which is set before the module's `init` function
    // runs, and does not change later.
    unsafe { bindings::rfutex_param_arena_pages() as u64 }
}

/// The value of the parameter `watches`: how many watches a user may have armed.
pub(crate) fn watches() -> u32 {
    // SAFETY: The function only reads a variable, which is set before the module's `init` function
    // runs, and does not change later.
    unsafe { bindings::rfutex_param_watches() }
}
