// SPDX-License-Identifier: GPL-2.0

//! Watch sets: adding and removing watches.

use super::{
    events::{
        Events,
        Stage,
        State, //
    },
    sets::Link,
    Watch,
    What, //
};
use crate::{
    account::CurrentAccount,
    context::Context,
    fdinfo,
    key::{
        KeyId,
        Resolver, //
    },
    lab::{
        self,
        Point, //
    },
    mm::{
        index::Index,
        pid::Pid,
        slab::{
            Slab,
            SlabBox, //
        },
        task,
        wait_queue::WaitQueue, //
    },
    queue::About,
    request,
    table::Table,
    trace::{
        self,
        WatchEvent, //
    }, //
};
use core::{
    mem::ManuallyDrop,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    new_spinlock,
    prelude::*,
    seq_file::SeqFile,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        lock::spinlock::SpinLockGuard,
        Arc,
        ArcBorrow,
        SpinLock, //
    }, //
};

/// The last slot of a set's index.
const LAST_SLOT: u32 = u32::MAX;

/// A watch set.
#[pin_data]
pub(crate) struct Set {
    table: Arc<Table>,
    /// The resolver that the device file had when the set was made.
    resolver: Resolver,
    /// Protects the states of all watches as well. It is taken while the lock of a bucket is held.
    #[pin]
    events: SpinLock<Events>,
    #[pin]
    pub(super) pollers: WaitQueue,
    pub(super) link: Link,
    /// A watch is erased only under the lock of `events`.
    #[pin]
    index: Index<Watch, Slab<Watch>>,
    /// How many watches were added.
    generation: Atomic<u32>,
    /// The account of the user who has added a watch last.
    #[pin]
    account: CurrentAccount,
    /// The process that has made the set. The watches that it adds need no reference on its number
    /// then, whose counter all processors write to that add watches for the process.
    process: ARef<Pid>,
}

impl Set {
    /// Makes an empty set, whose watches wait in `table`, on words that are found by `resolver`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no memory.
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep. The memory is charged to the memory cgroup of the
    /// current task.
    pub(super) fn new(table: Arc<Table>, resolver: Resolver) -> Result<Arc<Self>> {
        if lab::fault(Point::Allocate) {
            return Err(ENOMEM);
        }
        let set = pin_init!(Self {
            table,
            resolver,
            events <- new_spinlock!(Events::default(), "rfutex_watches"),
            pollers <- WaitQueue::new(),
            link: Link::new(),
            index <- Index::new(LAST_SLOT),
            generation: Atomic::new(0),
            account <- CurrentAccount::new(),
            process: Pid::current_process(),
        });
        Arc::pin_init(set, GFP_KERNEL_ACCOUNT)
    }

    /// Locks the set.
    ///
    /// # Context
    ///
    /// Does not sleep. The caller may hold the locks of buckets, but must not take one before it
    /// releases this lock.
    pub(super) fn lock(&self) -> Locked<'_> {
        Locked {
            events: self.events.lock(),
            set: self,
        }
    }

    /// The process that has made the set.
    pub(super) fn process(&self) -> &ARef<Pid> {
        &self.process
    }

    /// The current process, unless it has made the set.
    pub(super) fn process_if_other(&self) -> Option<ARef<Pid>> {
        (!self.process.is_current_process()).then(Pid::current_process)
    }

    /// The number of watches, whatever their stage.
    #[cfg(RFUTEX_KUNIT)]
    pub(super) fn nr_watches(&self) -> usize {
        self.index.iter().count()
    }

    /// Shows the set in `/proc/PID/fdinfo`.
    pub(super) fn show(&self, m: &SeqFile) {
        fdinfo::show_table(m, &self.table);
        fdinfo::show_resolver(m, self.resolver);
        let locked = self.lock();
        let (armed, pending) = (locked.events.armed, locked.events.pending);
        drop(locked);
        fdinfo::show_watches(m, armed, pending);
    }

    /// The context of an operation on the words of this set.
    fn context(&self) -> Context<'_> {
        Context::new(&self.table, self.resolver)
    }
}

/// `RFUTEX_WATCH_ADD`: compares the word with the value in the request and, if they are equal, adds
/// a watch on it.
///
/// Comparing and queueing are atomic with respect to wakes. The id of the watch is written to the
/// caller's memory before that, so that nothing fails once the watch can be woken.
///
/// # Errors
///
/// - `EAGAIN`: the word has another value.
/// - `EFAULT`: the word cannot be read, or has no key, or the id cannot be written.
/// - `ENOSPC`: the user has as many watches as are allowed.
/// - `ENOMEM`: there is no memory.
/// - `EINTR`: the task was killed.
/// - Others as [`key::resolve`](crate::key::resolve).
///
/// # Context
///
/// Process context, no locks held. May sleep.
pub(super) fn add(set: ArcBorrow<'_, Set>, request: &request::WatchAdd) -> Result {
    let context = set.context();
    let word = request.word;
    let about = About::new(word, request.val);
    let mut watch = NewWatch::insert(set, request.mask, request.cookie, request.repeat, about)?;
    // This may take long. What is mapped at the word is looked up only afterwards.
    request.write_id(watch.id)?;
    loop {
        let key = context.resolve(word)?;
        let compare = || context.compare(word, request.val);
        match watch.queue_if(key, compare) {
            Ok(()) => return Ok(()),
            Err((unqueued, mismatch)) => {
                mismatch.overcome(word)?;
                watch = unqueued;
            }
        }
    }
}

