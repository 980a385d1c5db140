// SPDX-License-Identifier: GPL-2.0

//! `RFUTEX_OWNER_ID`: what the caller is as an owner.

use crate::{
    bindings::rfutex_owner_id,
    mm::pid::Pid,
    owner,
    request::{
        self,
        Argument, //
    },
};
use kernel::prelude::*;

/// Tells the caller the ids and the numbers of its thread and its process.
///
/// # Errors
///
/// `EFAULT`: the answer cannot be written. Others as [`owner::current_ids`].
///
/// # Context
///
/// Process context, no locks held. May sleep.
pub(crate) fn owner_id(argument: Argument) -> Result {
    let (thread_id, process_id) = owner::current_ids()?;
    request::answer(
        argument,
        &rfutex_owner_id {
            thread_id,
            process_id,
            thread: Pid::current_thread().number(),
            process: Pid::current_process().number(),
        },
    )
}
