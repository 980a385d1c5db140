// SPDX-License-Identifier: GPL-2.0

//! Splats on demand, to prove that the test harness notices each kind of them.
//!
//! Those that can only be written in C are in `provoke.c`. Some leave memory or the calling task in
//! a broken state, so that they should be used only in a VM that is not needed any more.

use crate::{
    bindings, lab,
    mm::{
        inode::assert_may_release,
        task, version,
        vma::{
            MmapLock,
            VmaLock, //
        },
    },
};
use kernel::{
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::rcu,
    task::might_sleep,
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    },
    warn_on, //
};

/// How long a task sleeps, or a processor is kept busy. This is longer than the time-outs after
/// which the kernel reports that, as the harness sets them.
const LONG: Delta = Delta::from_secs(8);

/// How long a grace period is held up. The shortest time-out that the kernel allows is 3 seconds,
/// plus 5 with PROVE_RCU. It is counted from the start of the grace period, which may come late on
/// a loaded machine.
const LONGER: Delta = Delta::from_secs(24);

/// Provokes the splat called `name`.
///
/// # Errors
///
/// - `EINVAL`: there is none of that name.
/// - `ENOMEM`: memory that is needed to provoke it could not be allocated.
pub(crate) fn trigger(name: &str) -> Result {
    match name {
        "warn" => _ = warn_on!(true),
        "bug" => panic!("asked for"),
        "kasan" => use_after_free()?,
        "lockdep" => lock_both_ways()?,
        "lock-held" => keep_locked()?,
        "atomic-sleep" => {
            let _guard = rcu::read_lock();
            might_sleep();
        }
        "hung-task" => fsleep(LONG),
        "rcu-stall" => stall_rcu(),
        "soft-lockup" => lock_up()?,
        "release-in-rcu" => {
            let _guard = rcu::read_lock();
            assert_may_release();
        }
        "release-under-mmap-lock" => {
            let _lock = MmapLock::take()?;
            assert_may_release();
        }
        "release-under-vma-lock" => {
            let _lock = VmaLock::try_take(task::some_address()?).ok_or(EAGAIN)?;
            assert_may_release();
        }
        "release-with-page" => {
            lab::page_ref_taken();
            assert_may_release();
            lab::page_ref_dropped();
        }
        // SAFETY: These functions may be called by any task that may sleep and holds no locks,
        // which is true of the task that writes to the file. That they break something is their
        // purpose.
        _ => unsafe {
            match name {
                "suspicious-rcu" => bindings::rfutex_provoke_suspicious_rcu(),
                "ubsan" => bindings::rfutex_provoke_ubsan(),
                "list" => bindings::rfutex_provoke_list(),
                "refcount" => bindings::rfutex_provoke_refcount(),
                "odebug" => bindings::rfutex_provoke_odebug(),
                "bad-page" => bindings::rfutex_provoke_bad_page(),
                "slab" => bindings::rfutex_provoke_slab(),
                "busy-inodes" => bindings::rfutex_provoke_busy_inodes(),
                "oops" => bindings::rfutex_provoke_oops(),
                _ => return Err(EINVAL),
            }
        },
    }
    Ok(())
}

/// Reads memory after it was freed.
fn use_after_free() -> Result {
    let memory = KBox::new(0u64, GFP_KERNEL)?;
    let freed: *const u64 = &*memory;
    drop(memory);
    // SAFETY: This is not sound, which is what the splat is about. It only works because memory
    // that was freed remains mapped, so that the read does nothing worse than to be reported by
    // KASAN.
    let value = unsafe { freed.read_volatile() };
    pr_info!("read {value} from freed memory\n");
    Ok(())
}

/// Takes two locks in one order, then in the opposite order.
fn lock_both_ways() -> Result {
    let a = KBox::pin_init(new_mutex!((), "rfutex_lab_a"), GFP_KERNEL)?;
    let b = KBox::pin_init(new_mutex!((), "rfutex_lab_b"), GFP_KERNEL)?;
    {
        let _a = a.lock();
        let _b = b.lock();
    }
    let _b = b.lock();
    let _a = a.lock();
    Ok(())
}

/// Returns to user space with a lock held.
fn keep_locked() -> Result {
    let mutex = KBox::pin_init(new_mutex!((), "rfutex_lab_kept"), GFP_KERNEL)?;
    core::mem::forget(mutex.lock());
    // The mutex is leaked, because it must not be freed while it is held.
    core::mem::forget(mutex);
    Ok(())
}

/// Stays in an RCU read-side critical section while a grace period waits for its end.
fn stall_rcu() {
    // A grace period that has already begun would still have the time-out that was set at its
    // start.
    version::synchronize_rcu();
    let _guard = rcu::read_lock();
    // SAFETY: The function only allocates memory with GFP_ATOMIC and calls `call_rcu()`, which is
    // allowed in an RCU read-side critical section.
    unsafe { bindings::rfutex_provoke_grace_period() };
    spin(LONGER);
}

/// Keeps all other tasks from running on this processor.
fn lock_up() -> Result {
    let lock = KBox::pin_init(new_spinlock!((), "rfutex_lab_spun"), GFP_KERNEL)?;
    let _guard = lock.lock();
    spin(LONG);
    Ok(())
}

/// Keeps the processor busy for this `time`.
fn spin(time: Delta) {
    let began = Instant::<Monotonic>::now();
    while began.elapsed() < time {
        core::hint::spin_loop();
    }
}
