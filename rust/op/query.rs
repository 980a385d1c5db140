// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_QUERY`: what this module can do.

use crate::{
    bindings as uapi,
    bindings::rfutex_query,
    context::Context,
    mm::parameters,
    request::{
        self,
        Argument, //
    },
    word::Size, //
};
use kernel::prelude::*;

const FEATURES: u64 = (uapi::RFUTEX_FEATURE_WAIT
    | uapi::RFUTEX_FEATURE_WAKE
    | uapi::RFUTEX_FEATURE_KEY_INFO
    | uapi::RFUTEX_FEATURE_REQUEUE
    | uapi::RFUTEX_FEATURE_WAKE_OP
    | uapi::RFUTEX_FEATURE_WAITV
    | uapi::RFUTEX_FEATURE_SWAP
    | uapi::RFUTEX_FEATURE_WATCHES
    | uapi::RFUTEX_FEATURE_WAKEV
    | uapi::RFUTEX_FEATURE_TABLES
    | uapi::RFUTEX_FEATURE_OWNERS
    | uapi::RFUTEX_FEATURE_ROBUST
    | uapi::RFUTEX_FEATURE_LIST
    | uapi::RFUTEX_FEATURE_RESOLVER_PAGE
    | uapi::RFUTEX_FEATURE_RESOLVER_VMA) as u64
    | bits_if(
        uapi::RFUTEX_CMPXCHG_USER_SIZES == Size::ALL,
        uapi::RFUTEX_FEATURE_WAKE_OP_SIZES as u64,
    )
    | bits_if(cfg!(CONFIG_IO_URING), uapi::RFUTEX_FEATURE_URING as u64)
    | bits_if(
        cfg!(RFUTEX_LAB),
        uapi::RFUTEX_FEATURE_RESOLVER_LOCKED as u64 | uapi::RFUTEX_FEATURE_LAB as u64,
    );

/// `bits` if the module was built for what they say, otherwise none.
const fn bits_if(built: bool, bits: u64) -> u64 {
    if built {
        bits
    } else {
        0
    }
}

/// Tells the caller the version, the features and the settings of the module. `robust_size` is the
/// size in bytes of the robust words of the open file.
///
/// # Errors
///
/// `EFAULT`: the answer cannot be written.
///
/// # Context
///
/// Process context, no locks held. May sleep.
pub(crate) fn query(context: Context<'_>, robust_size: usize, argument: Argument) -> Result {
    let table = context.table();
    request::answer(
        argument,
        &rfutex_query {
            version: uapi::RFUTEX_VERSION,
            resolver: context.resolver().to_uapi(),
            features: FEATURES,
            sizes: Size::ALL,
            nr_buckets: table.nr_buckets() as u32,
            hold: table.hold().to_uapi(),
            max_watches: parameters::watches(),
            arena_size: table.arena().map_or(0, |arena| arena.size() as u64),
            max_arena_pages: parameters::arena_pages(),
            max_tables: parameters::tables(),
            robust_size: robust_size as u32,
        },
    )
}
