// SPDX-License-Identifier: GPL-2.0
//! The end of an owner while commands of all kinds are about those who wait for it.

use super::{process, thread};
use crate::harness::{Child, Mapping, PAGE, Task, fx, until};
use nix::sys::signal::Signal;
use rfutex::{
    Compare, Error, Op, Owner, Rfutex, Table, TableOptions, Target, WaitEnd, WaitEntry,
    WaitOptions, WakeEntry, Word,
};
use std::time::Duration;

trials![in_memory, private, in_an_arena];

/// How many waits there are of each kind in a round.
const OF_EACH: usize = 2;
const ROUNDS: u32 = 20;

/// What the waits and the commands are about.
#[derive(Clone, Copy)]
struct Place {
    device: &'static Rfutex,
    /// Where all begin to wait, which stays 0, and where they may be moved.
    words: [Word<'static>; 2],
    /// Nobody is woken here.
    quiet: Word<'static>,
    /// Nobody waits here.
    empty: Word<'static>,
}

impl Place {
    fn new(device: &'static Rfutex, word: impl Fn(usize) -> Word<'static>) -> Self {
        Self {
            device,
            words: [word(0), word(64)],
            quiet: word(128),
            empty: word(192),
        }
    }

    fn nr_waiters(self, word: Word<'_>) -> u32 {
        self.device.key_info(word).expect("a key").nr_waiters
    }

    /// One wait for `owner`. True if it was woken, false if the owner has ended.
    fn wait(self, kind: usize, owner: Owner) -> bool {
        let word = self.words[0];
        let options = WaitOptions::default().owner(owner);
        let result = match kind {
            0 => self.device.wait_with(word, 0, options),
            1 => self.device.swap_with(word, 0, self.empty, options),
            _ => {
                let entries = [
                    WaitEntry::new(self.quiet, 0),
                    WaitEntry::new(word, 0).owner(owner),
                ];
                match self.device.wait_any_or_end(&entries, None) {
                    Ok(WaitEnd::Woken(1)) => Ok(()),
                    Ok(WaitEnd::OwnerEnded(1)) => Err(Error::OwnerEnded),
                    other => panic!("{other:?}"),
                }
            }
        };
        match result {
            Ok(()) => true,
            Err(Error::OwnerEnded) => false,
            Err(error) => panic!("kind {kind}: {error}"),
        }
    }

    /// Some commands. Returns how many waiters they say that they have woken.
    fn command(self, kind: usize, nr: u32) -> u32 {
        let [from, to] = self.words;
        let device = self.device;
        let once = || match kind {
            0 => {
                device.requeue_if(from, 0, to, 0, 2).expect("requeue");
                device.requeue(to, from, 0, 1).expect("requeue");
                0
            }
            1 => device.requeue(to, from, 1, 0).expect("requeue"),
            2 => {
                // SAFETY: Nothing of the word belongs to Rust but an atomic.
                let target = unsafe { Target::from_word(to) };
                let (op, compare) = (Op::Xor(1), Compare::Equal(0));
                let woken = device.wake_op(from, 1, target, 1, op, compare);
                woken.expect("wake_op")
            }
            _ => {
                let entries = self.words.map(|word| WakeEntry::new(word, 1));
                let mut results = [0; 2];
                let woken = device.wake_each(&entries, &mut results).expect("wakev");
                assert_eq!(results.iter().sum::<u32>(), woken);
                woken
            }
        };
        (0..nr).map(|_| once()).sum()
    }

    /// Each wait has one answer, and as many were woken as the commands have counted. Nobody sleeps
    /// on, though nobody is woken when the owner has ended.
    fn storm(self) {
        let mut rng = fastrand::Rng::with_seed(12);
        let (mut woken, mut ended) = (0, 0);
        for round in 0..ROUNDS {
            let child = Child::sleeping();
            let owner = match round % 2 {
                0 => process(child.pid()),
                _ => thread(child.pid()),
            };
            let waiters: Vec<_> = (0..3 * OF_EACH)
                .map(|nr| Task::spawn(move || self.wait(nr % 3, owner)))
                .collect();
            until("all wait", || {
                self.nr_waiters(self.words[0]) == waiters.len() as u32
            });
            let commands = [0, 1, 2, 3].map(|kind| {
                // Some do nothing in a round, so that there are always some who hear of the end.
                let nr = rng.u32(..3) * (1 + 7 * u32::from(kind == 0));
                Task::spawn(move || self.command(kind, nr))
            });
            std::thread::sleep(Duration::from_micros(rng.u64(..500)));
            child.kill(Signal::SIGKILL);
            let counted: u32 = commands.into_iter().map(Task::join).sum();
            let answers: Vec<_> = waiters.into_iter().map(Task::join).collect();
            let heard = answers.iter().filter(|woken| **woken).count() as u32;
            assert_eq!(heard, counted, "wakes that arrived, and those counted");
            for word in [self.words[0], self.words[1], self.quiet] {
                assert_eq!(self.nr_waiters(word), 0);
            }
            child.status();
            woken += heard;
            ended += answers.len() as u32 - heard;
        }
        println!("{woken} were woken, {ended} heard of the end");
        assert!(woken > 0 && ended > 0);
    }
}

fn in_memory() {
    let map = Mapping::shared(PAGE);
    Place::new(fx(), |offset| map.word(offset)).storm();
}

fn private() {
    let map = Mapping::private(PAGE);
    Place::new(fx(), |offset| map.word(offset).private()).storm();
}

fn in_an_arena() {
    let options = TableOptions::new().arena(PAGE as u64);
    // For as long as the test lasts, which is a process.
    let table = Box::leak(Box::new(Table::create(fx(), options).expect("a table")));
    Place::new(table, |offset| Word::in_arena(offset as u64, 4)).storm();
}
