// SPDX-License-Identifier: GPL-2.0
//! Finds the `syscall` instructions of a library and plans how those that may be reached with
//! certain numbers are redirected.
//!
//! An instruction of two bytes has no room for a jump of five. So its neighbours are overwritten as
//! well, and work in a trampoline near the library from then on: see `window.rs` for what may be
//! overwritten. Nothing here touches a program: an [`Image`] is only read, and a [`Plan`] becomes
//! [`Code`], bytes that somebody else puts where they belong.
//!
//! Which instructions are redirected is decided by the number that is in `eax` there (see
//! `number.rs`). If it is known to be another call's, the instruction is left alone. If it is not
//! known, the trampoline compares it at every call. So all that may be one of the wanted calls is
//! redirected, and if one such instruction cannot be, [`Plan::refused`] says so: a library is
//! redirected as a whole or not at all.
//!
//! One instruction has to stay where it is: the one at which glibc cancels threads. See `cancel.rs`.

mod cancel;
mod code;
mod fixup;
mod function;
mod image;
mod kept;
mod number;
mod plan;
mod targets;
#[cfg(test)]
mod tests;
mod trampoline;
mod unwind;
mod window;

pub use code::{Code, Error, Patch, Placed, Slots};
pub use image::{Image, Segment};
pub use number::Number;
pub use plan::{Fate, Plan, Site, Summary, Why, hook};
