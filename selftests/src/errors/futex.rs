// SPDX-License-Identifier: GPL-2.0
//! The same errors as futex(2), called beside.

use super::*;
use crate::harness::{Mapping, PAGE, futex};
use nix::sys::mman::{MapFlags, ProtFlags};

trials![same_errors];

/// What lies at an address, kept for as long as it is needed.
pub(super) fn places() -> Vec<(&'static str, u64, Vec<Mapping>)> {
    let mut places = vec![
        ("null", 0, vec![]),
        ("kernel", 0xffff_8880_0000_0000, vec![]),
        ("not canonical", 0x8000_0000_0000_0000, vec![]),
        ("above all mappings", Mapping::end_of_user_space(), vec![]),
        ("above user space", Mapping::beyond_user_space(), vec![]),
        ("vsyscall", 0xffff_ffff_ff60_0000, vec![]),
        ("vdso", vdso(), vec![]),
    ];
    let mut add = |name, map: Mapping| places.push((name, map.addr(), vec![map]));
    let read_write = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    for (prot, name) in [
        (ProtFlags::PROT_NONE, "no access"),
        (ProtFlags::PROT_READ, "read-only"),
        (ProtFlags::PROT_WRITE, "write-only"),
        (read_write, "read-write"),
    ] {
        for flags in [MapFlags::MAP_PRIVATE, MapFlags::MAP_SHARED] {
            add(name, Mapping::anonymous(PAGE, prot, flags));
            let touched = Mapping::anonymous(PAGE, read_write, flags);
            touched.write(0, &[0; 8]);
            touched.protect(prot);
            add(name, touched);
            let read = Mapping::anonymous(PAGE, read_write, flags);
            assert_eq!(read.read(0, 1), [0]);
            read.protect(prot);
            add(name, read);
        }
        let file = tempfile::tempfile().expect("a file");
        file.set_len(PAGE as u64).expect("one page");
        for flags in [MapFlags::MAP_PRIVATE, MapFlags::MAP_SHARED] {
            add(name, Mapping::file(&file, 0, PAGE, prot, flags));
            // Beyond the end.
            add(name, Mapping::file(&file, PAGE as i64, PAGE, prot, flags));
        }
    }
    let unmapped = Mapping::private(PAGE);
    unmapped.unmap_part(0, PAGE);
    add("not mapped", unmapped);
    places
}

fn vdso() -> u64 {
    // SAFETY: It only looks a number up.
    unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) }
}

fn same_errors() {
    for (name, place, _memory) in places() {
        for offset in [0, 1, 2, 4, 4092] {
            for flags in [0, RFUTEX_WORD_PRIVATE] {
                let private = flags != 0;
                let word = rfutex_word {
                    flags,
                    ..word_at(place + offset)
                };
                let what = format!("{name}, {:#x}, private: {private}", word.addr);
                for val in [0, 1] {
                    let wait = rfutex_wait {
                        word,
                        val: val.into(),
                        ..wait_at(0)
                    };
                    let theirs = futex::wait_past(word.addr, val, private, u32::MAX);
                    assert_eq!(
                        errno(call(RFUTEX_WAIT, wait)),
                        theirs,
                        "wait for {val}: {what}"
                    );
                }
                for nr in [0, 1, i32::MAX] {
                    let wake = rfutex_wake {
                        word,
                        nr: nr as u32,
                        ..wake_at(0)
                    };
                    let theirs =
                        futex::wake(word.addr, nr, private).map_or_else(|e| e as i32, |_| 0);
                    assert_eq!(errno(call(RFUTEX_WAKE, wake)), theirs, "wake {nr}: {what}");
                }
            }
        }
    }
}
