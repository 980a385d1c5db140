// SPDX-License-Identifier: GPL-2.0
//! Calls of one thread that nobody sleeps in.

use crate::call::{Futex, Ioctl, Numbers, WakeOne, assert_errno};
use crate::measure::{Batch, batch};
use crate::memory::Memory;
use crate::side::Side;
use nix::errno::Errno;
use nix::sys::eventfd::EventFd;
use rfutex::raw::uapi;
use rfutex::{Rfutex, Word};
use rfutex_selftests::harness::futex;
use std::sync::atomic::AtomicU32;

/// A wake with nobody there, the address in the argument.
pub fn wake_none(side: Side, memory: Memory) -> Batch {
    let [word] = memory.words();
    match side {
        Side::Native => native_wake_none(word),
        Side::Ours(device, _) => {
            let call = WakeOne::new(device, word);
            batch(move || assert_eq!(call.call(), 0))
        }
    }
}

/// The same, beside an eventfd that somebody may wait for and nobody does.
pub fn signal_none(side: Side, memory: Memory) -> Batch {
    match side {
        Side::Native => {
            let eventfd: &EventFd = Box::leak(Box::new(EventFd::new().expect("an eventfd")));
            let one = Numbers::<1>::new(eventfd);
            batch(move || assert_eq!(one.write(), 8))
        }
        Side::Ours(..) => wake_none(side, memory),
    }
}

/// The same with the struct.
pub fn wake_none_struct(side: Side, memory: Memory) -> Batch {
    let [word] = memory.words();
    match side {
        Side::Native => native_wake_none(word),
        Side::Ours(device, _) => {
            let mut call = wake(device, word, 1);
            batch(move || assert_eq!(call.call(), 0))
        }
    }
}

fn native_wake_none(word: Word<'static>) -> Batch {
    let call = Futex::wake(word, 1);
    batch(move || assert_eq!(call.call(), 0))
}

/// How many words are woken in one call.
pub const WAKEV: usize = 16;

/// Wakes on several words with nobody there: in one call, or with futex(2) in one for each.
pub fn wakev_none(side: Side, memory: Memory) -> Batch {
    let words: [_; WAKEV] = memory.words();
    match side {
        Side::Native => {
            let calls = words.map(|word| Futex::wake(word, 1));
            batch(move || {
                for call in &calls {
                    assert_eq!(call.call(), 0);
                }
            })
        }
        Side::Ours(device, _) => {
            let entries = Box::leak(Box::new(words.map(|word| uapi::rfutex_wakev_entry {
                word: word.into(),
                mask: uapi::RFUTEX_MASK_ANY,
                nr: 1,
                flags: 0,
            })));
            let results = Box::leak(Box::new([const { AtomicU32::new(0) }; WAKEV]));
            let arg = uapi::rfutex_wakev {
                entries: entries.as_ptr().addr() as u64,
                results: results.as_ptr().expose_provenance() as u64,
                nr: WAKEV as u32,
                entry_size: size_of::<uapi::rfutex_wakev_entry>() as u32,
                flags: 0,
                pad: 0,
            };
            let mut call = Ioctl::new(device, uapi::RFUTEX_WAKEV, arg);
            batch(move || assert_eq!(call.call(), 0))
        }
    }
}

/// A wake of up to `nr` on `word`.
pub fn wake(device: &'static Rfutex, word: Word<'static>, nr: u32) -> Ioctl<uapi::rfutex_wake> {
    let arg = uapi::rfutex_wake {
        word: word.into(),
        mask: uapi::RFUTEX_MASK_ANY,
        nr,
        pad: 0,
    };
    Ioctl::new(device, uapi::RFUTEX_WAKE, arg)
}

/// A wait on `word` while it is `val`.
pub fn wait(device: &'static Rfutex, word: Word<'static>, val: u64) -> Ioctl<uapi::rfutex_wait> {
    let arg = uapi::rfutex_wait {
        word: word.into(),
        val,
        mask: uapi::RFUTEX_MASK_ANY,
        ..Default::default()
    };
    Ioctl::new(device, uapi::RFUTEX_WAIT, arg)
}

/// A call that fails with `EAGAIN`, over and over. The reason is looked at once.
fn again(mut call: impl FnMut() -> i64 + 'static) -> Batch {
    assert_errno(call(), Errno::EAGAIN);
    batch(move || assert_eq!(call(), -1))
}

/// A wait on a word that has another value.
pub fn wait_eagain(side: Side, memory: Memory) -> Batch {
    let [word] = memory.words();
    match side {
        Side::Native => {
            let call = Futex::wait(word, 1);
            again(move || call.call())
        }
        Side::Ours(device, _) => {
            let mut call = wait(device, word, 1);
            again(move || call.call())
        }
    }
}

/// A wait on 16 words, of which the last has another value.
pub fn waitv_eagain(side: Side, memory: Memory) -> Batch {
    waitv::<16>(side, memory)
}

/// A wait on one word in a vector, which has another value.
pub fn waitv_one_eagain(side: Side, memory: Memory) -> Batch {
    waitv::<1>(side, memory)
}

fn waitv<const N: usize>(side: Side, memory: Memory) -> Batch {
    let words: [_; N] = memory.words();
    let val = |i| u32::from(i == N - 1);
    match side {
        Side::Native => {
            let entries: [_; N] = std::array::from_fn(|i| {
                futex::waitv_entry(words[i].addr(), val(i), words[i].is_private())
            });
            again(move || match futex::waitv(&entries, None) {
                Ok(index) => index.into(),
                Err(_) => -1,
            })
        }
        Side::Ours(device, _) => {
            let entries = Box::leak(Box::new(std::array::from_fn::<_, N, _>(|i| {
                uapi::rfutex_waitv_entry {
                    word: words[i].into(),
                    val: val(i).into(),
                    mask: uapi::RFUTEX_MASK_ANY,
                    ..Default::default()
                }
            })));
            let arg = uapi::rfutex_waitv {
                entries: entries.as_ptr().addr() as u64,
                nr: N as u32,
                entry_size: size_of::<uapi::rfutex_waitv_entry>() as u32,
                deadline: 0,
                clock: uapi::RFUTEX_CLOCK_NONE,
                flags: 0,
            };
            let mut call = Ioctl::new(device, uapi::RFUTEX_WAITV, arg);
            again(move || call.call())
        }
    }
}

/// A compare-and-requeue of nobody.
pub fn requeue_none(side: Side, memory: Memory) -> Batch {
    let [from, to] = memory.words();
    match side {
        Side::Native => {
            let call = Futex::requeue(from, 0, to, 1);
            batch(move || assert_eq!(call.call(), 0))
        }
        Side::Ours(device, _) => {
            let mut call = requeue(device, from, 0, to, 1);
            batch(move || assert_eq!(call.call(), 0))
        }
    }
}

/// Moves up to `nr` from `from` to `to`, while `from` is `val`.
pub fn requeue(
    device: &'static Rfutex,
    from: Word<'static>,
    val: u64,
    to: Word<'static>,
    nr: u32,
) -> Ioctl<uapi::rfutex_requeue> {
    let arg = uapi::rfutex_requeue {
        from: from.into(),
        to: to.into(),
        val,
        nr_wake: 0,
        nr_move: nr,
        flags: uapi::RFUTEX_REQUEUE_CMP,
        pad: 0,
    };
    Ioctl::new(device, uapi::RFUTEX_REQUEUE, arg)
}
