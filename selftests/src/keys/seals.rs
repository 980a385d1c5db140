// SPDX-License-Identifier: GPL-2.0
//! Words in a memfd that is sealed, before or while somebody waits there.

use super::each::key_of;
use crate::harness::{BOTH, CALLS, PAGE, Touch, Waiter, fx, nr_waiters};
use crate::memory::{Region, memfd_to_seal, rw};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::mman::{MapFlags, ProtFlags};
use rfutex::{Error, Word};
use std::fs::File;
use std::os::fd::AsRawFd;

trials![
    write,
    future_write,
    shrink_and_grow,
    all_calls_on_what_cannot_be_written,
];

#[track_caller]
fn seal(file: &File, seals: SealFlag) {
    fcntl(file, FcntlArg::F_ADD_SEALS(seals)).expect("F_ADD_SEALS");
}

/// A mapping that cannot be written to, nor be made writable: of a descriptor that is open for
/// reading only. With another one, the file could not be sealed.
#[track_caller]
fn reader(file: &File) -> Region {
    let file = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("open");
    Region::file(file, 0, PAGE, ProtFlags::PROT_READ, MapFlags::MAP_SHARED)
}

/// Nobody can map `file` to write to it.
#[track_caller]
fn not_writable(file: &File) {
    let length = std::num::NonZeroUsize::new(PAGE).expect("a page");
    // SAFETY: Without MAP_FIXED, nothing that is there is replaced.
    let result = unsafe { nix::sys::mman::mmap(None, length, rw(), MapFlags::MAP_SHARED, file, 0) };
    assert_eq!(result, Err(Errno::EPERM));
}

/// A wake on each of these words finds a waiter on each of them, as with futex(2).
#[track_caller]
fn meet(words: [Word<'static>; 2]) {
    for service in BOTH {
        for word in words {
            for same in words {
                let sleeper = service.sleeper(word, 0);
                assert_eq!(service.wake(same, 1), Ok(1), "{service:?}");
                sleeper.woken();
            }
        }
    }
}

/// Nobody can write any more. Those who have it mapped for reading sleep on, and wake each other.
fn write() {
    let file = memfd_to_seal(PAGE);
    let [one, other] = [reader(&file), reader(&file)].map(|region| (region.word(0), region));
    let waiter = Waiter::start(one.0, 0);
    let key = key_of(one.0);
    seal(&file, SealFlag::F_SEAL_WRITE);
    not_writable(&file);
    assert_eq!(key_of(other.0), key);
    assert_eq!(nr_waiters(other.0), 1);
    assert_eq!(fx().wake_all(other.0), Ok(1));
    waiter.woken();
    meet([one.0, other.0]);
}

/// Only mappings that were made before can still be written to.
fn future_write() {
    let file = memfd_to_seal(PAGE);
    let writer = Region::shared(&file, 0, PAGE);
    let waiter = Waiter::start(writer.word(0), 0);
    seal(&file, SealFlag::F_SEAL_FUTURE_WRITE);
    not_writable(&file);
    let reader = reader(&file);
    assert_eq!(key_of(reader.word(0)), key_of(writer.word(0)));
    assert_eq!(fx().wake_all(reader.word(0)), Ok(1));
    waiter.woken();
    meet([writer.word(0), reader.word(0)]);
}

/// The file can neither lose the page of the word, nor get more pages.
fn shrink_and_grow() {
    let file = memfd_to_seal(PAGE);
    let region = Region::shared(&file, 0, 2 * PAGE);
    let (word, beyond) = (region.word(0), region.word(PAGE));
    let waiter = Waiter::start(word, 0);
    seal(&file, SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW);
    for len in [0, 2 * PAGE as u64] {
        let error = file.set_len(len).expect_err("a seal");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
    for call in CALLS {
        let result = call.run(fx(), beyond, region.word(64));
        assert_eq!(result, Err(Error::Fault), "{} beyond the end", call.name);
    }
    assert_eq!(fx().wake_all(word), Ok(1));
    waiter.woken();
    meet([word, word]);
}

/// All calls work that do not write to a word. WAKE_OP fails.
fn all_calls_on_what_cannot_be_written() {
    let file = memfd_to_seal(PAGE);
    let region = reader(&file);
    seal(&file, SealFlag::F_SEAL_WRITE);
    let [word, other] = [region.word(0), region.word(64)];
    for words in [[word, other], [word, other].map(Word::private)] {
        for call in CALLS {
            let expected = match call.touch {
                Touch::Writes => Err(Error::Fault),
                _ if call.name.starts_with("WAKE_OP") => Err(Error::Fault),
                _ => Ok(0),
            };
            assert_eq!(
                call.run(fx(), words[0], words[1]),
                expected,
                "{}",
                call.name
            );
        }
    }
}
