// SPDX-License-Identifier: GPL-2.0

//! The bindings that bindgen generates from `bindings_helper.h`: those of the user interface, and
//! of the module's own C helpers.
//!
//! Lints are allowed for generated code in this file only.

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

/// Implements [`FromBytes`] and [`AsBytes`] for structs of the interface.
macro_rules! plain_data {
    ($($name:ident),* $(,)?) => {$(
        // SAFETY: The fields of these structs are integers, so that any bytes are a valid value.
        unsafe impl FromBytes for $name {}
        // SAFETY: The fields of these structs are integers, and there is no implicit padding
        // between them (see the assertions on the sizes in `request.rs` and `request/`). So all
        // bytes of a value are initialised.
        unsafe impl AsBytes for $name {}
    )*};
}

plain_data! {
    rfutex_event,
    rfutex_key_info,
    rfutex_list,
    rfutex_owner_id,
    rfutex_query,
    rfutex_requeue,
    rfutex_swap,
    rfutex_table_create,
    rfutex_wait,
    rfutex_waiter,
    rfutex_waitv,
    rfutex_waitv_entry,
    rfutex_wake,
    rfutex_wake_op,
    rfutex_wakev,
    rfutex_wakev_entry,
    rfutex_watch_add,
    rfutex_watch_remove,
    rfutex_watches_create,
}
