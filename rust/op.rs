// SPDX-License-Identifier: GPL-2.0

//! The operations, one file for each. They read from top to bottom: from the request to the key,
//! the bucket, the waiter and the result.

#![deny(unsafe_code)]

pub(crate) mod key_info;
pub(crate) mod owner_id;
pub(crate) mod query;
pub(crate) mod requeue;
pub(crate) mod swap;
pub(crate) mod wait;
pub(crate) mod waitv;
pub(crate) mod wake;
pub(crate) mod wake_op;
pub(crate) mod wakev;
