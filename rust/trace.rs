// SPDX-License-Identifier: GPL-2.0

//! The trace events, which are described in Documentation/trace.rst, and defined in
//! rfutex_events.h.
//!
//! An event that is switched off costs no more than its static branch. What it shows is computed
//! only when it is on: in particular, the number that stands for an object is a hash, so that
//! neither kernel addresses nor the numbers of objects are revealed.
//!
//! All functions here may be called in any context, with or without locks.
//!
//! C header: `rust/rfutex_events.h`

#[cfg(CONFIG_TRACEPOINTS)]
use crate::bindings::rfutex_trace_key;
use crate::{
    bindings,
    key::{
        KeyId,
        Resolver, //
    },
    mm::{
        pid::Pid,
        version::EALREADY, //
    },
    owner::Owner,
    queue::Waiter,
    table::Table,
    word::Word, //
};
use core::pin::Pin;
use kernel::prelude::*;

/// The command that waits or wakes.
#[derive(Clone, Copy)]
pub(crate) enum Command {
    Wait = bindings::RFUTEX_TRACE_OP_WAIT as isize,
    Waitv = bindings::RFUTEX_TRACE_OP_WAITV as isize,
    Swap = bindings::RFUTEX_TRACE_OP_SWAP as isize,
    #[cfg(CONFIG_IO_URING)]
    UringWait = bindings::RFUTEX_TRACE_OP_URING_WAIT as isize,
    Wake = bindings::RFUTEX_TRACE_OP_WAKE as isize,
    Wakev = bindings::RFUTEX_TRACE_OP_WAKEV as isize,
    WakeOp = bindings::RFUTEX_TRACE_OP_WAKE_OP as isize,
}

/// What happens to a watch.
#[derive(Clone, Copy)]
pub(crate) enum WatchEvent {
    /// It was queued.
    Armed = bindings::RFUTEX_TRACE_WATCH_ARMED as isize,
    /// A wake has met it.
    Fired = bindings::RFUTEX_TRACE_WATCH_FIRED as isize,
    /// A requeue has met it, and it stays where it is.
    Moved = bindings::RFUTEX_TRACE_WATCH_MOVED as isize,
    /// It was removed, or its set was closed.
    Removed = bindings::RFUTEX_TRACE_WATCH_REMOVED as isize,
}

/// Why a resolver has to begin again. The numbers are those of the steps in
/// [`page`](crate::key::page).
#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// 3: the page has no mapping, because it is being moved.
    NoMapping = bindings::RFUTEX_TRACE_STEP_NO_MAPPING as isize,
    /// 5: the mapping has no host any more.
    HostGone = bindings::RFUTEX_TRACE_STEP_HOST_GONE as isize,
    /// 6: the inode is being destroyed.
    InodeGoing = bindings::RFUTEX_TRACE_STEP_INODE_GOING as isize,
    /// 7: the word may have another key by now.
    MappingChanged = bindings::RFUTEX_TRACE_STEP_MAPPING_CHANGED as isize,
    /// Somebody is changing the address space.
    MmapLocked = bindings::RFUTEX_TRACE_STEP_MMAP_LOCKED as isize,
    /// Nothing is mapped at the address.
    NoArea = bindings::RFUTEX_TRACE_STEP_NO_AREA as isize,
    /// The inode has no number yet.
    NoNumber = bindings::RFUTEX_TRACE_STEP_NO_NUMBER as isize,
    /// Somebody has changed the address space meanwhile.
    AreaChanged = bindings::RFUTEX_TRACE_STEP_AREA_CHANGED as isize,
    /// Somebody is changing what is mapped at the address.
    #[cfg(RFUTEX_VMA_LOCK)]
    VmaLocked = bindings::RFUTEX_TRACE_STEP_VMA_LOCKED as isize,
}

/// The result of a wait for a word that no wake has met, because another word has ended the call.
pub(crate) const OTHER_WORD: Result = Err(EALREADY);

/// What is shown of a key of `table`.
#[cfg(CONFIG_TRACEPOINTS)]
fn key(table: &Table, id: KeyId) -> rfutex_trace_key {
    rfutex_trace_key {
        kind: id.kind().to_uapi(),
        offset: id.offset(),
        object: table.object_cookie(id),
        index: id.index(),
    }
}

/// What is shown of a result: 0, or a negative error number.
#[cfg(CONFIG_TRACEPOINTS)]
fn number(result: Result) -> c_int {
    result.map_or_else(Error::to_errno, |()| 0)
}

/// Whether an event is on.
macro_rules! on {
    ($event:ident) => {{
        #[cfg(CONFIG_TRACEPOINTS)]
        kernel::macros::paste! {
            // SAFETY: The key is that of a tracepoint, which is defined in C.
            unsafe {
                kernel::jump_label::static_branch_unlikely!(
                    bindings::[<__tracepoint_ $event>],
                    kernel::bindings::tracepoint,
                    key
                )
            }
        }
        #[cfg(not(CONFIG_TRACEPOINTS))]
        {
            false
        }
    }};
}

