// SPDX-License-Identifier: GPL-2.0

//! Lists of those who are to be woken after a lock was released. They can have any number of tasks,
//! and need no allocation.
//!
//! A single task, which is the most common case, is just remembered. Several are linked through
//! `task->wake_q`, with the protocol of the kernel's `wake_q_add()` and `wake_up_q()`
//! (kernel/sched/core.c), which are not exported to modules. A task can be linked into only one
//! chain at a time. If it is already in another one, waking it is left to that one. Watch sets are
//! in a list of their own, for which the same is true.

#[cfg(CONFIG_IO_URING)]
use crate::uring::Claimed;
use crate::{
    bindings as helpers,
    watch::{
        Set,
        Sets, //
    }, //
};
use core::{
    mem,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    container_of,
    sync::{
        aref::ARef,
        atomic::{
            atomic_store,
            cmpxchg,
            Relaxed, //
        },
        ArcBorrow, //
    },
    task::Task, //
};

/// Marks the end of a chain. It is not null, because null means that a task is in no chain.
const TAIL: *mut bindings::wake_q_node = ptr::without_provenance_mut(1);

/// Tasks that are to be woken, in order.
///
/// This must not be leaked with `mem::forget()`: everybody else relies on it that a task which is
/// linked into a chain is going to be woken.
///
/// # Invariants
///
/// - If `nr` is 1, `first` is the `wake_q` of a task on which this owns a reference. The task is
///   not linked into a chain by this.
/// - Otherwise, `first` and the `next` pointers that follow it lead to [`TAIL`], through the
///   `wake_q` of tasks. This owns a reference on each of these tasks, and their `wake_q`.
#[must_use = "the tasks are to be woken"]
pub(crate) struct Tasks {
    first: *mut bindings::wake_q_node,
    /// The number of tasks that were added, including those that were left to another chain.
    nr: u32,
}

impl Tasks {
    /// No tasks.
    #[inline]
    pub(crate) fn none() -> Self {
        // INVARIANT: `first` is `TAIL`, and there is no task before it.
        Self { first: TAIL, nr: 0 }
    }

    /// A single task.
    #[inline]
    pub(crate) fn one(task: ARef<Task>) -> Self {
        let task = ARef::into_raw(task).cast::<bindings::task_struct>();
        // SAFETY: `task` came from a reference on the task, which `into_raw` has not put. So the
        // task is valid.
        let first = unsafe { &raw mut (*task.as_ptr()).wake_q };
        // INVARIANT: The new object owns the reference that `into_raw` has not put.
        Self { first, nr: 1 }
    }

    /// Wakes all tasks.
    ///
    /// # Context
    ///
    /// Any. Does not sleep. The caller should not hold a lock that the tasks are going to need.
    #[inline]
    pub(crate) fn wake(self) {
        match self.nr {
            0 => {}
            // SAFETY: By the type invariants, `first` is the `wake_q` of a task on which this owns
            // a reference. `self` is consumed, so the reference is used only here.
            1 => unsafe { wake_one(self.first) },
            _ => self.wake_many(),
        }
    }

    /// Wakes all tasks of a chain.
    #[inline(never)]
    fn wake_many(self) {
        let mut node = self.first;
        while node != TAIL {
            // SAFETY: By the type invariants, `node` is the `wake_q` of a task on which this owns a
            // reference, so it is valid. Nobody else writes to it until `next` is null.
            let next = unsafe { (*node).next };
            // After this, another chain may link the task.
            // SAFETY: `node` is still valid, as above, because the reference is put only below.
            // Other tasks access the field only atomically.
            unsafe { atomic_store(&raw mut (*node).next, ptr::null_mut(), Relaxed) };
            // SAFETY: By the type invariants, this owns a reference on the task. It was not yet
            // used, because each node is in the chain once.
            unsafe { wake_one(node) };
            node = next;
        }
    }
}

/// The task whose `wake_q` is `node`, with a reference on it.
///
/// # Safety
///
/// `node` must be the `wake_q` of a task. The caller must own a reference on that task, and passes
/// it to this function.
#[inline]
unsafe fn task_of(node: *mut bindings::wake_q_node) -> ARef<Task> {
    // SAFETY: By the function's requirements, `node` is the `wake_q` of a task, which is valid,
    // because the caller owns a reference on it.
    let task = unsafe { container_of!(node, bindings::task_struct, wake_q) };
    // SAFETY: By the function's requirements, the caller passes a reference on the task. `Task` is
    // a transparent wrapper of `task_struct`, and a pointer to a task is never null.
    unsafe { ARef::from_raw(NonNull::new_unchecked(task.cast())) }
}

