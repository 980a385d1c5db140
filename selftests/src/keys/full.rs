// SPDX-License-Identifier: GPL-2.0
//! Words in a tmpfs that is full: where a file has a hole, no page can come.

use crate::harness::{BOTH, CALLS, PAGE, Touch, Waiter, fx};
use crate::memory::{Mount, Region, RegionWord, file_in, rw};
use crate::resolvers::Via;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::mman::{MapFlags, ProtFlags};
use rfutex::{Error, Resolver, Word};
use std::fs::File;

trials![hole, hole_under_a_waiter, page_that_is_there];

/// A full tmpfs, with a file that consists of a page and a hole of one page.
struct Full {
    mount: Mount,
    file: File,
}

impl Full {
    #[track_caller]
    fn new() -> Self {
        let mount = Mount::tmpfs("size=64k");
        let file = file_in(mount.path(), "file", 2 * PAGE);
        Region::shared(&file, 0, PAGE).touch();
        let full = Self { mount, file };
        full.fill();
        full
    }

    /// Uses up all pages that are left.
    #[track_caller]
    fn fill(&self) {
        let ballast = File::options()
            .create(true)
            .append(true)
            .open(self.mount.path().join("ballast"));
        let mut ballast = ballast.expect("a file");
        let error = std::io::copy(&mut std::io::repeat(1), &mut ballast).expect_err("it is full");
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    }
}

/// By page, no call finds a key. By VMA, only the calls that read or write the word fail.
fn hole() {
    let full = Full::new();
    for prot in [rw(), ProtFlags::PROT_READ] {
        let region = Region::file(&full.file, 0, 2 * PAGE, prot, MapFlags::MAP_SHARED);
        let writer = Region::shared(&full.file, 0, PAGE);
        let [word, other] = [region.word(PAGE), writer.word(0)];
        for via in crate::resolvers::each() {
            for call in CALLS {
                let by_vma = via.resolver == Resolver::Vma && call.touch == Touch::Nothing;
                let expected = if by_vma { Ok(0) } else { Err(Error::Fault) };
                let result = call.run(&via.fx, word, other);
                assert_eq!(result, expected, "{} by {:?}", call.name, via.resolver);

                let expected = match call.touch {
                    Touch::Nothing => Ok(0),
                    _ => Err(Error::Fault),
                };
                let result = call.run(&via.fx, word.private(), other);
                assert_eq!(result, expected, "{} on a private word", call.name);
            }
        }
        for service in BOTH {
            assert_eq!(service.wait(word, 0), libc::EFAULT, "{service:?}");
            assert_eq!(service.wake(word, 1), Err(libc::EFAULT), "{service:?}");
            assert_eq!(service.wait(word.private(), 0), libc::EFAULT);
            assert_eq!(service.wake(word.private(), 1), Ok(0), "{service:?}");
        }
    }
}

/// The page of a waiter's word is taken from the file, and cannot come back before there is room.
/// The VMA resolver finds the waiter all the same.
fn hole_under_a_waiter() {
    let full = Full::new();
    let region = Region::shared(&full.file, 0, PAGE);
    let word = region.word(0);
    let punch = || {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&full.file, flags, 0, PAGE as i64).expect("fallocate");
        full.fill();
    };
    let [first, second] = [(); 2].map(|()| Waiter::start(word, 0));
    punch();
    assert_eq!(fx().wake_one(word), Err(Error::Fault));
    assert_eq!(Via::new(Resolver::Vma).fx.wake_one(word), Ok(1));
    first.woken();
    assert!(!second.is_finished());
    std::fs::remove_file(full.mount.path().join("ballast")).expect("unlink");
    assert_eq!(fx().wake_one(word), Ok(1));
    second.woken();
}

/// On a page that is there, everything works.
fn page_that_is_there() {
    let full = Full::new();
    let [one, again] = [(); 2].map(|()| Region::shared(&full.file, 0, PAGE));
    let vias = crate::resolvers::each();
    crate::resolvers::meet(&vias, one.word(0), again.word(0));
    let [word, other] = [one.word(0), one.word(64)];
    for call in CALLS {
        for words in [[word, other], [word, other].map(Word::private)] {
            assert_eq!(call.run(fx(), words[0], words[1]), Ok(0), "{}", call.name);
        }
    }
    assert_eq!(word.load(), 0);
}
