// SPDX-License-Identifier: GPL-2.0
//! Watches that are armed.

use crate::call::Ioctl;
use crate::cgroup::Group;
use crate::measure::{Batch, batch};
use crate::memory::Memory;
use crate::side::Side;
use crate::uring::{Request, Ring};
use nix::errno::Errno;
use rfutex::raw::uapi;
use rfutex::{Rfutex, WatchOptions, Watches, Word};

/// A set that is there for good, of those that do not block.
pub fn set(device: &Rfutex) -> &'static Watches {
    Box::leak(Box::new(Watches::nonblocking(device).expect("a watch set")))
}

/// The call that arms a watch of `set` on `word`, for any wake.
pub fn add_watch(set: &'static Watches, word: Word<'static>) -> Ioctl<uapi::rfutex_watch_add> {
    let add = uapi::rfutex_watch_add {
        word: word.into(),
        val: 0,
        mask: uapi::RFUTEX_MASK_ANY,
        cookie: 0,
        id: 0,
        flags: 0,
        cond: 0,
    };
    Ioctl::new(set, uapi::RFUTEX_WATCH_ADD, add)
}

/// A set with a watch on `word`, which has the value `val`. It stays when it is met.
pub fn repeated(device: &Rfutex, word: Word<'static>, val: u64) -> &'static Watches {
    let set = set(device);
    let options = WatchOptions::default().repeat();
    set.add(word, val, 0, options).expect("a watch");
    set
}

/// The same as [`arm_remove`] in a memory cgroup, to which a watch is charged.
pub fn arm_remove_charged(side: Side, memory: Memory) -> Batch {
    Group::enter();
    arm_remove(side, memory)
}

/// A watch is armed, and removed in another call.
pub fn arm_remove(side: Side, memory: Memory) -> Batch {
    let [word] = memory.words();
    match side {
        Side::Native => io_uring(word),
        Side::Ours(device, _) => {
            let set = set(device);
            let mut add = add_watch(set, word);
            let remove = uapi::rfutex_watch_remove {
                id: 0,
                flags: 0,
                pad: 0,
            };
            let mut remove = Ioctl::new(set, uapi::RFUTEX_WATCH_REMOVE, remove);
            batch(move || {
                assert_eq!(add.call(), 0);
                remove.arg.id = add.arg.id;
                assert_eq!(remove.call(), 0, "it was armed, and nothing has met it");
            })
        }
    }
}

/// A request waits, and is cancelled by one that is submitted in another call.
fn io_uring(word: Word<'static>) -> Batch {
    const WAIT: u64 = 1;
    let mut ring = Ring::new(2, 2);
    let wait = Request::futex_wait(word, 0).number(WAIT);
    let cancel = Request::cancel(WAIT);
    batch(move || {
        ring.push(&wait);
        assert_eq!(ring.submit(0), 1);
        ring.push(&cancel);
        assert_eq!(ring.submit(2), 1);
        for _ in 0..2 {
            let completion = ring.next().expect("two of them");
            let expected = match completion.number {
                WAIT => -(Errno::ECANCELED as i32),
                // So many requests were cancelled.
                _ => 1,
            };
            assert_eq!(completion.result, expected);
        }
    })
}
