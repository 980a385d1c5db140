// SPDX-License-Identifier: GPL-2.0
//! What the kernel does to pages while somebody waits on them: the key stays, and so does the
//! waiter. Splitting, collapsing, swapping out and reading back, reclaiming.

use super::each::key_of;
use crate::harness::{PAGE, Waiter, fx, nr_waiters, until_queued};
use crate::leap::Leap;
use crate::memory::{
    Disk, HUGE, Ksm, Mount, Region, RegionWord, State, SwapArea, collapse, file_in, huge_tmpfs,
    is_huge, page_out, rw, split, split_file, state_of, thp,
};
use crate::vmstat::Counters;
use nix::sys::mman::MapFlags;
use rfutex::{Error, Key, Word};

trials![
    split_thp,
    split_tmpfs,
    split_by_advice,
    split_by_munmap,
    split_by_mremap,
    split_by_swap,
    collapse_anonymous,
    collapse_tmpfs,
    swap_anonymous,
    swap_shared_anonymous,
    swap_tmpfs,
    reclaim_ext4,
    reclaim_xfs,
    drop_caches,
    merge_by_ksm,
];

/// Swap for a few huge pages.
const SWAP: usize = 16 << 20;

/// The places of words in a huge page: head, first, middle and last tail.
const PLACES: [usize; 5] = [0, PAGE, HUGE / 2, HUGE / 2 + 4, HUGE - PAGE];

/// The words of a huge page at `at` in `region`.
fn words(region: &Region, at: usize) -> Vec<Word<'static>> {
    PLACES.iter().map(|place| region.word(at + place)).collect()
}

