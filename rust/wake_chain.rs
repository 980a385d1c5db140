// SPDX-License-Identifier: GPL-2.0

//! Tasks to be woken after the lock is released: any number, without allocating.
//!
//! One task, which is the commonest, is remembered by itself, and woken as it is. More are linked
//! through `task->wake_q`, by the protocol of the kernel's own `wake_q_add()` and `wake_up_q()`
//! (kernel/sched/core.c), which are not exported. A task can be in one chain at a time; who finds it
//! in another one leaves the wake to that one.

use crate::bindings as helpers;
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
        }, //
    },
    task::Task, //
};

/// The end of a chain: not null, which stands for "in no chain".
const TAIL: *mut bindings::wake_q_node = ptr::without_provenance_mut(1);

/// Tasks that are to be woken, in order.
///
/// They must not be forgotten: tasks that are linked count as about to be woken for everybody else.
///
/// # Invariants
///
/// - If `nr` is 1, `first` is the `wake_q` of a task on which we own a reference. It is in no chain
///   of ours.
/// - Otherwise, `first` leads over `next` to [`TAIL`], through the `wake_q` of tasks on each of
///   which we own a reference.
#[must_use = "the tasks are to be woken"]
pub(crate) struct Tasks {
    first: *mut bindings::wake_q_node,
    /// How many were added.
    nr: u32,
}

impl Tasks {
    /// No tasks.
    #[inline]
    pub(crate) fn none() -> Self {
        // INVARIANT: There are none.
        Self { first: TAIL, nr: 0 }
    }

    /// One.
    #[inline]
    pub(crate) fn one(task: ARef<Task>) -> Self {
        let task = ARef::into_raw(task).cast::<bindings::task_struct>();
        // SAFETY: We have a reference on the task.
        let first = unsafe { &raw mut (*task.as_ptr()).wake_q };
        // INVARIANT: The reference is ours from here on.
        Self { first, nr: 1 }
    }

    /// Wakes all.
    #[inline]
    pub(crate) fn wake(self) {
        match self.nr {
            0 => {}
            // SAFETY: By the type invariants, it is a task's, and the reference is ours.
            1 => unsafe { wake_one(self.first) },
            _ => self.wake_many(),
        }
    }

    /// The same where there are many.
    #[inline(never)]
    fn wake_many(self) {
        let mut node = self.first;
        while node != TAIL {
            // SAFETY: By the type invariants, `node` is the `wake_q` of a task that is alive; the
            // field is ours until it is null.
            let next = unsafe { (*node).next };
            // SAFETY: The field is still ours. From here on, another chain may take the task.
            unsafe { atomic_store(&raw mut (*node).next, ptr::null_mut(), Relaxed) };
            // SAFETY: By the type invariants, the reference on the task is ours.
            unsafe { wake_one(node) };
            node = next;
        }
    }
}

/// The task that `node` is the `wake_q` of, with the reference that the chain had.
///
/// # Safety
///
/// The caller must give a reference on that task.
#[inline]
unsafe fn task_of(node: *mut bindings::wake_q_node) -> ARef<Task> {
    // SAFETY: By the function's requirements, `node` is in a task.
    let task = unsafe { container_of!(node, bindings::task_struct, wake_q) };
    // SAFETY: By the function's requirements, the reference is ours. `Task` is a transparent wrapper
    // of `task_struct`, and no task is at address 0.
    unsafe { ARef::from_raw(NonNull::new_unchecked(task.cast())) }
}

/// Wakes the task that `node` is the `wake_q` of, and gives back a reference on it.
///
/// # Safety
///
/// The caller must give that reference.
#[inline]
unsafe fn wake_one(node: *mut bindings::wake_q_node) {
    // SAFETY: By the function's requirements.
    let task = unsafe { task_of(node) };
    // Implies a full barrier: the task sees why it was woken.
    // SAFETY: We have a reference on the task.
    unsafe { bindings::wake_up_process(task.as_ptr()) };
}

