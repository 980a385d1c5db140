// SPDX-License-Identifier: GPL-2.0
//! An operation on two words must not keep a reference on the page of one while the page of the
//! other is faulted in: that may last as long as a user program likes, and a page with an extra
//! reference cannot be migrated.

use crate::harness::{CALLS, PAGE, Task, until};
use crate::memory::{Region, RegionWord, Uffd, memfd, page_of, rw};
use crate::resolvers::each;
use nix::errno::Errno;
use nix::sys::mman::MapFlags;
use rfutex::{Resolver, Word};

trials![anonymous, shared];

/// Has the page of `word` migrated, as the kernel does to take a frame out of use. That fails as
/// long as somebody has a reference on the page.
#[track_caller]
fn move_page(region: &Region, word: Word<'static>, how: &str) {
    let before = page_of(word).pfn;
    until(&format!("the page moves, {how}"), || {
        // The first attempt fails if the page is in a batch of some processor, on its way to the
        // LRU list. It empties the batches.
        match region.try_advise(0, PAGE, libc::MADV_SOFT_OFFLINE) {
            Ok(()) | Err(Errno::EBUSY | Errno::EAGAIN | Errno::EIO) => {}
            Err(error) => panic!("MADV_SOFT_OFFLINE: {error}"),
        }
        // Brings the page back into the page table.
        word.load();
        page_of(word).pfn != before
    });
}

/// Makes every call on two words of which one lies on a missing page. While the call sleeps in the
/// fault, the page of the other word can be migrated.
fn check(map: impl Fn() -> Region) {
    let by_page = |resolver| resolver != Resolver::Vma;
    for via in each().into_iter().filter(|via| by_page(via.resolver)) {
        for call in CALLS.into_iter().filter(|call| call.both) {
            for missing_first in [false, true] {
                let how = format!(
                    "{} by {:?}, missing: the {} word",
                    call.name,
                    via.resolver,
                    if missing_first { "first" } else { "second" }
                );
                let here = map();
                here.touch();
                let missing = Region::anonymous(PAGE, rw(), MapFlags::MAP_PRIVATE);
                let uffd = Uffd::new(&missing);
                let mut words = [here.word(0), missing.word(0)];
                if missing_first {
                    words.reverse();
                }
                let fx = via.fx.clone();
                let task = Task::spawn(move || call.run(&fx, words[0], words[1]));
                let addr = uffd.next_fault();
                assert_eq!(addr / PAGE as u64, missing.word(0).page(), "{how}");
                move_page(&here, here.word(0), &how);
                assert!(!task.is_finished(), "{how}");
                uffd.fill(addr, &Region::private(PAGE));
                assert_eq!(task.join(), Ok(0), "{how}");
            }
        }
    }
}

fn anonymous() {
    check(|| Region::private(PAGE));
}

fn shared() {
    check(|| Region::shared(memfd(PAGE), 0, PAGE));
}
