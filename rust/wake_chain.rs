// SPDX-License-Identifier: GPL-2.0

//! Tasks to be woken after the lock is released: any number, without allocating.
//!
//! The tasks are linked through `task->wake_q`, by the protocol of the kernel's own `wake_q_add()`
//! and `wake_up_q()` (kernel/sched/core.c), which are not exported. A task can be in one chain at a
//! time; who finds it in another one leaves the wake to that one.

use core::ptr;
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
        barrier, //
    },
    task::Task, //
};

/// The end of a chain: not null, which stands for "in no chain".
const TAIL: *mut bindings::wake_q_node = ptr::without_provenance_mut(1);

/// A chain of tasks that are to be woken, in order, when it is dropped.
///
/// # Invariants
///
/// `first` leads over `next` to [`TAIL`], through the `wake_q` of tasks on each of which we own a
/// reference. `last` is the last of them, null if there is none.
pub(crate) struct WakeChain {
    first: *mut bindings::wake_q_node,
    last: *mut bindings::wake_q_node,
}

impl WakeChain {
    /// An empty chain.
    #[inline]
    pub(crate) fn new() -> Self {
        // INVARIANT: It is empty.
        Self {
            first: TAIL,
            last: ptr::null_mut(),
        }
    }

    /// Adds a task, which must be ready to be woken at once: another chain may do that.
    #[inline]
    pub(crate) fn add(&mut self, task: ARef<Task>) {
        // SAFETY: We have a reference on the task.
        let node = unsafe { &raw mut (*task.as_ptr()).wake_q };
        // What made the task ready comes before the wake, if it is another chain's as well.
        barrier::smp_mb(barrier::Full);
        // SAFETY: As above; the field is only ever accessed atomically by who does not own it.
        let added = unsafe { cmpxchg(&raw mut (*node).next, ptr::null_mut(), TAIL, Relaxed) };
        if added.is_err() {
            return;
        }
        // The chain has the reference now; `wake_all()` gives it back.
        let _ = ARef::into_raw(task);
        if self.last.is_null() {
            self.first = node;
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
        if !self.last.is_null() {
            self.wake_all();
        }
    }
}

impl WakeChain {
    /// Wakes all, and forgets them. Not inlined: most wakes find nobody.
    #[inline(never)]
    fn wake_all(&mut self) {
        let mut node = self.first;
        while node != TAIL {
            // SAFETY: By the type invariants, `node` is the `wake_q` of a task that is alive.
            let raw = unsafe { container_of!(node, bindings::task_struct, wake_q) };
            // SAFETY: As above; the field is ours until it is null.
            let next = unsafe { (*node).next };
            // SAFETY: As above. From here on, another chain may take the task.
            unsafe { atomic_store(&raw mut (*node).next, ptr::null_mut(), Relaxed) };
            node = next;
            // SAFETY: By the type invariants, the reference on the task is ours. `Task` is a
            // transparent wrapper of `task_struct`.
            let task: ARef<Task> =
                unsafe { ARef::from_raw(ptr::NonNull::new_unchecked(raw).cast()) };
            // Implies a full barrier: the task sees why it was woken.
            task.wake_up();
        }
    }
}
