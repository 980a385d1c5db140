// SPDX-License-Identifier: GPL-2.0
//! Every call that sleeps, through every resolver.

use crate::harness::{Mapping, PAGE, Task, nr_waiters};
use crate::history::check_inodes_of_waiters;
use crate::leap::Leap;
use crate::memory::{Mount, inodes, map_unlinked};
use crate::resolvers::{Via, each};
use rfutex::{Deadline, Error, Rfutex, WaitEntry, WaitOptions, Word};

trials![wait, wait_any, swap, moved_to_it, moved_away];

/// How a sleep ended that nobody is to end but its deadline.
type Ended = Result<(), Error>;

/// Has a thread sleep on a word of a file which is deleted then. `begin` gets the thread to sleep
/// there until the deadline, and `nr` says how many inodes are kept by that.
fn check(nr: u64, begin: impl Fn(&Via, Word<'static>, Deadline) -> Task<Ended>) {
    let mount = Mount::tmpfs("");
    let before = inodes(mount.path());
    for via in each() {
        let leap = Leap::new();
        let region = map_unlinked(mount.path(), "file");
        let task = begin(&via, region.word(0), leap.deadline());
        drop(region);
        check_inodes_of_waiters(mount.path(), before, nr);
        assert!(!task.is_finished(), "{:?}: it sleeps on", via.resolver);
        leap.now();
        assert_eq!(task.join(), Err(Error::TimedOut), "{:?}", via.resolver);
        assert_eq!(inodes(mount.path()), before, "{:?}", via.resolver);
    }
}

/// Sleeps on `word` until the deadline.
fn wait_until(fx: &Rfutex, word: Word<'static>, deadline: Deadline) -> Ended {
    fx.wait_with(word, 0, WaitOptions::default().deadline(deadline))
}

fn wait() {
    check(1, |via, word, deadline| {
        via.sleeper(word, move |fx| wait_until(fx, word, deadline))
    });
}

/// On several words, of which two are of the file.
fn wait_any() {
    let map = Mapping::private(PAGE);
    check(1, |via, word, deadline| {
        let other = Word::at(word.addr() + 64, 4);
        let words = [map.word(0), word, map.word(4).private(), other];
        let entries = words.map(|word| WaitEntry::new(word, 0));
        // Words are queued in their order: before the last one is, the call still reads the file.
        via.sleeper(other, move |fx| {
            fx.wait_any(&entries, Some(deadline)).map(drop)
        })
    });
}

fn swap() {
    let map = Mapping::private(PAGE);
    check(1, |via, word, deadline| {
        let nobody = map.word(0);
        via.sleeper(word, move |fx| {
            let options = WaitOptions::default().deadline(deadline);
            fx.swap_with(word, 0, nobody, options)
        })
    });
}

fn moved_to_it() {
    let map = Mapping::private(PAGE);
    let own = map.word(0);
    check(1, |via, word, deadline| {
        let task = via.sleeper(own, move |fx| wait_until(fx, own, deadline));
        assert_eq!(via.fx.requeue_if(own, 0, word, 0, 1), Ok(1));
        assert_eq!(nr_waiters(word), 1);
        task
    });
}

fn moved_away() {
    let map = Mapping::private(PAGE);
    let own = map.word(0);
    check(0, |via, word, deadline| {
        let task = via.sleeper(word, move |fx| wait_until(fx, word, deadline));
        assert_eq!(via.fx.requeue_if(word, 0, own, 0, 1), Ok(1));
        assert_eq!(nr_waiters(own), 1);
        task
    });
}
