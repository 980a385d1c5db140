// SPDX-License-Identifier: GPL-2.0
//! What is mapped at the word of a watch changes while ADD is held up by the memory of its struct:
//! a user program has still to provide a page of it (userfaultfd). The watch is one on what is
//! there afterwards.

use super::{add, counts, set};
use crate::harness::{PAGE, Task, fx, nr_waiters};
use crate::memory::{Region, RegionWord, Uffd, memfd, rw};
use nix::sys::mman::MapFlags;
use rfutex::raw::{self, uapi};
use rfutex::{Error, Watches};
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;

trials![
    while_it_is_read,
    while_its_second_half_is_read,
    while_the_id_is_written,
    unmapped_while_it_is_read,
    unmapped_while_the_id_is_written,
];

/// The value that the watch asks for. The word does not have it before something else is mapped
/// there.
const VALUE: u32 = 7;

const COOKIE: u64 = 5;

/// A page of a file, mapped at two places: at the one the word is and something else is mapped
/// later, at the other one it stays.
struct Place {
    here: Region,
    elsewhere: Region,
}

impl Place {
    fn new() -> Self {
        let file = memfd(PAGE);
        let map = || Region::shared(file.try_clone().expect("a handle"), 0, PAGE);
        let place = Self {
            here: map(),
            elsewhere: map(),
        };
        place.here.touch();
        place
    }

    /// The request for a watch on the word.
    fn request(&self) -> uapi::rfutex_watch_add {
        uapi::rfutex_watch_add {
            word: self.here.word(0).into(),
            val: VALUE.into(),
            mask: uapi::RFUTEX_MASK_ANY,
            cookie: COOKIE,
            id: 0,
            flags: 0,
            cond: 0,
        }
    }

    /// Maps `other` where the word is.
    fn replace_by(&self, other: &File) {
        self.here
            .map_over(0, PAGE, other.as_fd(), 0, rw(), MapFlags::MAP_SHARED);
    }
}

/// Calls ADD with the struct at `addr` in a thread.
fn add_at(set: &Arc<Watches>, addr: u64) -> Task<Result<u32, Error>> {
    let set = Arc::clone(set);
    // SAFETY: It is a set, which writes to the struct at most.
    Task::spawn(move || unsafe { raw::ioctl(set.as_fd(), uapi::RFUTEX_WATCH_ADD, addr) })
}

/// What becomes of the place while the thread sleeps that has called ADD, and of the watch when
/// `go_on` has let it go on.
type Then = fn(set: &Watches, place: &Place, adding: Task<Result<u32, Error>>, go_on: &dyn Fn());

/// Another file is mapped at the word. That word has the value that the watch asks for.
fn replaced(set: &Watches, place: &Place, adding: Task<Result<u32, Error>>, go_on: &dyn Fn()) {
    let other = memfd(PAGE);
    let there = Region::shared(other.try_clone().expect("a handle"), 0, PAGE);
    let (old, new) = (place.elsewhere.word(0), there.word(0));
    new.store(VALUE);
    place.replace_by(&other);
    // The word is in memory: if it were not, it would be looked up a second time.
    place.here.read();
    assert!(!adding.is_finished(), "it waits for the page");
    go_on();
    assert_eq!(adding.join(), Ok(0));
    assert_eq!([old, new].map(nr_waiters), [0, 1]);
    assert_eq!(nr_waiters(place.here.word(0)), 1);
    assert_eq!(fx().wake_all(old), Ok(0));
    assert_eq!(counts(set), []);
    assert_eq!(fx().wake_all(new), Ok(1));
    assert_eq!(counts(set), [(COOKIE, 1)]);
}

/// Nothing is mapped at the word.
fn unmapped(set: &Watches, place: &Place, adding: Task<Result<u32, Error>>, go_on: &dyn Fn()) {
    let old = place.elsewhere.word(0);
    old.store(VALUE);
    place.here.map_nothing_over();
    assert!(!adding.is_finished(), "it waits for the page");
    go_on();
    assert_eq!(adding.join(), Err(Error::Fault));
    assert_eq!(nr_waiters(old), 0);
    // Nothing was kept: the first slot is free.
    old.store(0);
    assert_eq!(add(set, old, 1).0 as u32, 0);
}

/// Puts the request at `at` into two pages.
fn put(pages: &[Region; 2], at: usize, request: &uapi::rfutex_watch_add) {
    for (index, bytes) in raw::bytes_of(request).chunks_exact(4).enumerate() {
        let at = at + 4 * index;
        let value = u32::from_ne_bytes(bytes.try_into().expect("4 bytes"));
        pages[at / PAGE].word(at % PAGE).store(value);
    }
}

/// The struct begins at `at` in two pages, of which the one with the number `missing` is missing
/// when it is read.
#[track_caller]
fn read(at: usize, missing: usize, then: Then) {
    let place = Place::new();
    let set = Arc::new(set());
    let content = [0, 1].map(|_| Region::private(PAGE));
    put(&content, at, &place.request());
    let memory = Region::anonymous(2 * PAGE, rw(), MapFlags::MAP_PRIVATE);
    let page = |nr: usize| (memory.base() + nr * PAGE) as u64;
    let uffd = Uffd::new(&memory);
    uffd.fill(page(1 - missing), &content[1 - missing]);
    let adding = add_at(&set, (memory.base() + at) as u64);
    let addr = uffd.next_fault();
    assert_eq!(addr / PAGE as u64, page(missing) / PAGE as u64);
    then(&set, &place, adding, &|| uffd.fill(addr, &content[missing]));
}

/// The page of the struct can be read, but not yet written to.
#[track_caller]
fn write(then: Then) {
    let place = Place::new();
    let set = Arc::new(set());
    let pages = [0, 1].map(|_| Region::private(PAGE));
    put(&pages, 0, &place.request());
    let uffd = Uffd::write_protect(&pages[0]);
    let addr = pages[0].base() as u64;
    uffd.protect(addr, true);
    let adding = add_at(&set, addr);
    assert_eq!(uffd.next_write() / PAGE as u64, addr / PAGE as u64);
    then(&set, &place, adding, &|| uffd.protect(addr, false));
}

fn while_it_is_read() {
    read(0, 0, replaced);
}

/// Where the word is has been read by then.
fn while_its_second_half_is_read() {
    read(PAGE - 24, 1, replaced);
}

fn while_the_id_is_written() {
    write(replaced);
}

fn unmapped_while_it_is_read() {
    read(0, 0, unmapped);
    read(PAGE - 24, 1, unmapped);
}

fn unmapped_while_the_id_is_written() {
    write(unmapped);
}
