// SPDX-License-Identifier: GPL-2.0

//! What bindgen made of `include/uapi/linux/rfutex.h` and of `helpers.c`.
//!
//! The only file with allowances for generated code. Nothing but [`crate::mm`], [`crate::request`]
//! and [`crate::device`] uses it.

#[allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
mod generated {
    use kernel::bindings::*;
    include!(env!("RFUTEX_BINDINGS"));
}

pub(crate) use generated::*;

use kernel::transmute::{
    AsBytes,
    FromBytes, //
};

// SAFETY: The interface's structs are integers without implicit padding (`static_assert!`s in
// `request.rs`): every bit pattern is a value, and every byte of a value is initialised.
unsafe impl FromBytes for rfutex_wait {}
// SAFETY: As above.
unsafe impl FromBytes for rfutex_wake {}
// SAFETY: As above.
unsafe impl FromBytes for rfutex_requeue {}
// SAFETY: As above.
unsafe impl FromBytes for rfutex_wake_op {}
// SAFETY: As above.
unsafe impl FromBytes for rfutex_waitv {}
// SAFETY: As above.
unsafe impl FromBytes for rfutex_waitv_entry {}
// SAFETY: As above.
unsafe impl FromBytes for rfutex_swap {}
// SAFETY: As above.
unsafe impl FromBytes for rfutex_key_info {}
// SAFETY: As above.
unsafe impl AsBytes for rfutex_key_info {}
// SAFETY: As above.
unsafe impl AsBytes for rfutex_query {}
