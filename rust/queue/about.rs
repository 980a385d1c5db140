// SPDX-License-Identifier: GPL-2.0

//! What a listing shows of a waiter.

use super::{
    node::Node,
    Kind,
    Waiter, //
};
#[cfg(CONFIG_IO_URING)]
use crate::uring;
#[cfg(RFUTEX_KUNIT)]
use crate::word::Location;
use crate::{
    key::KeyId,
    mm::{
        number::Number,
        pid::Pid,
        time, //
    },
    owner::Owner,
    watch,
    word::Word, //
};
use core::ptr::NonNull;
use kernel::sync::aref::ARef;

/// What a waiter has asked for, and when. No operation needs it: it lies beside the node, so that
/// those who search the queue do not pay for it.
#[derive(Clone, Copy)]
pub(crate) struct About {
    pub(crate) word: Word,
    /// The value that the word was compared with.
    pub(crate) val: u64,
    /// When it began to wait, in jiffies.
    pub(crate) since: u64,
}

impl About {
    /// What a waiter tells that begins to wait now, while `word` has the value `val`.
    #[inline]
    pub(crate) fn new(word: Word, val: u64) -> Self {
        Self {
            word,
            val,
            since: time::jiffies(),
        }
    }

    /// What the waiters of tests tell that ask for nothing in particular.
    #[cfg(RFUTEX_KUNIT)]
    pub(crate) fn made_up() -> Self {
        Self::new(Word::at(0, Location::PrivateAddress), 0)
    }
}

/// A waiter as it was when somebody looked at its queue. Nothing that this has keeps the waiter.
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) id: KeyId,
    pub(crate) mask: u64,
    /// The number of the mm of the process that waits.
    pub(crate) mm: Option<Number>,
    /// Whether it was moved to another word than the one that it has asked for.
    pub(crate) moved: bool,
    pub(crate) about: About,
    pub(crate) who: Who,
    /// How long it had been waiting when the cursor left the beginning of the table, in jiffies, so
    /// that ages can be compared; 0 if it has come later.
    pub(crate) age: u64,
}

/// Who waits, and what only some kinds of waiters have.
pub(crate) struct Who {
    /// The thread, if it is a task that waits; otherwise the process that has armed the watch or
    /// submitted the request.
    pub(crate) pid: ARef<Pid>,
    /// Whose end also ends the wait.
    pub(crate) owner: Option<Owner>,
    /// What the user recognises the watch or the request by.
    pub(crate) cookie: u64,
}

impl Who {
    /// The process that has armed a watch or submitted a request, which is known by `cookie`.
    pub(crate) fn armed(pid: &ARef<Pid>, cookie: u64) -> Self {
        Self {
            pid: pid.clone(),
            owner: None,
            cookie,
        }
    }
}

impl Seen {
    /// The waiter whose node is `node`; `None` if it is a marker, or has come after the time `begun`.
    /// Its age is that at the time `started`. Both times are in jiffies.
    ///
    /// # Safety
    ///
    /// The node must be in a queue whose lock the caller holds.
    pub(super) unsafe fn new(node: NonNull<Node>, begun: u64, started: u64) -> Option<Self> {
        // SAFETY: By the function's requirements, the node is in a queue, so it is alive.
        let queued = unsafe { node.as_ref() };
        // SAFETY: In each case, the node is of the kind that the function requires, and is in a
        // queue whose lock the caller holds.
        let about = unsafe {
            match queued.kind() {
                Kind::Task => Waiter::about(node),
                #[cfg(CONFIG_IO_URING)]
                Kind::Request => uring::about(node),
                Kind::Watch | Kind::RepeatedWatch => watch::about(node),
                Kind::Marker => return None,
            }
        };
        if time::is_after(about.since, begun) {
            return None;
        }
        // SAFETY: As for `about`.
        let who = unsafe {
            match queued.kind() {
                Kind::Task => Waiter::who(node),
                #[cfg(CONFIG_IO_URING)]
                Kind::Request => uring::who(node),
                Kind::Watch | Kind::RepeatedWatch => watch::who(node),
                Kind::Marker => return None,
            }
        };
        Some(Self {
            kind: queued.kind(),
            // SAFETY: The node is in a queue whose lock the caller holds.
            id: unsafe { queued.id() },
            mask: queued.mask,
            mm: queued.mm(),
            moved: queued.was_moved(),
            about,
            who,
            age: started.saturating_sub(about.since),
        })
    }
}
