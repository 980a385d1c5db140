// SPDX-License-Identifier: GPL-2.0
//! futex as a program calls it, and waiters that are known to wait.

use crate::kernel::Args;
use libc::{c_int, c_long, timespec};
use nix::errno::Errno;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take that must happen.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Calls the C library's `syscall()`, whosever that is. An error is the
/// negative of its number.
///
/// # Safety
///
/// That of the system call.
pub unsafe fn call(number: c_long, args: &Args) -> c_long {
    let [a, b, c, d, e, f] = *args;
    // SAFETY: The caller's promise.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => -c_long::from(Errno::last_raw()),
        result => result,
    }
}

/// Calls futex(2) on words that are there.
pub fn futex(
    word: &AtomicU32,
    op: c_int,
    val: u32,
    timeout: Timeout<'_>,
    word2: &AtomicU32,
    val3: u32,
) -> Result<u32, Errno> {
    let timeout = match timeout {
        Timeout::Never => 0,
        Timeout::At(time) => ptr::from_ref(time).addr() as c_long,
        Timeout::Count(count) => count.into(),
    };
    let at = |word: &AtomicU32| word.as_ptr().addr() as c_long;
    // SAFETY: The words are atomic, and the time is only read.
    let result = unsafe {
        call(
            libc::SYS_futex,
            &[
                at(word),
                op.into(),
                val.into(),
                timeout,
                at(word2),
                val3.into(),
            ],
        )
    };
    u32::try_from(result).map_err(|_| Errno::from_raw(-result as i32))
}

/// futex(2)'s fourth argument.
#[derive(Clone, Copy)]
pub enum Timeout<'a> {
    /// None.
    Never,
    /// A time.
    At(&'a timespec),
    /// A number of waiters.
    Count(i32),
}

/// Sleeps while the word has the value.
pub fn wait(word: &AtomicU32, val: u32) -> Result<u32, Errno> {
    futex(word, libc::FUTEX_WAIT, val, Timeout::Never, word, 0)
}

/// The same, with a mask.
pub fn wait_bitset(word: &AtomicU32, val: u32, mask: u32) -> Result<u32, Errno> {
    futex(
        word,
        libc::FUTEX_WAIT_BITSET,
        val,
        Timeout::Never,
        word,
        mask,
    )
}

/// Wakes up to `nr`.
pub fn wake(word: &AtomicU32, nr: i32) -> Result<u32, Errno> {
    futex(word, libc::FUTEX_WAKE, nr as u32, Timeout::Never, word, 0)
}

/// How many wait on the word: a requeue of all of them to where they are
/// counts them, and changes nothing but their order.
pub fn waiters(word: &AtomicU32) -> u32 {
    futex(
        word,
        libc::FUTEX_REQUEUE,
        0,
        Timeout::Count(i32::MAX),
        word,
        0,
    )
    .expect("a requeue")
}

/// Looks at `condition` until it holds, for [`LIMIT`].
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns when `nr` wait on the word.
#[track_caller]
pub fn until_waiting(word: &AtomicU32, nr: u32) {
    until(&format!("{nr} wait"), || waiters(word) == nr);
}

/// A word in memory that children share.
pub fn shared_word() -> &'static AtomicU32 {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: New memory, zeroed, which stays as long as the process.
    unsafe {
        let at = libc::mmap(ptr::null_mut(), 4096, protection, flags, -1, 0);
        assert_ne!(at, libc::MAP_FAILED, "{}", Errno::last());
        AtomicU32::from_ptr(at.cast())
    }
}

/// Sleeps until the word has the value, and wakes for nothing else.
pub fn wait_for(word: &AtomicU32, val: u32) {
    loop {
        let now = word.load(Ordering::SeqCst);
        if now == val {
            return;
        }
        match wait(word, now) {
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => (),
            Err(error) => panic!("a wait failed: {error}"),
        }
    }
}

/// Gives the word a value, and wakes who waits for that.
pub fn set(word: &AtomicU32, val: u32) {
    word.store(val, Ordering::SeqCst);
    wake(word, i32::MAX).expect("a wake");
}
