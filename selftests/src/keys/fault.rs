// SPDX-License-Identifier: GPL-2.0
//! Memory on which a word has no key: `EFAULT`, from every command.
//!
//! More addresses at which there is no memory, or none of the user's, are in [`crate::errors`].

use crate::harness::{PAGE, fx};
use crate::memory::{
    Disk, HUGE, Ksm, Mount, Region, RegionWord, file_in, named_mapping, page_of, rw, secret, thp,
};
use nix::sys::mman::{MapFlags, ProtFlags};
use procfs::PhysicalPageFlags;
use procfs::process::MMapPath;
use rfutex::{Error, Word};
use std::fs::File;

trials![
    kernel,
    vdso,
    vvar,
    prot_none,
    guard,
    read_only_anonymous,
    read_only_thp,
    read_only_ksm,
    read_only_copy_of_file,
    zero_page,
    huge_zero_page,
    beyond_end_of_file,
    secretmem,
    private_flag,
];

/// Every command says EFAULT.
#[track_caller]
fn refused(word: Word<'static>) {
    assert_eq!(
        fx().key_info(word),
        Err(Error::Fault),
        "KEY_INFO of {word:?}"
    );
    assert_eq!(fx().wait(word, 0), Err(Error::Fault), "WAIT on {word:?}");
    assert_eq!(fx().wake(word, 1, 1), Err(Error::Fault), "WAKE on {word:?}");
    assert_eq!(
        fx().wake_one(word),
        Err(Error::Fault),
        "WAKE_ONE on {word:?}"
    );
    assert_eq!(
        fx().wake_all(word),
        Err(Error::Fault),
        "WAKE_ALL on {word:?}"
    );
}

/// An address at which nothing can be mapped is refused for a private word, too.
#[track_caller]
/// Where nothing of the user's can be, a private word has no key either.
fn kernel() {
    for addr in [0xffff_8880_0000_0000, 0xffff_ffff_8100_0000] {
        let word = Word::at(addr, 4);
        refused(word);
        refused(word.private());
    }
}

fn vdso() {
    refused(named_mapping(MMapPath::Vdso).expect("a vdso"));
}

/// Page frames without a page that counts: `VM_PFNMAP`.
fn vvar() {
    refused(named_mapping(MMapPath::Vvar).expect("a vvar"));
}

fn prot_none() {
    let mount = Mount::tmpfs("");
    let file = file_in(mount.path(), "file", PAGE);
    let region = Region::shared(&file, 0, PAGE);
    region.touch();
    region.protect(ProtFlags::PROT_NONE);
    refused(region.word(0));
}

/// Guard pages: readable and writable by their mapping, and not there.
fn guard() {
    const MADV_GUARD_INSTALL: i32 = 102;
    let region = Region::private(PAGE);
    region.advise(MADV_GUARD_INSTALL);
    refused(region.word(0));
}

fn read_only_anonymous() {
    let region = Region::private(PAGE);
    region.protect(ProtFlags::PROT_READ);
    refused(region.word(0));
}

fn read_only_thp() {
    let region = thp(HUGE);
    region.protect(ProtFlags::PROT_READ);
    refused(region.word(0));
    refused(region.word(HUGE - PAGE));
}

fn read_only_ksm() {
    let ksm = Ksm::new();
    let region = ksm.merged(2);
    region.protect(ProtFlags::PROT_READ);
    refused(region.word(0));
    let flags = page_of(region.word(0)).flags;
    assert!(flags.contains(PhysicalPageFlags::KSM), "it is merged still");
}

/// A page of a private mapping that was written and then made read-only is no page of the file.
fn read_only_copy_of_file() {
    let mount = Mount::tmpfs("");
    let file = file_in(mount.path(), "file", PAGE);
    let region = Region::file(&file, 0, PAGE, rw(), MapFlags::MAP_PRIVATE);
    region.touch();
    region.protect(ProtFlags::PROT_READ);
    refused(region.word(0));
}

/// The resolver must not look for ever for whose page it is.
fn zero_page() {
    let region = Region::anonymous(PAGE, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE);
    region.read();
    let flags = page_of(region.word(0)).flags;
    assert!(
        flags.contains(PhysicalPageFlags::ZERO_PAGE),
        "the zero page: {flags:?}"
    );
    refused(region.word(0));
}

fn huge_zero_page() {
    let region = Region::reserve(HUGE, HUGE);
    region.map_over_anonymous(0, HUGE);
    region.advise(libc::MADV_HUGEPAGE);
    region.read();
    let flags = page_of(region.word(PAGE)).flags;
    assert!(
        flags.contains(PhysicalPageFlags::ZERO_PAGE | PhysicalPageFlags::THP),
        "the huge zero page: {flags:?}"
    );
    region.protect(ProtFlags::PROT_READ);
    refused(region.word(0));
    refused(region.word(PAGE));
}

/// A page of the mapping, none of the file.
fn beyond_end_of_file() {
    fn check(file: &File) {
        for prot in [ProtFlags::PROT_READ, rw()] {
            for flags in [MapFlags::MAP_SHARED, MapFlags::MAP_PRIVATE] {
                let region = Region::file(file, 0, 2 * PAGE, prot, flags);
                refused(region.word(PAGE));
            }
        }
    }
    check(&file_in(Mount::tmpfs("").path(), "file", PAGE));
    for fstype in Disk::TYPES {
        check(&file_in(Disk::new(fstype).path(), "file", PAGE));
    }
}

fn secretmem() {
    let region = Region::shared(secret(PAGE), 0, PAGE);
    region.touch();
    refused(region.word(0));
}

/// A private word's key is its address, whatever is there. Only a wait looks at the word.
fn private_flag() {
    let mut region = Region::private(2 * PAGE);
    let gone = region.word(PAGE).private();
    drop(region.split_off(PAGE));
    let none = Region::reserve(PAGE, PAGE);
    for word in [gone, none.word(0).private()] {
        assert_eq!(fx().wake_all(word), Ok(0));
        assert_eq!(fx().key_info(word).expect("a key").nr_waiters, 0);
        assert_eq!(fx().wait(word, 0), Err(Error::Fault));
    }

    // A mapping that can be read is enough.
    region.protect(ProtFlags::PROT_READ);
    let word = region.word(0);
    assert_eq!(word.load(), 0);
    assert_eq!(fx().wait(word.private(), 1), Err(Error::Again));
}
