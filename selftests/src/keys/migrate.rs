// SPDX-License-Identifier: GPL-2.0
//! Pages that move to other frames under a waiter.
//!
//! One memory node has no other to migrate to; but compaction migrates too: it moves pages from the
//! low end of memory to free frames at the high end.

use super::each::key_of;
use crate::harness::{PAGE, Waiter, fx};
use crate::memory::{Compaction, HUGE, Region, memfd, page_of};
use rfutex::Word;

trials![anonymous, shared];

/// How much memory to fill with holes, in bytes.
const LEN: usize = 32 << 20;
/// Of how many pages one is kept.
const EVERY: usize = 512;
/// A huge page is two to the power of this pages.
const ORDER: usize = (HUGE / PAGE).trailing_zeros() as usize;
/// How many words to wait on.
const WAITERS: usize = 8;

/// Gives away all pages of `region` but one in [`EVERY`], and returns the words on those with the
/// lowest frame numbers.
fn thin_out(region: &Region, advice: i32) -> Vec<Word<'static>> {
    for at in (0..LEN).step_by(EVERY * PAGE) {
        let (hole, len) = (at + PAGE, (EVERY - 1) * PAGE);
        region.try_advise(hole, len, advice).expect("madvise");
    }
    let mut words: Vec<_> = (0..LEN)
        .step_by(EVERY * PAGE)
        .map(|at| region.word(at))
        .collect();
    words.sort_by_key(|&word| page_of(word).pfn);
    words.truncate(WAITERS);
    words
}

/// How many huge pages there are as memory is. For more, the kernel would have to move pages.
fn huge_pages() -> usize {
    let zones = std::fs::read_to_string("/proc/buddyinfo").expect("/proc/buddyinfo");
    // "Node 0, zone DMA32 N N N ...": how many free blocks of one page, of two, of four.
    let in_zone = |zone: &str| -> usize {
        let blocks = zone.split_whitespace().skip(4).enumerate().skip(ORDER);
        let in_order =
            |(order, nr): (usize, &str)| nr.parse::<usize>().expect("a number") << (order - ORDER);
        blocks.map(in_order).sum()
    };
    zones.lines().map(in_zone).sum()
}

/// Waits on the words that `thinned` gives with their region, and sees that pages are moved.
///
/// Free frames are handed out from the high end, so that a region would lie where compaction moves
/// things to. Much of what is free is taken before, and given away when the region is there.
fn moved(thinned: impl Fn() -> (Region, Vec<Word<'static>>)) {
    let compaction = Compaction::new();
    let high = Region::reserve(huge_pages() / 2 * HUGE, HUGE);
    high.map_over_anonymous(0, high.len());
    high.advise(libc::MADV_HUGEPAGE);
    high.touch();
    let (_region, words) = thinned();
    drop(high);
    let free = std::fs::read_to_string("/proc/buddyinfo").expect("/proc/buddyinfo");
    let frames = frames(words, &compaction);
    assert!(
        frames.iter().any(|(before, after)| before != after),
        "compaction moves nothing: frames {frames:x?}; free was\n{free}"
    );
}

/// Waits on `words`, has memory compacted, and wakes. Returns where their pages were before, and
/// where they are then.
fn frames(words: Vec<Word<'static>>, compaction: &Compaction) -> Vec<(u64, u64)> {
    let waiters: Vec<_> = words
        .into_iter()
        .map(|word| {
            let waiter = Waiter::start(word, 0);
            (word, key_of(word), page_of(word).pfn, waiter)
        })
        .collect();
    compaction.run();
    let mut frames = Vec::new();
    for (word, key, pfn, waiter) in waiters {
        frames.push((pfn, page_of(word).pfn));
        assert!(!waiter.is_finished(), "nobody woke it");
        assert_eq!(key_of(word), key);
        assert_eq!(fx().wake_all(word), Ok(1));
        waiter.woken();
    }
    frames
}

fn anonymous() {
    moved(|| {
        let region = Region::reserve(LEN, HUGE);
        region.map_over_anonymous(0, LEN);
        region.advise(libc::MADV_NOHUGEPAGE);
        region.touch();
        let words = thin_out(&region, libc::MADV_DONTNEED);
        (region, words)
    });
}

fn shared() {
    moved(|| {
        let region = Region::shared(memfd(LEN), 0, LEN);
        region.touch();
        let words = thin_out(&region, libc::MADV_REMOVE);
        (region, words)
    });
}