/// Whether [`wake()`] emits an event, so that it is worth to find out what it has to be told.
#[inline(always)]
pub(crate) fn shows_wakes() -> bool {
    on!(rfutex_wake)
}

/// Whether [`watch()`] emits an event, so that it is worth to find out what it has to be told.
#[inline(always)]
pub(crate) fn shows_watches() -> bool {
    on!(rfutex_watch)
}

/// Defines functions that emit an event. Each takes the arguments that come first, and computes
/// from them the arguments of the tracepoint, which follow.
///
/// The kernel's `declare_trace!` finds the tracepoints of the kernel's own bindings only, and does
/// not compute anything.
macro_rules! events {
    ($($(#[$attr:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) => $event:ident($($value:expr),* $(,)?);)*) => {$(
        $(#[$attr])*
        #[inline(always)]
        pub(crate) fn $name($($arg: $ty),*) {
            #[cfg(CONFIG_TRACEPOINTS)]
            kernel::macros::paste! {
                /// Emits the event, which is on.
                #[cold]
                #[inline(never)]
                fn emit($($arg: $ty),*) {
                    // SAFETY: The function reads only what the pointers among the values point to,
                    // which are references.
                    unsafe { bindings::[<rust_do_trace_ $event>]($($value),*) };
                }
                if on!($event) {
                    emit($($arg),*);
                }
            }
            #[cfg(not(CONFIG_TRACEPOINTS))]
            {
                $(let _ = $arg;)*
            }
        }
    )*};
}

events! {
    /// The current task is about to be queued on the key `id` of `table`, and to sleep, because
    /// `word` has the value `val`.
    ///
    /// This is called before the bucket is unlocked, so that the event comes before that of the
    /// wake which ends the wait.
    fn wait(table: &Table, op: Command, id: KeyId, word: Word, val: u64, mask: u64, deadline: bool) =>
        rfutex_wait(
            op as u32,
            &key(table, id),
            word.size().bytes() as u32,
            val,
            mask,
            deadline,
        );

    /// The current task does not wait on the key of `waiter` any more, for the reason that `result`
    /// says. It must be in no queue.
    fn woken(table: &Table, op: Command, waiter: Pin<&Waiter<'_>>, result: Result) =>
        rfutex_woken(
            op as u32,
            &key(table, waiter.unqueued_id().unwrap_or(KeyId::NONE)),
            number(result),
        );

    /// A request of io_uring that has waited on the key `id` of `table` was ended with `result`.
    #[cfg(CONFIG_IO_URING)]
    fn request_ended(table: &Table, id: KeyId, result: c_int) =>
        rfutex_woken(bindings::RFUTEX_TRACE_OP_URING_WAIT, &key(table, id), result);

    /// Of those who wait on the key `id` of `table`, `nr` were to be woken, and `woken` were.
    fn wake(table: &Table, op: Command, id: KeyId, mask: u64, nr: u32, woken: u32) =>
        rfutex_wake(op as u32, &key(table, id), mask, nr, woken);

    /// Of those who wait on the key `from` of `table`, `nr` were to be woken and others moved to
    /// the key `to`. `done` were. Both numbers of a pair are first those who were woken, then those
    /// who were moved.
    fn requeue(table: &Table, from: KeyId, to: KeyId, nr: (u32, u32), done: (u32, u32)) =>
        rfutex_requeue(&key(table, from), &key(table, to), nr.0, nr.1, done.0, done.1);

    /// Something happens to the watch that the set at `set`, which waits in `table`, knows as `id`.
    fn watch(what: WatchEvent, table: &Table, set: usize, id: u64, on: KeyId) =>
        rfutex_watch(what as u32, table.address_cookie(set), id, &key(table, on));

    /// A resolver has to begin again, or to go on with a lock.
    fn retry(resolver: Resolver, step: Step) =>
        rfutex_retry(resolver.to_uapi(), step as u32);

    /// A wait ends because its `owner` has ended.
    fn owner_has_ended(owner: &Owner) =>
        rfutex_owner_dead(
            bindings::RFUTEX_TRACE_DEATH_WAIT,
            owner.kind().to_uapi(),
            owner.global_number(),
            owner.id(),
            0,
        );

    /// A thread that had joined has ended. Its pid is `pid` and its id `id`, and `marked` words
    /// carried the latter.
    fn member_has_ended(pid: &Pid, id: u64, marked: u32) =>
        rfutex_owner_dead(
            bindings::RFUTEX_TRACE_DEATH_ROBUST,
            bindings::RFUTEX_OWNER_THREAD,
            pid.global_number(),
            id,
            marked,
        );
}