/// A chain of tasks that are to be woken, in order, when it is dropped, and to which more can be
/// added.
///
/// # Invariants
///
/// If `tasks` has more than one, `last` is the last that is linked; null if none is.
pub(crate) struct WakeChain {
    tasks: Tasks,
    last: *mut bindings::wake_q_node,
}

impl WakeChain {
    /// An empty chain.
    #[inline]
    pub(crate) fn new() -> Self {
        // INVARIANT: It is empty.
        Self {
            tasks: Tasks::none(),
            last: ptr::null_mut(),
        }
    }

    /// Adds a task, which must be ready to be woken at once: another chain may do that.
    #[inline]
    pub(crate) fn add(&mut self, task: ARef<Task>) {
        let one = Tasks::one(task);
        if self.last.is_null() {
            // None is linked yet.
            if self.tasks.nr == 0 {
                self.tasks = one;
                return;
            }
            if self.tasks.nr == 1 {
                let first = mem::replace(&mut self.tasks.first, TAIL);
                // SAFETY: By the type invariants, the reference is ours.
                unsafe { self.link(first) };
            }
        }
        self.tasks.nr += 1;
        // SAFETY: The reference is `one`'s.
        unsafe { self.link(one.first) };
    }

    /// Puts a task, given by its `wake_q`, at the end; unless it is in another chain, which is then
    /// the one to wake it.
    ///
    /// # Safety
    ///
    /// `node` must be the `wake_q` of a task. The caller must give a reference on it.
    #[inline]
    unsafe fn link(&mut self, node: *mut bindings::wake_q_node) {
        // SAFETY: By the function's requirements, the task is valid.
        let next = unsafe { &raw mut (*node).next };
        // What made the task ready comes before the wake, also if it is another chain's: the barrier
        // is there whether or not the exchange succeeds.
        // SAFETY: A barrier may be anywhere.
        unsafe { helpers::rfutex_smp_mb__before_atomic() };
        // SAFETY: The field is valid, and only ever accessed atomically by those who do not own it.
        if unsafe { cmpxchg(next, ptr::null_mut(), TAIL, Relaxed) }.is_err() {
            // SAFETY: The reference is ours to give back.
            drop(unsafe { task_of(node) });
            return;
        }
        if self.last.is_null() {
            self.tasks.first = node;
        } else {
            // SAFETY: `last` is in our chain, so the task is alive, and the field is ours.
            unsafe { atomic_store(&raw mut (*self.last).next, node, Relaxed) };
        }
        // INVARIANT: `node` leads to `TAIL`, and what was the last one to `node`.
        self.last = node;
    }
}

impl Drop for WakeChain {
    #[inline]
    fn drop(&mut self) {
        mem::replace(&mut self.tasks, Tasks::none()).wake();
    }
}

#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
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

    /// Drops the chain while the current task is about to sleep. True if that woke it.
    fn wakes_us(chain: WakeChain) -> bool {
        task::prepare_to_sleep();
        drop(chain);
        let woken = !is_asleep(current!());
        task::stay_awake();
        woken
    }

    fn node(task: &Task) -> *mut bindings::wake_q_node {
        // SAFETY: The task is alive.
        unsafe { &raw mut (*task.as_ptr()).wake_q }
    }

    fn next(node: *mut bindings::wake_q_node) -> *mut bindings::wake_q_node {
        // SAFETY: It is the node of a task that is alive.
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
            // It can be added again.
            assert!(next(node(current!())).is_null());
            assert_eq!(usage(current!()), before);
        }
        Ok(())
    }

    /// Adds the current task twice, which links it.
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
        // Nothing else wakes them: without the chain this does not end.
        for sleeper in sleepers {
            sleeper.join()?;
        }
        assert!(in_order);
        assert!(ends);
        assert_eq!(during, before.map(|usage| usage + 1));
        Ok(())
    }
}
