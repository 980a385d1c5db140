// SPDX-License-Identifier: GPL-2.0
//! A handler that waits, in the middle of the wait that its signal interrupted.

use crate::harness::{
    BOTH, Handler, Mapping, PAGE, Service, Task, fx, nr_waiters, signal_thread, until, until_queued,
};
use nix::sys::signal::{SaFlags, Signal};
use rfutex::{Error, WaitEntry, Word};
use std::sync::atomic::{AtomicI32, Ordering};

trials![inside_each_wait, as_futex, inside_itself];

const SIGNAL: Signal = Signal::SIGUSR1;

/// The errno of the handler's own wait, or [`PENDING`] if it has not returned.
static INNER: AtomicI32 = AtomicI32::new(PENDING);
const PENDING: i32 = -1;

/// A wait on the first of two words. The call may need another word: it is the second one.
type Wait = fn([Word<'static>; 2]) -> Result<(), Error>;

const WAITS: [(&str, Wait); 3] = [
    ("WAIT", |[word, _]| fx().wait(word, 0)),
    ("WAITV", |words| {
        let entries = words.map(|word| WaitEntry::new(word, 0));
        fx().wait_any(&entries, None).map(drop)
    }),
    ("SWAP", |[word, other]| fx().swap(word, 0, other)),
];

/// Installs a handler that does `wait`.
fn handler(wait: impl Fn() -> i32 + Sync + 'static, flags: SaFlags) -> Handler {
    INNER.store(PENDING, Ordering::SeqCst);
    let wait = move || INNER.store(wait(), Ordering::SeqCst);
    Handler::doing(SIGNAL, wait, flags)
}

/// Each kind of wait in each other. A thread that is in the handler is queued on the handler's word
/// only. When it is back, WAIT and WAITV go on if the handler has `SA_RESTART`. SWAP does not.
fn inside_each_wait() {
    let map = Mapping::shared(PAGE);
    for flags in [SaFlags::empty(), SaFlags::SA_RESTART] {
        for (outer, outer_wait) in WAITS {
            for (inner, inner_wait) in WAITS {
                let how = (outer, inner, flags);
                let words = [map.word(0), map.word(8).private()];
                let inner_words = [map.word(64).private(), map.word(72)];
                let inner_wait = move || crate::harness::errno(inner_wait(inner_words));
                let handler = handler(inner_wait, flags);
                let task = Task::spawn(move || outer_wait(words));
                until_queued(words[0], 1);
                signal_thread(task.tid(), SIGNAL);
                until_queued(inner_words[0], 1);
                assert_eq!(words.map(nr_waiters), [0, 0], "{how:?}");
                assert_eq!(fx().wake_all(words[0]), Ok(0), "{how:?}");
                assert!(!task.is_finished(), "{how:?}");
                assert_eq!(fx().wake_one(inner_words[0]), Ok(1), "{how:?}");
                if outer == "SWAP" || flags.is_empty() {
                    assert_eq!(task.join(), Err(Error::Interrupted), "{how:?}");
                } else {
                    until_queued(words[0], 1);
                    assert_eq!(fx().wake_one(words[0]), Ok(1), "{how:?}");
                    assert_eq!(task.join(), Ok(()), "{how:?}");
                }
                assert_eq!(INNER.load(Ordering::SeqCst), 0, "{how:?}");
                let every = words.into_iter().chain(inner_words);
                assert!(every.into_iter().all(|word| nr_waiters(word) == 0));
                drop(handler);
            }
        }
    }
}

/// futex(2) does the same.
fn as_futex() {
    let map = Mapping::private(PAGE);
    let [word, inner_word] = [map.word(0), map.word(64)].map(Word::private);
    for service in BOTH {
        let handler = handler(move || service.wait(inner_word, 0), SaFlags::SA_RESTART);
        let sleeper = service.sleeper(word, 0);
        signal_thread(sleeper.tid(), SIGNAL);
        until("the handler waits, and is woken", || {
            service.wake(inner_word, 1) == Ok(1)
        });
        until("it waits again, and is woken", || {
            service.wake(word, 1) == Ok(1)
        });
        sleeper.woken();
        assert_eq!(INNER.load(Ordering::SeqCst), 0, "{service:?}");
        drop(handler);
    }
}

/// A handler is interrupted by its own signal, several deep, and all of its waits are on one word.
fn inside_itself() {
    const DEEP: i32 = 5;
    let map = Mapping::private(PAGE);
    let word = map.word(0);
    static DEPTH: AtomicI32 = AtomicI32::new(0);
    DEPTH.store(0, Ordering::SeqCst);
    let wait = move || {
        DEPTH.fetch_add(1, Ordering::SeqCst);
        Service::Ours.wait(word, 0)
    };
    let flags = SaFlags::SA_RESTART | SaFlags::SA_NODEFER;
    let handler = handler(wait, flags);
    let sleeper = Service::Ours.sleeper(word, 0);
    for depth in 1..=DEEP {
        signal_thread(sleeper.tid(), SIGNAL);
        until("it is one deeper, and waits", || {
            DEPTH.load(Ordering::SeqCst) == depth && nr_waiters(word) == 1
        });
    }
    // Each wake ends one of the waits, and the one that it had interrupted goes on.
    for _ in 0..DEEP {
        assert_eq!(fx().wake_one(word), Ok(1));
        assert!(!sleeper.is_finished());
        until_queued(word, 1);
    }
    assert_eq!(fx().wake_one(word), Ok(1));
    sleeper.woken();
    drop(handler);
}