/// Wakes the task whose `wake_q` is `node`, and puts a reference on it.
///
/// # Safety
///
/// `node` must be the `wake_q` of a task. The caller must own a reference on that task, and passes
/// it to this function.
#[inline]
unsafe fn wake_one(node: *mut bindings::wake_q_node) {
    // SAFETY: The requirements of this function include that `node` is the `wake_q` of a task, and
    // that the caller passes a reference on it, which is passed on here.
    let task = unsafe { task_of(node) };
    // This implies a full barrier, so that the task sees why it was woken.
    // SAFETY: `task` has a reference on the task, which is therefore valid.
    unsafe { bindings::wake_up_process(task.as_ptr()) };
}

/// A list of tasks, and of watch sets, to which more can be added. When it is dropped, the tasks
/// are woken in order, then the pollers of the sets.
///
/// # Invariants
///
/// `last` is the last node that is linked into the chain of `tasks`; null if none is.
pub(crate) struct WakeChain {
    tasks: Tasks,
    last: *mut bindings::wake_q_node,
    sets: Sets,
    #[cfg(CONFIG_IO_URING)]
    requests: Claimed,
}

impl WakeChain {
    /// A list without any tasks.
    #[inline]
    pub(crate) fn new() -> Self {
        // INVARIANT: No node is linked, and `last` is null.
        Self {
            tasks: Tasks::none(),
            last: ptr::null_mut(),
            sets: Sets::new(),
            #[cfg(CONFIG_IO_URING)]
            requests: Claimed::new(),
        }
    }

    /// Adds a task. Whatever the task has to see when it is woken must have been written before,
    /// because another chain may wake it at once.
    #[inline]
    pub(crate) fn add(&mut self, task: ARef<Task>) {
        let one = Tasks::one(task);
        if self.last.is_null() {
            // No task is linked yet.
            if self.tasks.nr == 0 {
                self.tasks = one;
                return;
            }
            if self.tasks.nr == 1 {
                let first = mem::replace(&mut self.tasks.first, TAIL);
                // SAFETY: By the invariants of `Tasks`, `first` was the `wake_q` of a task on which
                // `tasks` owned a reference. It was just taken out of `tasks`.
                unsafe { self.link(first) };
            }
        }
        self.tasks.nr += 1;
        // SAFETY: By the invariants of `Tasks`, `one.first` is the `wake_q` of a task on which
        // `one` owns a reference. `one` has no destructor that would put it.
        unsafe { self.link(one.first) };
    }

    /// Adds a watch set, whose pollers are woken after the tasks. See [`Sets::add`].
    #[inline]
    pub(crate) fn add_set(&mut self, set: ArcBorrow<'_, Set>) {
        self.sets.add(set);
    }

    /// The requests of io_uring that are to be completed.
    #[cfg(CONFIG_IO_URING)]
    #[inline]
    pub(crate) fn requests(&mut self) -> &mut Claimed {
        &mut self.requests
    }

    /// Links the task whose `wake_q` is `node` at the end of the chain. If the task is already in a
    /// chain, that one will wake it, and this function only puts the reference.
    ///
    /// # Safety
    ///
    /// `node` must be the `wake_q` of a task. The caller must own a reference on that task, and
    /// passes it to this function.
    #[inline]
    unsafe fn link(&mut self, node: *mut bindings::wake_q_node) {
        // SAFETY: By the function's requirements, there is a reference on the task, so it is valid.
        let next = unsafe { &raw mut (*node).next };
        // What the task has to see must be ordered before the wake, even if another chain wakes it.
        // The barrier is needed whether or not the exchange succeeds, so that an ordering of the
        // exchange itself would not suffice.
        // SAFETY: A memory barrier may be used anywhere.
        unsafe { helpers::rfutex_smp_mb__before_atomic() };
        // SAFETY: The field is in a valid task. Tasks that do not own it access it only atomically.
        if unsafe { cmpxchg(next, ptr::null_mut(), TAIL, Relaxed) }.is_err() {
            // SAFETY: By the function's requirements, the caller has passed a reference on the
            // task, and it was not linked.
            drop(unsafe { task_of(node) });
            return;
        }
        if self.last.is_null() {
            self.tasks.first = node;
        } else {
            // SAFETY: By the type invariants, `last` is linked into this chain, which owns a
            // reference on its task and may change its `next`.
            unsafe { atomic_store(&raw mut (*self.last).next, node, Relaxed) };
        }
        // INVARIANT: `node` is linked behind the node that was the last one, and its `next` is
        // `TAIL`.
        self.last = node;
    }
}

impl Drop for WakeChain {
    #[inline]
    fn drop(&mut self) {
        mem::replace(&mut self.tasks, Tasks::none()).wake();
    }
}

#[cfg(RFUTEX_KUNIT)]
#[kernel::prelude::kunit_tests(rfutex_wake_chain)]
mod tests {
    use super::*;
    use crate::{
        lab::kunit::{
            attach_mm,
            beside,
            is_asleep,
            until,
            usage, //
        },
        mm::task, //
    };
    use kernel::{
        current,
        prelude::*,
        sync::{
            atomic::{
                Atomic,
                Relaxed, //
            },
            Arc, //
        }, //
    };

