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

/// Declares that any bytes are a value of these structs, and that all bytes of a value are
/// initialised.
macro_rules! plain_data {
    ($($name:ident),* $(,)?) => {$(
        // SAFETY: The structs of the interface are integers, without implicit padding (see the
        // assertions on their sizes in `request.rs`): every bit pattern is a value.
        unsafe impl FromBytes for $name {}
        // SAFETY: For the same reason, every byte of a value is initialised.
        unsafe impl AsBytes for $name {}
    )*};
}

plain_data! {
    rfutex_key_info,
    rfutex_query,
    rfutex_requeue,
    rfutex_swap,
    rfutex_wait,
    rfutex_waitv,
    rfutex_waitv_entry,
    rfutex_wake,
    rfutex_wake_op,
}
