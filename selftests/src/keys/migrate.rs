// SPDX-License-Identifier: GPL-2.0
//! Pages that move to other frames under a waiter.
//!
//! One memory node has no other to migrate to; but compaction migrates too: it moves pages from the
//! low end of memory to free frames at the high end.

use super::each::key_of;
use crate::harness::{PAGE, Waiter, fx, until};
use crate::memory::{HUGE, Region, memfd, page_of};
use rfutex::Word;

trials![anonymous, shared];

/// How much memory to fill with holes, in bytes.
const LEN: usize = 32 << 20;
/// Of how many pages one is kept.
const EVERY: usize = 512;
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

/// Waits on `words`, has their pages moved, and wakes.
fn moved(words: Vec<Word<'static>>) {
    let waiters: Vec<_> = words
        .into_iter()
        .map(|word| {
            (
                word,
                key_of(word),
                page_of(word).pfn,
                Waiter::start(word, 0),
            )
        })
        .collect();
    until("pages with waiters are moved", || {
        std::fs::write("/proc/sys/vm/compact_memory", "1").expect("compact_memory");
        waiters
            .iter()
            .any(|&(word, _, pfn, _)| page_of(word).pfn != pfn)
    });
    for (word, key, _, waiter) in waiters {
        assert!(!waiter.is_finished(), "nobody woke it");
        assert_eq!(key_of(word), key);
        assert_eq!(fx().wake_all(word), Ok(1));
        waiter.woken();
    }
}

fn anonymous() {
    let region = Region::reserve(LEN, HUGE);
    region.map_over_anonymous(0, LEN);
    region.advise(libc::MADV_NOHUGEPAGE);
    region.touch();
    moved(thin_out(&region, libc::MADV_DONTNEED));
}

fn shared() {
    let region = Region::shared(memfd(LEN), 0, LEN);
    region.touch();
    moved(thin_out(&region, libc::MADV_REMOVE));
}
