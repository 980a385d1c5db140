// SPDX-License-Identifier: GPL-2.0

//! Work that a thread of the kernel does, at once or after a while.
//!
//! The kernel crate's `DelayedWork` owns a reference on what it works on for as long as it is
//! queued, and cannot be cancelled. A module cannot be unloaded while such work is queued, so work
//! that is repeated has to be.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

#[cfg(RFUTEX_KUNIT)]
mod tests;

use core::ops::Deref;
use kernel::{
    bindings,
    container_of,
    prelude::*,
    static_lock_class,
    time::Jiffies,
    types::Opaque, //
};

/// What is worked on.
pub(crate) trait Work: Sized + Send + Sync {
    /// Does the work. It never runs twice at the same time.
    ///
    /// # Context
    ///
    /// Process context, in a thread of the kernel, no locks held. May sleep.
    fn run(this: &DelayedWork<Self>);
}

/// Something that is worked on now and then.
///
/// # Invariants
///
/// `work` is initialised, does not move, and is never queued while `on` is dropped.
#[pin_data(PinnedDrop)]
pub(crate) struct DelayedWork<T: Work> {
    #[pin]
    work: Opaque<bindings::delayed_work>,
    #[pin]
    on: T,
}

// SAFETY: The work can be queued and cancelled by any task, and `T` can be sent.
unsafe impl<T: Work> Send for DelayedWork<T> {}

// SAFETY: As above. What is worked on is only shared.
unsafe impl<T: Work> Sync for DelayedWork<T> {}

impl<T: Work> DelayedWork<T> {
    /// Work on what `on` initialises, which is not queued yet.
    pub(crate) fn new(on: impl PinInit<T>) -> impl PinInit<Self> {
        let (work_class, timer_class) = (static_lock_class!(), static_lock_class!());
        // INVARIANT: The work is initialised here, and the initialiser is one for pinned memory.
        pin_init!(Self {
            work <- Opaque::ffi_init(|work: *mut bindings::delayed_work| {
                // SAFETY: The closure is called with a pointer to memory for delayed work. The
                // function is one for a `DelayedWork<T>`. Names and classes are static. The timer is
                // set up as `INIT_DELAYED_WORK()` does it.
                unsafe {
                    bindings::init_work_with_key(
                        &raw mut (*work).work,
                        Some(run::<T>),
                        false,
                        c"rfutex_work".as_char_ptr(),
                        work_class.as_ptr(),
                    );
                    bindings::timer_init_key(
                        &raw mut (*work).timer,
                        Some(bindings::delayed_work_timer_fn),
                        bindings::TIMER_IRQSAFE,
                        c"rfutex_work_timer".as_char_ptr(),
                        timer_class.as_ptr(),
                    );
                }
            }),
            on <- on,
        })
    }

    /// Has the work done when `delay` has passed, and not before. If it was going to be done at
    /// another time, it is not done then. Does nothing after [`Self::disable`].
    ///
    /// # Context
    ///
    /// Any, also with interrupts off. Does not sleep.
    pub(crate) fn run_after(&self, delay: Jiffies) {
        // SAFETY: By the type invariants, the work is initialised. The queue is one of the kernel's,
        // which always exist.
        unsafe {
            bindings::mod_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                bindings::system_dfl_wq,
                self.work.get(),
                delay,
            )
        };
    }

    /// Has the work done when `delay` has passed, unless it is going to be done at some time anyway.
    /// Does nothing after [`Self::disable`].
    ///
    /// # Context
    ///
    /// As [`Self::run_after`].
    pub(crate) fn run_within(&self, delay: Jiffies) {
        // SAFETY: As in `run_after`.
        unsafe {
            bindings::queue_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                bindings::system_dfl_wq,
                self.work.get(),
                delay,
            )
        };
    }

    /// Waits until the work is not done any more, and has it never done again.
    ///
    /// # Context
    ///
    /// Process context, no locks held that the work takes. May sleep.
    pub(crate) fn disable(&self) {
        // SAFETY: By the type invariants, the work is initialised.
        unsafe { bindings::disable_delayed_work_sync(self.work.get()) };
    }
}

impl<T: Work> Deref for DelayedWork<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.on
    }
}

#[pinned_drop]
impl<T: Work> PinnedDrop for DelayedWork<T> {
    fn drop(self: Pin<&mut Self>) {
        // INVARIANT: After this, the work is not queued, and never will be.
        self.disable();
    }
}

/// Does the work of a [`DelayedWork<T>`].
///
/// # Safety
///
/// `work` must be that of a [`DelayedWork<T>`], which must not be dropped before this returns.
unsafe extern "C" fn run<T: Work>(work: *mut bindings::work_struct) {
    let work = container_of!(work, bindings::delayed_work, work);
    let work = Opaque::cast_from(work);
    // SAFETY: By the function's requirements, this is the field of a `DelayedWork<T>` that exists:
    // whoever drops it waits for this function.
    T::run(unsafe { &*container_of!(work, DelayedWork<T>, work) });
}

/// The time in which whoever looks after something that nobody tells of does so again: about a
/// second, at a moment at which the processor may be awake for others.
pub(crate) fn about_a_second() -> Jiffies {
    // SAFETY: The function only computes.
    unsafe { bindings::round_jiffies_relative(kernel::time::msecs_to_jiffies(1000)) }
}