/// A watch that is not yet queued. It is taken back when this is dropped.
///
/// # Invariants
///
/// `watch` is in `slot` of the set's index, and its stage is [`Stage::New`], so that nobody else
/// accesses anything of it but its state.
pub(super) struct NewWatch<'s> {
    set: ArcBorrow<'s, Set>,
    watch: NonNull<Watch>,
    slot: u32,
    pub(super) id: u64,
}

impl<'s> NewWatch<'s> {
    /// Makes a watch that has no key yet, and puts it into the index of the set.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: the user has as many watches as are allowed. `ENOMEM`: there is no memory.
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    pub(super) fn insert(
        set: ArcBorrow<'s, Set>,
        mask: u64,
        cookie: u64,
        repeat: bool,
        about: About,
    ) -> Result<Self> {
        let charge = set.account.charge()?;
        if lab::fault(Point::Allocate) {
            return Err(ENOMEM);
        }
        // SAFETY: The watch is put into the index of its set below, and is never moved out of its
        // box. `NewWatch::queue` queues it only in the set's table.
        let watch = unsafe { Watch::new(set, mask, cookie, repeat, about, charge) };
        let watch = SlabBox::pin_init(watch, GFP_KERNEL_ACCOUNT)?;
        let (slot, watch) = set.index.insert(watch)?;
        // No id is 0, and a slot has the same one again only after 2^32 watches.
        let generation = loop {
            match set.generation.fetch_add(1, Relaxed) {
                0 => {}
                generation => break generation,
            }
        };
        let id = u64::from(generation) << 32 | u64::from(slot);
        let mut locked = set.lock();
        // SAFETY: The watch was just made, and nobody erases it while its stage is `New`.
        unsafe { locked.state(watch) }.id = id;
        drop(locked);
        // INVARIANT: The watch was just put into the index, and a new watch has this stage.
        Ok(Self {
            set,
            watch,
            slot,
            id,
        })
    }

    /// Queues the watch on `key` if `compare` succeeds, under the lock of the bucket. From there
    /// on, the watch can be woken and removed.
    ///
    /// # Errors
    ///
    /// That of `compare`, with the watch, which was not queued.
    ///
    /// # Context
    ///
    /// Does not sleep, and `compare` must not sleep either.
    pub(super) fn queue_if<E>(
        self,
        key: KeyId,
        compare: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), (Self, E)> {
        let set = self.set;
        let entry = set.table.slot(key).enter();
        if let Err(error) = compare() {
            drop(entry);
            return Err((self, error));
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: By the type invariants, nobody else accesses the node yet.
        unsafe { this.watch.as_ref().node.set_id(key) };
        // SAFETY: The node is that of a watch, which is in no queue yet. It is not freed before it
        // has left the queue: whoever erases it from the index takes it out before, or finds it
        // marked. The bucket is one of the set's table, which the set keeps.
        unsafe {
            entry.queue_node(this.watch.cast(), || {
                // The bucket is still locked, so that nobody meets the watch before this.
                let mut locked = set.lock();
                locked.state(this.watch).stage = Stage::Idle;
                locked.tell(this.watch, WatchEvent::Armed);
                locked.events.armed += 1;
            })
        };
        Ok(())
    }
}

impl Drop for NewWatch<'_> {
    fn drop(&mut self) {
        let locked = self.set.lock();
        let watch = self.set.index.erase(self.slot);
        drop(locked);
        drop(watch);
    }
}

/// `RFUTEX_WATCH_REMOVE`: ends the watch that is known as `id`. Returns how often it was met since
/// its last event was read. That event is withdrawn.
///
/// Once this has returned, no wake meets the watch any more, and what has met it before is either
/// in the result, or is still read.
///
/// # Errors
///
/// `ENOENT`: there is no such watch any more, or its last event is being read.
///
/// # Context
///
/// Process context, no locks held. Does not sleep.
pub(super) fn remove(set: &Set, id: u64) -> Result<u32> {
    let mut locked = set.lock();
    let watch = locked.find(id).ok_or(ENOENT)?;
    // SAFETY: The watch was just found in the index.
    unsafe { locked.state(watch) }.being_removed = true;
    drop(locked);
    // From here on, nobody else frees the watch.
    // SAFETY: The watch is valid, because it is being removed here.
    let was_queued = unsafe { watch.as_ref() }.node.leave();
    // A wake that has met the watch just before has counted it when this lock is free.
    let mut locked = set.lock();
    locked.events.armed -= u32::from(was_queued);
    // SAFETY: The watch is still valid, as above.
    let state = unsafe { locked.state(watch) };
    if state.stage == Stage::Read {
        // Who reads the event has to free the watch.
        (state.being_removed, state.removed) = (false, true);
        return Err(ENOENT);
    }
    let (unread, is_ready) = (state.unread(), state.stage == Stage::Ready);
    if is_ready {
        // SAFETY: A watch with this stage is in the list.
        unsafe { locked.events.remove(watch, Stage::Idle) };
    }
    if was_queued || is_ready {
        // SAFETY: The watch is still valid, as above, and is in no queue.
        unsafe { locked.tell(watch, WatchEvent::Removed) };
    }
    let watch = set.index.erase(id as u32);
    drop(locked);
    drop(watch);
    if was_queued || is_ready {
        // The result of an ioctl is an int.
        Ok(unread.min(i32::MAX as u64) as u32)
    } else {
        Err(ENOENT)
    }
}

