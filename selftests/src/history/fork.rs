// SPDX-License-Identifier: GPL-2.0
//! After fork(2), a page that neither process has written is one page in both, and two words.
//!
//! The four steps of 2003: A forks B. A thread of B waits on a private page not written since. A
//! waits at the same address. (The page is swapped out.) B wakes at this address: it must reach the
//! waiter in B, and not that in A.

use crate::harness::{Child, PAGE, Waiter, fx, nr_waiters, until_queued};
use crate::memory::{HUGE, Region, State, SwapArea, page_of, page_out_part, rw, state_of, thp};
use nix::sys::mman::MapFlags;
use nix::unistd::pipe;
use rfutex::Word;
use std::fs::File;
use std::io::{Read, Write};

trials![
    small,
    small_swapped,
    huge_head,
    huge_tail,
    huge_swapped,
    parent_wakes_first,
    private_words,
    shared_memory,
];

/// A child, to which and from which one can be told something.
struct Other {
    child: Child,
    told: File,
    tell: File,
}

impl Other {
    /// Forks a child that runs `run` with what tells the parent, and waits to be told by it.
    fn fork(run: impl FnOnce(&dyn Fn(), &dyn Fn())) -> Self {
        let [(to_child, tell), (told, to_parent)] = [(); 2].map(|()| pipe().expect("pipe"));
        let child = Child::run(|| {
            let (to_child, to_parent) = (File::from(to_child), File::from(to_parent));
            run(&|| tell_through(&to_parent), &|| await_told(&to_child));
        });
        Self {
            child,
            told: told.into(),
            tell: tell.into(),
        }
    }

    /// Waits until the child tells.
    fn await_told(&self) {
        await_told(&self.told);
    }

    /// Tells the child.
    fn tell(&self) {
        tell_through(&self.tell);
    }
}

fn tell_through(mut write: &File) {
    write.write_all(&[1]).expect("a pipe");
}

fn await_told(mut read: &File) {
    read.read_exact(&mut [0]).expect("the other process tells");
}

/// Swaps out the page of `word`, which the process has alone since it waited there.
fn swap_out(region: &Region, word: Word<'static>) {
    let at = word.addr() as usize - region.base();
    page_out_part(region, at - at % PAGE, PAGE);
    assert_eq!(state_of(word), State::Swapped);
}

/// The four steps, on `word` of `region`.
fn four_steps(region: &Region, word: Word<'static>, swap: bool) {
    region.read();
    // 1: A forks B.
    let b = Other::fork(|tell, await_told| {
        // 2: B waits.
        let waiter = Waiter::start(word, 0);
        tell();
        await_told();
        if swap {
            swap_out(region, word);
        }
        // 4: B wakes.
        assert_eq!(nr_waiters(word), 1, "in B");
        assert_eq!(fx().wake_all(word), Ok(1));
        waiter.woken();
    });
    b.await_told();
    // 3: A waits.
    let waiter = Waiter::start(word, 0);
    if swap {
        swap_out(region, word);
    }
    b.tell();
    b.child.join();
    assert!(!waiter.is_finished(), "B's wake is not for A");
    assert_eq!(nr_waiters(word), 1, "in A");
    assert_eq!(fx().wake_all(word), Ok(1));
    waiter.woken();
}

fn small() {
    let region = Region::private(PAGE);
    four_steps(&region, region.word(0), false);
}

fn small_swapped() {
    let _swap = SwapArea::new(4 << 20);
    let region = Region::private(PAGE);
    four_steps(&region, region.word(0), true);
}

fn huge_head() {
    let region = thp(HUGE);
    four_steps(&region, region.word(0), false);
}

fn huge_tail() {
    let region = thp(HUGE);
    four_steps(&region, region.word(HUGE - PAGE), false);
}

fn huge_swapped() {
    let _swap = SwapArea::new(16 << 20);
    let region = thp(HUGE);
    four_steps(&region, region.word(HUGE - PAGE), true);
}

/// The other way round: the parent's wake does not reach the child's waiter.
fn parent_wakes_first() {
    let region = Region::private(PAGE);
    let word = region.word(0);
    let b = Other::fork(|tell, await_told| {
        let waiter = Waiter::start(word, 0);
        tell();
        await_told();
        assert_eq!(nr_waiters(word), 1);
        assert_eq!(fx().wake_all(word), Ok(1));
        waiter.woken();
    });
    b.await_told();
    assert_eq!(nr_waiters(word), 0);
    assert_eq!(fx().wake_all(word), Ok(0));
    b.tell();
    b.child.join();
}

/// Private words, even of shared memory, are of one process.
fn private_words() {
    let region = Region::anonymous(PAGE, rw(), MapFlags::MAP_SHARED);
    let word = region.word(0);
    let waiter = Waiter::start(word.private(), 0);
    Child::run(|| {
        assert_eq!(nr_waiters(word.private()), 0);
        assert_eq!(fx().wake_all(word.private()), Ok(0));
        assert_eq!(fx().wake_all(word), Ok(0));
    })
    .join();
    assert_eq!(fx().wake_all(word.private()), Ok(1));
    waiter.woken();
}

/// What is shared stays so, and the page is the same.
fn shared_memory() {
    let region = Region::anonymous(PAGE, rw(), MapFlags::MAP_SHARED);
    region.touch();
    let word = region.word(0);
    let pfn = page_of(word).pfn;
    let child = Child::run(|| fx().wait(word, 0).expect("a wake"));
    until_queued(word, 1);
    assert_eq!(page_of(word).pfn, pfn, "one page for both");
    assert_eq!(fx().wake_one(word), Ok(1));
    child.join();
}
