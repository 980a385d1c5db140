// SPDX-License-Identifier: GPL-2.0
//! Somebody else has the lock of the word's folio, for long: an operation does not wait for it.
//!
//! That it did not is seen without a clock: the folio is locked when the operation begins, and when
//! it has ended, the same holder has it still. The pages are those of a tmpfs and anonymous ones;
//! of another file system, a write fault takes the lock itself.

use crate::harness::{Handler, PAGE, Task, Waiter, fx, signal_thread, until};
use crate::memory::{HUGE, Mount, Region, file_in, folio_of, huge_tmpfs, is_locked, page_of, thp};
use nix::sys::signal::{SaFlags, Signal};
use rfutex::{Error, Word};

trials![; lab: tmpfs, tmpfs_huge, anonymous, thp_tail];

/// How long the lock is held, in milliseconds, if the test does not end it: the longest there is.
const HOLD: u32 = 60_000;

/// Locks the folio of `word`, and does `run` meanwhile.
fn while_locked(word: Word<'static>, run: impl FnOnce()) {
    let head = page_of(word).pfn - folio_of(word).index;
    let handler = Handler::counting(Signal::SIGUSR1, SaFlags::empty());
    let holder = Task::spawn(move || {
        let what = format!("{:#x} {HOLD}", word.addr());
        std::fs::write("/sys/kernel/debug/rfutex/hold_folio_lock", what).expect("hold_folio_lock");
    });
    until("the folio is locked", || is_locked(head));
    run();
    assert!(
        is_locked(head) && !holder.is_finished(),
        "it was locked all the time"
    );
    // A signal makes the holder let go.
    signal_thread(holder.tid(), Signal::SIGUSR1);
    holder.join();
    drop(handler);
}

/// Every operation on `word`, and a waiter from before the lock woken under it.
fn check(word: Word<'static>) {
    let before = Waiter::start(word, 0);
    while_locked(word, || {
        fx().key_info(word).expect("a key");
        assert_eq!(fx().wait(word, 1), Err(Error::Again));
        let under = Waiter::start(word, 0);
        assert_eq!(fx().wake_all(word), Ok(2));
        before.woken();
        under.woken();
    });
}

fn tmpfs() {
    let mount = Mount::tmpfs("huge=never");
    let region = Region::shared(file_in(mount.path(), "file", PAGE), 0, PAGE);
    region.touch();
    check(region.word(0));
}

fn tmpfs_huge() {
    let (_mount, file) = huge_tmpfs("file", HUGE);
    let region = Region::shared(&file, 0, HUGE);
    region.read();
    check(region.word(HUGE / 2));
}

fn anonymous() {
    check(Region::private(PAGE).word(0));
}

fn thp_tail() {
    check(thp(HUGE).word(HUGE - PAGE));
}