/// Ends all watches of a set whose file is being closed, so that nobody adds or removes watches, or
/// reads, any more.
///
/// # Context
///
/// Process context, no locks held. May sleep.
///
/// # Safety
///
/// Nobody may add or remove watches, or read, at the same time or later.
pub(super) unsafe fn close(set: &Set) {
    for (_, watch) in set.index.iter() {
        // SAFETY: By the function's requirements, nobody else removes watches.
        unsafe { watch.as_ref() }.node.leave();
        if trace::shows_watches() {
            // SAFETY: As above, the watch is valid, and it was just taken out of its queue.
            unsafe { set.lock().tell(watch, WatchEvent::Removed) };
        }
        task::cond_resched();
    }
    // A wake that has met one of the watches uses it, and the set, until it releases this lock.
    drop(set.lock());
    for watch in set.index.drain() {
        drop(watch);
        task::cond_resched();
    }
    // If a wake still has the set, and drops it later, that frees nothing but memory, and the number
    // of a process, which may be done anywhere.
    set.account.clear();
}

/// A set whose lock is held.
pub(super) struct Locked<'s> {
    events: SpinLockGuard<'s, Events>,
    set: &'s Set,
}

impl Locked<'_> {
    /// The watch that is known as `id`, which stays valid while the set is locked.
    fn find(&mut self, id: u64) -> Option<NonNull<Watch>> {
        let watch = self.set.index.get(id as u32)?;
        // SAFETY: The watch was just found in the index, from which it is erased only under this
        // lock.
        let state = unsafe { self.state(watch) };
        state.is_known_as(id).then_some(watch)
    }

    /// What changes in `watch`.
    ///
    /// # Safety
    ///
    /// As [`Events::state`].
    pub(super) unsafe fn state(&mut self, watch: NonNull<Watch>) -> &mut State {
        // SAFETY: The requirements are the same.
        unsafe { self.events.state(watch) }
    }

    /// Whether there is nothing to be read.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Counts that a watch waits no more, because a wake has met it.
    pub(super) fn disarmed(&mut self) {
        self.events.armed -= 1;
    }

    /// Counts that `watch` was met.
    ///
    /// # Safety
    ///
    /// As [`Events::count`].
    pub(super) unsafe fn count(&mut self, watch: NonNull<Watch>, what: What) {
        // SAFETY: The requirements are the same.
        unsafe { self.events.count(watch, what) };
    }

    /// Emits a trace event: `what` happens to `watch`.
    ///
    /// # Safety
    ///
    /// As [`Events::state`]. The watch must be in no queue, or the lock of its bucket must be held.
    pub(super) unsafe fn tell(&mut self, watch: NonNull<Watch>, what: WatchEvent) {
        if !trace::shows_watches() {
            return;
        }
        // SAFETY: By the function's requirements, the watch is valid, and nobody changes its key.
        let key = unsafe { watch.as_ref().node.id() };
        // SAFETY: The requirements are the same.
        let id = unsafe { self.state(watch) }.id;
        let set = ptr::from_ref(self.set).addr();
        trace::watch(what, &self.set.table, set, id, key);
    }

    /// Takes the first watch that has something to be read.
    pub(super) fn pop_front(&mut self) -> Option<NonNull<Watch>> {
        self.events.pop_front()
    }

    /// Puts `watch`, which was taken by [`Self::pop_front`], back to the front.
    ///
    /// # Safety
    ///
    /// As [`Events::push_front`].
    pub(super) unsafe fn push_front(&mut self, watch: NonNull<Watch>) {
        // SAFETY: The requirements are the same.
        unsafe { self.events.push_front(watch) };
    }

    /// Puts `watch`, which was taken by [`Self::pop_front`], to the end.
    ///
    /// # Safety
    ///
    /// As [`Events::push_back`].
    pub(super) unsafe fn push_back(&mut self, watch: NonNull<Watch>) {
        // SAFETY: The requirements are the same.
        unsafe { self.events.push_back(watch) };
    }

    /// Takes the watch that is known as `id` out of the index. The caller has to drop it after it
    /// has unlocked the set.
    pub(super) fn erase(&self, id: u64) -> Option<Pin<SlabBox<Watch>>> {
        self.set.index.erase(id as u32)
    }
}
