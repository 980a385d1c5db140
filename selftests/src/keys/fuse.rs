// SPDX-License-Identifier: GPL-2.0
//! Words in a file that a process serves (FUSE). They are words as any others, but it may take long
//! until a page comes.

use super::each::key_of;
use crate::harness::{CALLS, Child, PAGE, Task, Touch, fx, until_queued};
use crate::memory::{Fuse, RegionWord, State, mapping_of, state_of};
use crate::resolvers::{Via, each, meet_by_all_calls};
use rfutex::{Key, Resolver};

trials![key, processes, hung];

/// The same word in two mappings of the file has one key, by each resolver.
fn key() {
    let fuse = Fuse::new(2);
    let [one, again] = [fuse.map(2), fuse.map(2)];
    let [word, same] = [&one, &again].map(|region| region.word(PAGE + 8));
    let map = mapping_of(word);
    let key = Key::Inode {
        dev: map.dev,
        ino: map.ino,
        index: 1,
        offset: 8,
    };
    assert_eq!([key_of(word), key_of(same)], [key; 2]);
    meet_by_all_calls(&each(), word, same);
}

/// Processes wake each other, and see what the other has written.
fn processes() {
    let fuse = Fuse::new(1);
    let word = fuse.map(1);
    let (region, word) = (&word, word.word(0));
    for via in each() {
        let child = Child::run(|| {
            let again = fuse.map(1);
            assert_eq!(via.fx.wait(again.word(0), 0), Ok(()));
            assert_eq!(again.word(0).load(), 7);
            again.word(4).store(8);
        });
        until_queued(word, 1);
        word.store(7);
        assert_eq!(fx().wake_all(word), Ok(1), "{:?}", via.resolver);
        child.join();
        assert_eq!(region.word(4).load(), 8);
        word.store(0);
    }
}

/// The server does not answer. A call that needs no page returns at once, and one that needs the
/// page returns when it has come.
fn hung() {
    let fuse = Fuse::new(2);
    fuse.hang(1);
    for via in each() {
        for call in CALLS {
            let region = fuse.map(2);
            let [word, other] = [region.word(PAGE), region.word(0)];
            for word in [word, word.private()] {
                let how = format!("{} on {word:?} by {:?}", call.name, via.resolver);
                let by_page = via.resolver != Resolver::Vma && !word.is_private();
                if by_page || call.touch != Touch::Nothing {
                    continue;
                }
                let fx = via.fx.clone();
                let task = Task::spawn(move || call.run(&fx, word, other));
                assert_eq!(task.join(), Ok(0), "{how}");
                assert!(fuse.is_quiet(), "{how}");
                assert_eq!(state_of(word), State::Absent, "{how}");
            }
        }
    }
    // One of the others is enough: after it, the page is there.
    let region = fuse.map(2);
    let [word, other] = [region.word(PAGE), region.word(0)];
    let waiter = Task::spawn(move || fx().wait(word, 0));
    fuse.until_hanging();
    let by_vma = Via::new(Resolver::Vma);
    for call in CALLS
        .into_iter()
        .filter(|call| call.touch == Touch::Nothing)
    {
        let fx = by_vma.fx.clone();
        let task = Task::spawn(move || call.run(&fx, word, other));
        assert_eq!(task.join(), Ok(0), "{}", call.name);
    }
    assert!(!waiter.is_finished());
    fuse.go_on();
    until_queued(word, 1);
    assert_eq!(fx().wake_all(word), Ok(1));
    assert_eq!(waiter.join(), Ok(()));
}