/// A waiter on each of a few words, whose keys must stay.
struct Waiters(Vec<(Word<'static>, Key, Waiter)>);

impl Waiters {
    #[track_caller]
    fn start(words: Vec<Word<'static>>) -> Self {
        let start =
            |word: Word<'static>| (word, key_of(word), Waiter::start(word, word.load().into()));
        Self(words.into_iter().map(start).collect())
    }

    /// Each key is what it was, and each waiter alone on its word still, and woken there.
    #[track_caller]
    fn stayed(self) {
        for &(word, key, ref waiter) in &self.0 {
            assert!(!waiter.is_finished(), "nobody woke it");
            assert_eq!(key_of(word), key);
            assert_eq!(nr_waiters(word), 1, "of {key:?}");
        }
        for (word, _, waiter) in self.0 {
            assert_eq!(fx().wake_all(word), Ok(1));
            waiter.woken();
        }
    }
}

fn split_thp() {
    let region = thp(2 * HUGE);
    let waiters = Waiters::start([words(&region, 0), words(&region, HUGE)].concat());
    let before = Counters::now();
    split(&region);
    assert!(Counters::now().since(&before, "thp_split_page") >= 2);
    waiters.stayed();
}

fn split_tmpfs() {
    let (mount, file) = huge_tmpfs("file", HUGE);
    let region = Region::shared(&file, 0, HUGE);
    region.read();
    let waiters = Waiters::start(words(&region, 0));
    split_file(&mount.path().join("file"), &region);
    waiters.stayed();
}

/// A part is given back: the words there are zero now, but at the same address.
fn split_by_advice() {
    let region = thp(HUGE);
    let waiters = Waiters::start(words(&region, 0));
    region
        .try_advise(HUGE / 2, HUGE / 2, libc::MADV_DONTNEED)
        .expect("MADV_DONTNEED");
    assert_eq!(state_of(region.word(HUGE / 2)), State::Absent);
    waiters.stayed();
}

/// A part is unmapped. Its waiter is out of reach until something is mapped there again.
fn split_by_munmap() {
    let mut region = thp(HUGE);
    let waiters = Waiters::start(vec![region.word(0), region.word(HUGE / 2 - PAGE)]);
    let gone = region.word(HUGE / 2);
    let leap = Leap::new();
    let lost = Waiter::start_with(gone, 0, leap.options());
    let part = region.split_off(HUGE / 2);
    let other = Waiter::start(part.word(PAGE), 0);
    // Unmaps, and keeps other mappings away from the addresses.
    part.map_nothing_over();
    assert_eq!(fx().wake_all(gone), Err(Error::Fault));
    waiters.stayed();
    leap.now();
    assert_eq!(lost.join(), Err(Error::TimedOut));

    part.map_over_anonymous(0, part.len());
    assert_eq!(fx().wake_all(gone), Ok(0));
    assert_eq!(fx().wake_all(part.word(PAGE)), Ok(1));
    other.woken();
}

/// A part is moved. A waiter stays at its address, as with futex(2): the memory that moves away
/// from under it has another key.
fn split_by_mremap() {
    let mut region = thp(HUGE);
    let waiters = Waiters::start(vec![region.word(0), region.word(HUGE / 2 - PAGE)]);
    let mut part = region.split_off(HUGE / 2);
    let word = part.word(PAGE);
    let left = Waiter::start(word, 0);
    let mut moved = part.relocate();
    assert_eq!(fx().wake_all(word), Err(Error::Fault));
    assert_eq!(fx().wake_all(moved.word(PAGE)), Ok(0));
    assert!(matches!(key_of(moved.word(PAGE)), Key::Mm { .. }));
    waiters.stayed();

    let back = moved.move_to(part);
    assert_eq!(back.word(PAGE), word);
    assert_eq!(fx().wake_all(word), Ok(1));
    left.woken();
}

fn split_by_swap() {
    let _swap = SwapArea::new(SWAP);
    let region = thp(HUGE);
    for place in PLACES {
        region.word(place).store(place as u32 + 1);
    }
    let waiters = Waiters::start(words(&region, 0));
    page_out(&region);
    for place in PLACES {
        assert_eq!(
            region.word(place).load(),
            place as u32 + 1,
            "what was swapped out"
        );
    }
    waiters.stayed();
}

fn collapse_anonymous() {
    let region = Region::reserve(HUGE, HUGE);
    region.map_over_anonymous(0, HUGE);
    region.advise(libc::MADV_NOHUGEPAGE);
    region.touch();
    assert!(!is_huge(region.word(0)), "small pages to begin with");
    let waiters = Waiters::start(words(&region, 0));
    region.advise(libc::MADV_HUGEPAGE);
    collapse(&region);
    waiters.stayed();
}

fn collapse_tmpfs() {
    let mount = Mount::tmpfs("huge=advise");
    let file = file_in(mount.path(), "file", HUGE);
    let region = Region::shared(&file, 0, HUGE);
    region.touch();
    assert!(!is_huge(region.word(0)), "small pages to begin with");
    let waiters = Waiters::start(words(&region, 0));
    region.advise(libc::MADV_HUGEPAGE);
    collapse(&region);
    waiters.stayed();
}

/// Swaps `region` out and reads it back: waiters from before meet wakes from after, and a waiter
/// can start on what is in swap.
fn swapped(region: &Region) {
    for at in (0..region.len()).step_by(PAGE) {
        region.word(at).store(at as u32 + 1);
    }
    let waiters = Waiters::start(vec![
        region.word(0),
        region.word(PAGE),
        region.word(PAGE + 4),
    ]);
    page_out(region);
    waiters.stayed();
    assert_eq!(
        region.word(PAGE).load(),
        PAGE as u32 + 1,
        "what was swapped out"
    );

    page_out(region);
    let waiter = Waiter::start(region.word(PAGE), PAGE as u64 + 1);
    page_out(region);
    until_queued(region.word(PAGE), 1);
    assert_eq!(fx().wake_all(region.word(PAGE)), Ok(1));
    waiter.woken();
}

fn swap_anonymous() {
    let _swap = SwapArea::new(SWAP);
    swapped(&Region::private(4 * PAGE));
}

fn swap_shared_anonymous() {
    let _swap = SwapArea::new(SWAP);
    swapped(&Region::anonymous(4 * PAGE, rw(), MapFlags::MAP_SHARED));
}

fn swap_tmpfs() {
    let _swap = SwapArea::new(SWAP);
    let mount = Mount::tmpfs("huge=never");
    let file = file_in(mount.path(), "file", 4 * PAGE);
    swapped(&Region::shared(&file, 0, 4 * PAGE));
}

/// The pages of a file are written back and given away under waiters.
fn reclaimed(fstype: &'static str) {
    let disk = Disk::new(fstype);
    let file = file_in(disk.path(), "file", 4 * PAGE);
    let region = Region::shared(&file, 0, 4 * PAGE);
    region.word(PAGE).store(7);
    region.read();
    let waiters = Waiters::start(vec![
        region.word(0),
        region.word(PAGE),
        region.word(PAGE + 4),
    ]);
    page_out(&region);
    waiters.stayed();
    assert_eq!(region.word(PAGE).load(), 7);
}

fn reclaim_ext4() {
    reclaimed("ext4");
}

fn reclaim_xfs() {
    reclaimed("xfs");
}

/// The waiter holds the inode when nobody maps or opens the file any more: dropping caches gets
/// the page, and not the inode.
fn drop_caches() {
    for fstype in Disk::TYPES {
        let disk = Disk::new(fstype);
        let file = file_in(disk.path(), "file", PAGE);
        let region = Region::shared(&file, 0, PAGE);
        let waiter = Waiter::start(region.word(0), 0);
        let key = key_of(region.word(0));
        region.sync();
        drop((region, file));
        std::fs::write("/proc/sys/vm/drop_caches", "3").expect("drop_caches");

        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .open(disk.path().join("file"))
            .expect("the file");
        let region = Region::shared(&file, 0, PAGE);
        assert_eq!(region.resident(), [false], "the page was dropped");
        assert_eq!(key_of(region.word(0)), key);
        assert_eq!(fx().wake_all(region.word(0)), Ok(1));
        waiter.woken();
    }
}

/// The page is merged with another one, and the next wake makes it this process's own again.
fn merge_by_ksm() {
    let ksm = Ksm::new();
    let region = Ksm::mergeable(2);
    let waiters = Waiters::start(vec![region.word(0), region.word(PAGE)]);
    ksm.merge(&region);
    waiters.stayed();
}
