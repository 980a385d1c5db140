// SPDX-License-Identifier: GPL-2.0
//! The module cannot be taken out as long as a request lives, and can be afterwards. The device is
//! closed: it is the request that holds the module.

use super::Ring;
use crate::harness::{
    Child, Mapping, PAGE, UnloadedModule, module_is_used, module_references, until,
    until_in_syscall,
};
use io_uring::IoUring;
use nix::sys::signal::Signal;
use rfutex::{Rfutex, Word};
use std::thread;

trials![
    waiting_and_woken,
    waiting_and_closed,
    on_its_way,
    on_its_way_and_closed,
    on_its_way_and_killed,
    not_queued,
];

/// A ring that completes nothing until the thread that has made it asks for completions.
fn that_defers() -> IoUring {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(8)
        .expect("io_uring")
}

/// Submits a wait on `word`, closes the device, and returns the ring.
#[track_caller]
fn waiting(ring: IoUring, word: Word<'_>) -> IoUring {
    let mut ring = Ring::of(ring);
    ring.wait(word, 1);
    let Ring { ring, device } = ring;
    drop(device);
    assert_eq!(module_references(), 1);
    module_is_used();
    ring
}

/// Wakes the request on `word` by a device that is closed when this returns.
#[track_caller]
fn wake(word: Word<'_>) {
    let device = Rfutex::open().expect("the device");
    assert_eq!(device.wake_all(word), Ok(1));
    assert_eq!(
        device.key_info(word).expect("a key of a word").nr_waiters,
        0
    );
}

/// Takes the module out as soon as nobody uses it, and puts it in again.
#[track_caller]
fn taken_out() {
    until("nobody uses it", || module_references() == 0);
    drop(UnloadedModule::new());
}

/// The user data and the result of the one completion that comes.
#[track_caller]
fn completed(ring: &mut IoUring) -> (u64, i32) {
    ring.submit_and_wait(1).expect("a completion");
    let entry = ring.completion().next().expect("a completion");
    assert!(ring.completion().next().is_none());
    (entry.user_data(), entry.result())
}

fn waiting_and_woken() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    for ring in [IoUring::new(8).expect("io_uring"), that_defers()] {
        let mut ring = waiting(ring, word);
        wake(word);
        assert_eq!(completed(&mut ring), (1, 0));
        // The ring is still there.
        taken_out();
        drop(ring);
    }
}

fn waiting_and_closed() {
    let map = Mapping::shared(PAGE);
    for ring in [IoUring::new(8).expect("io_uring"), that_defers()] {
        drop(waiting(ring, map.word(0)));
        taken_out();
    }
}

/// The request was woken, but its task has not yet completed it.
fn on_its_way() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let mut ring = waiting(that_defers(), word);
    wake(word);
    assert_eq!(module_references(), 1);
    module_is_used();
    assert!(ring.completion().next().is_none());
    assert_eq!(completed(&mut ring), (1, 0));
    taken_out();
}

/// The same, and then the ring is closed.
fn on_its_way_and_closed() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let ring = waiting(that_defers(), word);
    wake(word);
    assert_eq!(module_references(), 1);
    module_is_used();
    drop(ring);
    taken_out();
}

/// The task is stopped when its request is woken, and then killed.
fn on_its_way_and_killed() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let child = Child::run(|| {
        let _ring = waiting(IoUring::new(8).expect("io_uring"), word);
        loop {
            thread::park();
        }
    });
    until_in_syscall(child.pid(), child.pid(), libc::SYS_futex);
    child.stop();
    wake(word);
    assert_eq!(module_references(), 1);
    module_is_used();
    child.kill(Signal::SIGKILL);
    child.status();
    taken_out();
}

/// A wait that was not queued leaves nothing behind, nor does a command that is refused.
fn not_queued() {
    let map = Mapping::shared(PAGE);
    let wait = rfutex::raw::uapi::rfutex_wait {
        val: 1,
        ..super::wait_on(map.word(0))
    };
    let mut ring = Ring::new();
    let op = rfutex::raw::uapi::RFUTEX_WAIT;
    assert_eq!(ring.call(op, super::addr_of(&wait)), -libc::EAGAIN);
    assert_eq!(ring.call(op, 8), -libc::EFAULT);
    assert_eq!(ring.call(0, 0), -libc::EOPNOTSUPP);
    let Ring { ring, device } = ring;
    drop(device);
    taken_out();
    drop(ring);
}
