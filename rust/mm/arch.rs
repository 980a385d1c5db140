// SPDX-License-Identifier: GPL-2.0

//! What C inlines and Rust can only call: the few primitives that every operation needs.
//!
//! A call costs more than what is called: registers to save and restore, in the caller as well. On
//! x86-64 these are the instructions that C has in their place, each named. Elsewhere they are calls.

use kernel::{
    bindings,
    sync::atomic::Atomic, //
};

#[cfg(CONFIG_SMP)]
#[cfg(CONFIG_X86_64)]
mod x86;

#[cfg(CONFIG_SMP)]
#[cfg(CONFIG_X86_64)]
pub(crate) use x86::*;

#[cfg(not(all(CONFIG_SMP, CONFIG_X86_64)))]
mod generic;

#[cfg(not(all(CONFIG_SMP, CONFIG_X86_64)))]
pub(crate) use generic::*;

/// `atomic_read()`: not ordered. On every architecture it is one plain load.
#[inline(always)]
pub(crate) fn read(count: &Atomic<i32>) -> i32 {
    // SAFETY: The pointer is valid. Volatile accesses are what `READ_ONCE()` is made of.
    unsafe { count.as_ptr().read_volatile() }
}
