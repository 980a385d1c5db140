// SPDX-License-Identifier: GPL-2.0
//! Words in a file of a frozen file system. There, a write fault sleeps until the file system is
//! thawed, and cannot be killed. Calls on private words, and by the VMA resolver, cause none.
//!
//! The page resolver does cause one, unless the page is mapped writable already. That is not tried
//! here: nothing could end the test.

use super::{Via, meet};
use crate::harness::{CALLS, PAGE, Task, Touch};
use crate::memory::{Disk, Region, file_in, page_of};
use procfs::PhysicalPageFlags;
use rfutex::Resolver;
use std::fs::File;
use std::time::SystemTime;

trials![ext4];

#[track_caller]
fn mtime(file: &File) -> SystemTime {
    let meta = file.metadata().expect("stat");
    meta.modified().expect("a time")
}

fn ext4() {
    let disk = Disk::new("ext4");
    let file = file_in(disk.path(), "file", 2 * PAGE);
    let region = Region::shared(&file, 0, 2 * PAGE);
    let beside = Region::private(PAGE);
    let [word, other] = [region.word(PAGE), beside.word(0)];
    let via = Via::new(Resolver::Vma);
    let waiters = [word, word.private()].map(|word| (word, via.waiter(word, 0)));
    let before = mtime(&file);
    let frozen = disk.freeze();

    // Nobody waits on these words. One lies on a page that is there, the other on one that is not.
    for at in [PAGE + 64, 0] {
        let word = region.word(at);
        for word in [word, word.private()] {
            let harmless = |touch| touch != Touch::Writes;
            for call in CALLS.into_iter().filter(|call| harmless(call.touch)) {
                for words in [[word, other], [other, word]] {
                    // WAKE_OP changes the second one.
                    if words[1] == word && call.name == "WAKE_OP on it" {
                        continue;
                    }
                    let fx = via.fx.clone();
                    let task = Task::spawn(move || call.run(&fx, words[0], words[1]));
                    assert_eq!(task.join(), Ok(0), "{} on {word:?}", call.name);
                }
            }
        }
        let flags = page_of(word).flags;
        assert!(!flags.contains(PhysicalPageFlags::DIRTY), "{flags:?}");
    }

    // Waiters from before the freeze are found, and so are new ones.
    for (word, waiter) in waiters {
        let waker = Task::spawn({
            let fx = via.fx.clone();
            move || fx.wake_all(word)
        });
        assert_eq!(waker.join(), Ok(1));
        assert_eq!(waiter.join(), Ok(()));
        let waiter = via.waiter(word, 0);
        assert_eq!(via.fx.wake_one(word), Ok(1));
        assert_eq!(waiter.join(), Ok(()));
    }
    assert_eq!(mtime(&file), before, "nothing was written");
    drop(frozen);
    meet(&super::each(), word, word);
}
