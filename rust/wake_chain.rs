// SPDX-License-Identifier: GPL-2.0

//! Tasks to be woken after the lock is released: any number, without allocating.
//!
//! The tasks are linked through `task->wake_q`, by the protocol of the kernel's own `wake_q_add()`
//! and `wake_up_q()` (kernel/sched/core.c), which are not exported. A task can be in one chain at a
//! time; who finds it in another one leaves the wake to that one.

use crate::mm::arch;
use core::{
    mem,
    num::NonZero,
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
const TAIL: NonNull<bindings::wake_q_node> = NonNull::without_provenance(NonZero::<usize>::MIN);

/// Tasks that are to be woken, in order. A plain pointer, so that it travels in a register: nothing
/// happens to the tasks when it is forgotten.
///
/// # Invariants
///
/// `first` leads over `next` to [`TAIL`], through the `wake_q` of tasks on each of which we own a
/// reference.
#[must_use = "the tasks are to be woken"]
pub(crate) struct Tasks {
    first: NonNull<bindings::wake_q_node>,
}

impl Tasks {
    /// No tasks.
    #[inline]
    pub(crate) fn none() -> Self {
        // INVARIANT: There are none.
        Self { first: TAIL }
    }

    /// Wakes all.
    #[inline]
    pub(crate) fn wake(self) {
        if self.first != TAIL {
            self.wake_some();
        }
    }

    /// The same where there are some. Not inlined: most wakes find nobody.
    #[inline(never)]
    fn wake_some(self) {
        let mut node = self.first.as_ptr();
        while node != TAIL.as_ptr() {
            // SAFETY: By the type invariants, `node` is the `wake_q` of a task that is alive.
            let raw = unsafe { container_of!(node, bindings::task_struct, wake_q) };
            // SAFETY: As above; the field is ours until it is null.
            let next = unsafe { (*node).next };
            // SAFETY: As above. From here on, another chain may take the task.
            unsafe { atomic_store(&raw mut (*node).next, ptr::null_mut(), Relaxed) };
            node = next;
            // SAFETY: By the type invariants, the reference on the task is ours. `Task` is a
            // transparent wrapper of `task_struct`.
            let task: ARef<Task> = unsafe { ARef::from_raw(NonNull::new_unchecked(raw).cast()) };
            // Implies a full barrier: the task sees why it was woken.
            task.wake_up();
        }
    }
}

/// A chain of tasks that are to be woken, in order, when it is dropped, and to which more can be
/// added.
///
/// # Invariants
///
/// `last` is the last of the tasks, null if there is none.
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

    /// The tasks: no more are added.
    #[inline]
    pub(crate) fn into_tasks(mut self) -> Tasks {
        mem::replace(&mut self.tasks, Tasks::none())
    }

    /// Adds a task, which must be ready to be woken at once: another chain may do that.
    #[inline]
    pub(crate) fn add(&mut self, task: ARef<Task>) {
        // SAFETY: We have a reference on the task.
        let first = unsafe { NonNull::new_unchecked(&raw mut (*task.as_ptr()).wake_q) };
        let node = first.as_ptr();
        // What made the task ready comes before the wake, if it is another chain's as well.
        arch::smp_mb();
        // SAFETY: As above; the field is only ever accessed atomically by who does not own it.
        let added = unsafe {
            cmpxchg(
                &raw mut (*node).next,
                ptr::null_mut(),
                TAIL.as_ptr(),
                Relaxed,
            )
        };
        if added.is_err() {
            return;
        }
        // The chain has the reference now; `Tasks::wake` gives it back.
        let _ = ARef::into_raw(task);
        if self.last.is_null() {
            self.tasks.first = first;
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
            atomic::Atomic,
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
            chain.add(ARef::from(&**current!()));
            let during = usage(current!());
            assert_eq!(during, before + 1);
            assert!(wakes_us(chain));
            // It can be added again.
            assert!(next(node(current!())).is_null());
            assert_eq!(usage(current!()), before);
        }
        Ok(())
    }

    #[test]
    fn task_added_twice_is_there_once() -> Result {
        let before = usage(current!());
        let mut chain = WakeChain::new();
        chain.add(ARef::from(&**current!()));
        chain.add(ARef::from(&**current!()));
        let alone = chain.tasks.first.as_ptr() == node(current!())
            && next(chain.tasks.first.as_ptr()) == TAIL.as_ptr();
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
        first.add(ARef::from(&**current!()));
        second.add(ARef::from(&**current!()));
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
                task::sleep(None);
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
        let mut link = chain.tasks.first.as_ptr();
        let in_order = sleepers.iter().all(|sleeper| {
            let here = link == node(sleeper.task());
            link = next(node(sleeper.task()));
            here
        });
        let ends = link == TAIL.as_ptr();
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