    /// Drops the chain while the current task is about to sleep. Returns whether that woke the
    /// task.
    fn wakes_us(chain: WakeChain) -> bool {
        task::prepare_to_sleep();
        drop(chain);
        let woken = !is_asleep(current!());
        task::stay_awake();
        woken
    }

    /// The `wake_q` of the task.
    fn node(task: &Task) -> *mut bindings::wake_q_node {
        // SAFETY: A reference to a `Task` is to a valid task.
        unsafe { &raw mut (*task.as_ptr()).wake_q }
    }

    /// The node that follows `node`, which must be that of a task which the caller keeps.
    fn next(node: *mut bindings::wake_q_node) -> *mut bindings::wake_q_node {
        // SAFETY: All callers are tests that have a reference on the task, so the node is valid.
        unsafe { (*node).next }
    }

    #[test]
    fn empty_chain_wakes_nobody() -> Result {
        assert!(!wakes_us(WakeChain::new()));
        Ok(())
    }

    #[test]
    fn task_is_woken_and_given_back() -> Result {
        let before = usage(current!());
        for _ in 0..2 {
            let mut chain = WakeChain::new();
            add_twice(&mut chain);
            let during = usage(current!());
            assert_eq!(during, before + 1);
            assert!(wakes_us(chain));
            // The task can be added to a chain again.
            assert!(next(node(current!())).is_null());
            assert_eq!(usage(current!()), before);
        }
        Ok(())
    }

    /// Adds the current task twice. Only with the second one is it linked.
    fn add_twice(chain: &mut WakeChain) {
        chain.add(ARef::from(&**current!()));
        chain.add(ARef::from(&**current!()));
    }

    #[test]
    fn task_alone_is_in_no_chain() -> Result {
        let before = usage(current!());
        let (mut first, mut second) = (WakeChain::new(), WakeChain::new());
        first.add(ARef::from(&**current!()));
        second.add(ARef::from(&**current!()));
        let during = usage(current!());
        let unlinked = next(node(current!())).is_null();
        let by_second = wakes_us(second);
        let by_first = wakes_us(first);
        assert_eq!(during, before + 2);
        assert!(unlinked);
        assert!(by_second);
        assert!(by_first);
        assert_eq!(usage(current!()), before);
        Ok(())
    }

    #[test]
    fn task_added_twice_is_there_once() -> Result {
        let before = usage(current!());
        let mut chain = WakeChain::new();
        add_twice(&mut chain);
        let alone = chain.tasks.first == node(current!()) && next(chain.tasks.first) == TAIL;
        let during = usage(current!());
        let woken = wakes_us(chain);
        assert!(alone);
        assert_eq!(during, before + 1);
        assert!(woken);
        assert_eq!(usage(current!()), before);
        Ok(())
    }

    #[test]
    fn task_in_another_chain_is_left_to_that_one() -> Result {
        let before = usage(current!());
        let (mut first, mut second) = (WakeChain::new(), WakeChain::new());
        add_twice(&mut first);
        add_twice(&mut second);
        let during = usage(current!());
        let by_second = wakes_us(second);
        let by_first = wakes_us(first);
        assert_eq!(during, before + 1);
        assert!(!by_second);
        assert!(by_first);
        assert_eq!(usage(current!()), before);
        Ok(())
    }

    #[test]
    fn many_are_woken_in_order() -> Result {
        attach_mm()?;
        let go = Arc::new(Atomic::new(false), GFP_KERNEL)?;
        let sleeper = || {
            let go = go.clone();
            beside(move || loop {
                task::prepare_to_sleep();
                if go.load(Relaxed) {
                    task::stay_awake();
                    break;
                }
                task::schedule();
            })
        };
        let sleepers = [sleeper()?, sleeper()?, sleeper()?, sleeper()?];
        for sleeper in &sleepers {
            until(|| is_asleep(sleeper.task()))?;
        }
        let before = sleepers.each_ref().map(|sleeper| usage(sleeper.task()));
        let mut chain = WakeChain::new();
        for sleeper in &sleepers {
            chain.add(sleeper.task().clone());
        }
        let mut link = chain.tasks.first;
        let in_order = sleepers.iter().all(|sleeper| {
            let here = link == node(sleeper.task());
            link = next(node(sleeper.task()));
            here
        });
        let ends = link == TAIL;
        let during = sleepers.each_ref().map(|sleeper| usage(sleeper.task()));
        go.store(true, Relaxed);
        drop(chain);
        // Nothing but the chain wakes the sleepers, so that this would not end without it.
        for sleeper in sleepers {
            sleeper.join()?;
        }
        assert!(in_order);
        assert!(ends);
        assert_eq!(during, before.map(|usage| usage + 1));
        Ok(())
    }
}
