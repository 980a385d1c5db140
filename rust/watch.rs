// SPDX-License-Identifier: GPL-2.0

//! Watches: waiters that are not tasks, whose wakes are read from a file.
//!
//! A *watch* waits on a word as a sleeping task does: it is queued in a bucket, and a wake that
//! meets it is consumed by it. But nobody sleeps. The wake becomes an *event* of the *watch set*
//! that the watch belongs to, which is a file that can be polled and read.
//!
//! # Ownership
//!
//! A set owns its watches, and nobody else does. The queue of a bucket, and the list of those that
//! have something to be read, only link them. A watch is freed by who has removed it from the set's
//! index, under the lock of the set, after it had left both. Most of what is done with a watch is
//! done under that lock, so that it cannot be freed meanwhile. There are two exceptions:
//!
//! - Whoever reads the event of a watch uses it while its stage is
//!   [`Stage::Read`](events::Stage::Read). Nobody else frees it then.
//! - Whoever removes a watch takes it out of its queue, for which the lock of the set must not be
//!   held. It notes before that it is removing the watch, and nobody else frees it then.
//!
//! A wake that meets a watch ([`meet`]) has the lock of the bucket, and takes the lock of the set.
//! The watch is marked as woken under both, so that it is in use until the set is unlocked.
//!
//! A watch holds no reference on anything that its word lies on: its key consists of numbers. It
//! just meets nobody any more when the process or the file is gone.
//!
//! # A set that a wake has met
//!
//! A wake must not wake pollers while it holds a bucket's lock. It adds the set, with a reference
//! on it, to a list of sets, which is worked off when the lock is released ([`Sets`]).

mod events;
mod file;
mod read;
mod set;
mod sets;
#[cfg(RFUTEX_KUNIT)]
mod tests;

use self::events::State;
pub(crate) use self::{
    file::create,
    set::Set,
    sets::Sets, //
};
use crate::{
    account::Charge,
    key::KeyId,
    mm::{
        pid::Pid,
        slab::{
            Cache,
            Cached, //
        },
        task, //
    },
    queue::{
        About,
        Node,
        WaiterKind,
        Who, //
    },
    trace::WatchEvent,
    wake_chain::WakeChain, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomPinned,
    mem,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    static_assert,
    sync::{
        aref::ARef,
        ArcBorrow, //
    }, //
};

/// A watch.
///
/// # Invariants
///
/// - The watch is owned by the index of `set`, does not move, and is freed only as the
///   [module](self) says.
/// - The buckets that the node may be queued in are those of the set's table.
/// - `state` is accessed only under the lock of the set.
#[pin_data]
#[repr(C)]
pub(crate) struct Watch {
    node: Node,
    /// The set, which stays valid for as long as it has watches.
    set: ArcBorrow<'static, Set>,
    /// What the user has given to recognise the events of this watch.
    cookie: u64,
    state: UnsafeCell<State>,
    about: About,
    /// The process that has armed the watch, if it is not the one that has made the set.
    process: Option<ARef<Pid>>,
    _charge: Charge,
    #[pin]
    _pin: PhantomPinned,
}

// With what the memory cgroup and the index need for each, a watch takes no more than 192 bytes.
static_assert!(size_of::<Watch>() <= 168);

/// The cache of watches.
static CACHE: Cache<Watch> = Cache::new();

// SAFETY: There is only one cache of watches.
unsafe impl Cached for Watch {
    const NAME: &'static CStr = c"rfutex_watch";

    fn cache() -> &'static Cache<Self> {
        &CACHE
    }
}

// SAFETY: What changes in a watch is protected by locks, which any task may take.
unsafe impl Send for Watch {}

/// What a watch was met by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// A wake.
    Woken,
    /// A requeue, which would have moved it, if it did not stay where it is.
    Moved,
}

