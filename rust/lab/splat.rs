// SPDX-License-Identifier: GPL-2.0

//! Splats on demand, to prove that the test harness sees each kind.
//!
//! What only C can say is in `provoke.c`. Some of these leave memory or the calling task broken for
//! good: they are for a VM that is thrown away.

use crate::{
    bindings, lab,
    mm::{
        inode::assert_may_release,
        task,
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

/// How long a task is kept off its processor, or a processor off its tasks: longer than the
/// time-outs that the harness sets for those who look for it.
const LONG: Delta = Delta::from_secs(8);

/// How long a grace period is held up. The shortest time-out is 3 s, and 5 s more with PROVE_RCU,
/// counted from the start of a grace period, which on a loaded machine may be a while away.
const LONGER: Delta = Delta::from_secs(24);

/// Makes the kernel complain in the way that is called `name`.
///
/// # Errors
///
/// - `EINVAL`: no such way.
/// - `ENOMEM`: what it takes could not be allocated.
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
        // SAFETY: These may be called by any task that can sleep and holds no lock.
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

/// Reads memory that was freed.
fn use_after_free() -> Result {
    let memory = KBox::new(0u64, GFP_KERNEL)?;
    let freed: *const u64 = &*memory;
    drop(memory);
    // SAFETY: None: that is the point. KASAN keeps freed memory readable.
    let value = unsafe { freed.read_volatile() };
    pr_info!("read {value} from freed memory\n");
    Ok(())
}

/// Takes two locks in one order, then in the other.
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
    // The lock outlives its holder.
    core::mem::forget(mutex);
    Ok(())
}

/// Stays inside a read-side critical section while a grace period waits.
fn stall_rcu() {
    // One that is under way has the time-out that was in force when it began.
    rcu::synchronize_rcu();
    let _guard = rcu::read_lock();
    // SAFETY: May be called anywhere.
    unsafe { bindings::rfutex_provoke_grace_period() };
    spin(LONGER);
}

/// Keeps all others off this processor.
fn lock_up() -> Result {
    let lock = KBox::pin_init(new_spinlock!((), "rfutex_lab_spun"), GFP_KERNEL)?;
    let _guard = lock.lock();
    spin(LONG);
    Ok(())
}

/// Computes nothing for so long.
fn spin(time: Delta) {
    let began = Instant::<Monotonic>::now();
    while began.elapsed() < time {
        core::hint::spin_loop();
    }
}
