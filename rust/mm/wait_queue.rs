// SPDX-License-Identifier: GPL-2.0

//! A queue of tasks that wait until a file can be read, and of those who poll it.
//!
//! The kernel crate has two similar types. A `CondVar` leaves a task that is interrupted in the
//! queue for a moment, in which the task can still be chosen by a wake, and the wake would be lost.
//! A `PollCondVar` expects that its memory may be freed while somebody polls it. That takes a grace
//! period, and a function that not every kernel exports. A file does not need it: `__fput()` takes
//! those who poll it off its queues before it calls `release`.
//!
//! C header: [`include/linux/wait.h`](srctree/include/linux/wait.h)

#[cfg(RFUTEX_KUNIT)]
mod tests;

use crate::mm::task;
use kernel::{
    bindings,
    prelude::*,
    static_lock_class,
    task::{
        might_sleep,
        TASK_FREEZABLE,
        TASK_INTERRUPTIBLE,
        TASK_NORMAL, //
    },
    types::Opaque,
};

/// The events of a file that can be read. `poll` returns them, and a wake passes them on, because
/// those who poll may wait for either of them alone.
pub(crate) const READABLE: u32 = bindings::POLLIN | bindings::POLLRDNORM;

/// A wait queue.
///
/// # Invariants
///
/// `head` is initialised, and does not move.
#[pin_data(PinnedDrop)]
pub(crate) struct WaitQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,
}

// SAFETY: A wait queue does not care which task uses it.
unsafe impl Send for WaitQueue {}

// SAFETY: A wait queue has a lock of its own.
unsafe impl Sync for WaitQueue {}

impl WaitQueue {
    /// A queue in which nobody waits.
    pub(crate) fn new() -> impl PinInit<Self> {
        let class = static_lock_class!();
        // INVARIANT: The queue is initialised here, and the initialiser is one for pinned memory.
        pin_init!(Self {
            // SAFETY: The closure is called with a pointer to memory for a queue. The name and the
            // class are static.
            head <- Opaque::ffi_init(|head| unsafe {
                bindings::__init_waitqueue_head(
                    head,
                    c"rfutex_wait_queue".as_char_ptr(),
                    class.as_ptr(),
                )
            }),
        })
    }

    /// Tells those who wait or poll that there is something to read: all who want to be told each
    /// time, and the first one of those who want to be the only one to be told.
    ///
    /// Whoever has begun to wait before this either sees what the caller has done before, or is
    /// woken.
    ///
    /// # Context
    ///
    /// Any context in which no lock of this module is held. Does not sleep. Takes the lock of the
    /// queue, and calls the functions of those who poll.
    pub(crate) fn wake(&self) {
        // SAFETY: By the type invariants, the queue is initialised. The key is a number: the
        // functions of those who poll expect the events there.
        unsafe {
            bindings::__wake_up(
                self.head.get(),
                TASK_NORMAL,
                1,
                READABLE as usize as *mut c_void,
            )
        };
    }

    /// Sleeps until `condition` returns true. Of several tasks that sleep here, a wake wakes one.
    ///
    /// The condition is checked whenever the task may have been woken, and once more if there is a
    /// signal. So if it is true, the signal does not matter: a task that was chosen by a wake takes
    /// what it was woken for.
    ///
    /// While the condition is true already, a wake may still choose this task. So a caller that
    /// leaves something for others has to call [`Self::wake`] for the next one.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS`: a signal is pending, and the condition is not true.
    ///
    /// # Context
    ///
    /// Process context, no locks held. Sleeps, and can be frozen. `condition` is called in the
    /// state of a task that is about to sleep, so that it must not sleep itself. It may take
    /// spinlocks.
    pub(crate) fn wait_until(&self, mut condition: impl FnMut() -> bool) -> Result {
        might_sleep();
        let entry = Opaque::<bindings::wait_queue_entry>::uninit();
        // SAFETY: `entry` is memory for an entry.
        unsafe { bindings::init_wait_entry(entry.get(), bindings::WQ_FLAG_EXCLUSIVE as c_int) };
        let state = TASK_INTERRUPTIBLE | TASK_FREEZABLE;
        let result = loop {
            // If there is a signal, this takes the entry out of the queue, so that from here on no
            // wake chooses this task. One that has chosen it before has the condition seen below.
            // SAFETY: By the type invariants, the queue is initialised, and so is the entry, which
            // belongs to the current task. `finish_wait()` below takes it out of the queue before
            // this function returns.
            let interrupted =
                unsafe { bindings::prepare_to_wait_event(self.head.get(), entry.get(), state) };
            if condition() {
                break Ok(());
            }
            if interrupted != 0 {
                break Err(ERESTARTSYS);
            }
            task::schedule();
        };
        // SAFETY: By the type invariants, the queue is initialised. The entry was initialised
        // above, and belongs to the current task.
        unsafe { bindings::finish_wait(self.head.get(), entry.get()) };
        result
    }

    /// Has those who poll `file` told of each wake, if `table` is that of one who has not asked
    /// yet.
    ///
    /// What the caller reads after this was either changed before, or is followed by a wake that
    /// they are told of.
    ///
    /// # Safety
    ///
    /// - `table` must be null or valid. `file` must be what the function in it expects, that is,
    ///   the file that is polled.
    /// - The queue must exist for as long as that function has left somebody in it. Those who poll
    ///   a file are no longer there when the `release` function of the file is called.
    ///
    /// # Context
    ///
    /// Process context. May sleep.
    pub(crate) unsafe fn poll_wait(
        &self,
        file: *mut bindings::file,
        table: *mut bindings::poll_table,
    ) {
        // SAFETY: By the type invariants, the queue is initialised. By the function's requirements,
        // the function in `table` may be called with `file`, and the queue exists for as long as
        // somebody polls it.
        unsafe { bindings::poll_wait(file, self.head.get(), table) };
    }

    /// Whether nobody waits or polls. The answer may be outdated when the caller gets it.
    fn is_empty(&self) -> bool {
        let head = self.head.get();
        // SAFETY: By the type invariants, the queue is initialised. The link may change at any
        // time, hence the volatile read.
        unsafe { (&raw const (*head).head.next).read_volatile() == &raw mut (*head).head }
    }
}

#[pinned_drop]
impl PinnedDrop for WaitQueue {
    fn drop(self: Pin<&mut Self>) {
        debug_assert!(self.is_empty(), "somebody polls a file that is gone");
    }
}
