// SPDX-License-Identifier: GPL-2.0
//! How often what was done, if the user wants to know.
//!
//! The numbers are in memory that children of fork(2) share: they may end
//! without a word, and the first process tells for all.

use crate::kernel;
use crate::options;
use crate::redirect;
use core::ffi::c_long;
use core::ptr;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, Ordering};

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counter {
    /// Waits on the device.
    Wait,
    /// Wakes there.
    Wake,
    /// And so on.
    Requeue,
    WakeOp,
    Waitv,
    /// Calls of futex that went to the kernel.
    Kernel,
    /// How often the device was closed, and opened again.
    Reopened,
    /// Wakes that went on to the kernel, for waiters there.
    Rest,
    /// Programs that were started without this library.
    Without,
}

impl Counter {
    /// True if these calls compare a word, to sleep or to move who sleeps.
    pub(crate) fn compares(self) -> bool {
        matches!(self, Self::Wait | Self::Waitv | Self::Requeue)
    }
}

/// One number for each [`Counter`].
type Counters = [AtomicU64; Counter::Without as usize + 1];

/// The numbers; null if nobody wants to know.
static COUNTERS: AtomicPtr<Counters> = AtomicPtr::new(ptr::null_mut());

/// The process that tells.
static TELLER: AtomicI32 = AtomicI32::new(0);

/// Counts one.
#[inline]
pub(crate) fn count(counter: Counter) {
    let counters = COUNTERS.load(Ordering::Acquire);
    if !counters.is_null() {
        // SAFETY: What `enable` put there stays.
        let counters = unsafe { &*counters };
        counters[counter as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Begins to count.
pub(crate) fn enable() {
    // SAFETY: New memory.
    let at = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size_of::<Counters>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if at == libc::MAP_FAILED {
        options::say(format_args!("no memory for statistics"));
        return;
    }
    TELLER.store(process(), Ordering::Relaxed);
    // It is zeroed, and zero is a valid count.
    COUNTERS.store(at.cast(), Ordering::Release);
}

/// Prints the counts when a process ends that called futex, or had children
/// that did; children of fork do not.
pub(crate) fn tell() {
    let counters = COUNTERS.load(Ordering::Acquire);
    if counters.is_null() || TELLER.load(Ordering::Relaxed) != process() {
        return;
    }
    // SAFETY: What `enable` put there stays.
    let counters = unsafe { &*counters };
    let get = |counter| counters[counter as usize].load(Ordering::Relaxed);
    if counters
        .iter()
        .all(|count| count.load(Ordering::Relaxed) == 0)
    {
        return;
    }
    options::say(format_args!(
        "process {} wait {} wake {} requeue {} wake_op {} waitv {} kernel {} reopened {}",
        process(),
        get(Counter::Wait),
        get(Counter::Wake),
        get(Counter::Requeue),
        get(Counter::WakeOp),
        get(Counter::Waitv),
        get(Counter::Kernel),
        get(Counter::Reopened),
    ));
    redirect::tell(get);
}

/// This process's number, as the kernel has it: a child's is another.
fn process() -> i32 {
    // SAFETY: Touches nothing.
    let pid: c_long = unsafe { kernel::call(libc::SYS_getpid, &[0; 6]) };
    pid as i32
}