impl Watch {
    /// An initialiser for a watch of `set`, which belongs to the current process, and has no key
    /// yet. A listing shows what is in `about`.
    ///
    /// # Safety
    ///
    /// The invariants of the type must hold of the place where the watch is made.
    unsafe fn new(
        set: ArcBorrow<'_, Set>,
        mask: u64,
        cookie: u64,
        repeat: bool,
        about: About,
        charge: Charge,
    ) -> impl PinInit<Self> {
        let kind = if repeat {
            WaiterKind::RepeatedWatch
        } else {
            WaiterKind::Watch
        };
        let mm = task::current_mm_number();
        // SAFETY: The set owns the watch, so that it is valid for as long as the watch. The
        // lifetime is not used for anything else.
        let set = unsafe { mem::transmute::<ArcBorrow<'_, Set>, ArcBorrow<'static, Set>>(set) };
        // INVARIANT: The caller ensures that the invariants hold.
        pin_init!(Self {
            // SAFETY: The node is the first field of a waiter of this kind. By the function's
            // requirements, the watch stays where it is made. Watches are no more urgent than any
            // task.
            node: unsafe { Node::new(kind, KeyId::NONE, mask, mm, task::NORMAL_PRIORITY) },
            set,
            cookie,
            state: UnsafeCell::new(State::default()),
            about,
            process: set.process_if_other(),
            _charge: charge,
            _pin: PhantomPinned,
        })
    }

    /// The set that the watch belongs to.
    fn set(&self) -> ArcBorrow<'_, Set> {
        self.set
    }

    /// The process that has armed the watch.
    fn process(&self) -> &ARef<Pid> {
        self.process.as_ref().unwrap_or(self.set.process())
    }

    /// Whether the watch stays queued after a wake.
    fn repeats(&self) -> bool {
        self.node.kind() == WaiterKind::RepeatedWatch
    }
}

/// What the watch whose node is `node` has asked for.
///
/// # Safety
///
/// The node must be that of a watch, and be in a queue whose lock the caller holds.
pub(crate) unsafe fn about(node: NonNull<Node>) -> About {
    // SAFETY: By the invariants of `Node`, it is the first field of a watch. It is queued, so that it
    // is not freed while the bucket is locked.
    unsafe { node.cast::<Watch>().as_ref() }.about
}

/// Who has armed the watch whose node is `node`.
///
/// # Safety
///
/// As [`about`].
pub(crate) unsafe fn who(node: NonNull<Node>) -> Who {
    // SAFETY: By the invariants of `Node`, it is the first field of a watch. It is queued, so that it
    // is not freed while the bucket is locked.
    let watch = unsafe { node.cast::<Watch>().as_ref() };
    Who::armed(watch.process(), watch.cookie)
}

/// Tells the watch whose node is `node` that it was met, and adds its set to `chain`. If the watch
/// does not stay queued, marks it as woken.
///
/// # Safety
///
/// The node must be that of a watch, in a queue whose lock is still held, from which it was just
/// taken out. It must not have been marked before. Unless the watch stays queued, it must not be
/// accessed again.
#[cold]
#[inline(never)]
pub(crate) unsafe fn meet(node: NonNull<Node>, what: What, chain: &mut WakeChain) {
    let link = node.cast::<Watch>();
    // SAFETY: By the invariants of `Node`, it is the first field of a watch. It is not marked, so
    // that it is not freed while the bucket is locked.
    let watch = unsafe { link.as_ref() };
    let set = watch.set();
    let mut locked = set.lock();
    // The event is there before the set is in the chain, because another chain may wake the pollers
    // at once.
    // SAFETY: The watch belongs to this set, whose lock is held.
    unsafe { locked.count(link, what) };
    let event = match what {
        What::Woken => WatchEvent::Fired,
        What::Moved => WatchEvent::Moved,
    };
    // SAFETY: As above, and the lock of the watch's bucket is held.
    unsafe { locked.tell(link, event) };
    chain.add_set(set);
    if !watch.repeats() {
        locked.disarmed();
        // Whoever sees the mark may free the watch as soon as the set's lock is released.
        // SAFETY: The caller ensures what the function requires.
        unsafe { watch.node.mark() };
    }
}
