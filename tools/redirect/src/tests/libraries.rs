// SPDX-License-Identifier: GPL-2.0
//! The C library and the loader that are here.

use super::*;
use crate::function::decode;
use iced_x86::Mnemonic;
use std::collections::BTreeSet;
use std::fs;

/// The calls that the preloaded library redirects.
const ALL: [u32; 7] = [202, 449, 454, 455, 456, 59, 322];

/// The content of the first of these files that is there.
#[track_caller]
fn library(names: &[&str]) -> Vec<u8> {
    let found = names.iter().find_map(|name| fs::read(name).ok());
    found.unwrap_or_else(|| panic!("none of {names:?} is here"))
}

#[track_caller]
fn everything_is_redirected(file: &[u8]) {
    let image = Image::of_file(file).expect("a library");
    let plan = Plan::new(&image, &ALL);
    // Each instruction of each function is accounted for, by somebody else's count.
    let functions = image.functions().iter();
    let instructions = functions.flat_map(|range| {
        let bytes = image.bytes(range).unwrap_or_default();
        decode(bytes, range.start)
    });
    let all: BTreeSet<_> = instructions
        .filter(|instruction| instruction.mnemonic() == Mnemonic::Syscall)
        .map(|instruction| instruction.ip())
        .collect();
    let sites: BTreeSet<_> = plan.sites.iter().map(|site| site.address).collect();
    assert_eq!(all, sites);
    assert_eq!(sites.len(), plan.sites.len());
    assert_eq!(plan.refused().count(), 0, "{:?}", plan.refused().next());
    let of = |wanted| plan.sites.iter().filter(move |site| site.number == wanted);
    assert!(of(Number::Known(202)).count() > 0);
    assert!(of(Number::Known(202)).all(|site| site.fate != Fate::Other));
    assert!(of(Number::Unknown).all(|site| site.fate != Fate::Other));
    assert!(plan.sites.iter().any(|site| site.fate == Fate::Other));
    // Nothing is overwritten twice, nor where something jumps to.
    let mut windows: Vec<_> = plan
        .redirects
        .iter()
        .map(|redirect| &redirect.jump)
        .collect();
    windows.sort_by_key(|window| window.start);
    for pair in windows.windows(2) {
        assert!(pair[0].end <= pair[1].start, "{pair:x?}");
    }
    let entries = image
        .entries()
        .iter()
        .chain(image.functions().iter().map(|range| &range.start));
    let entries: Vec<_> = entries.collect();
    for window in windows {
        let inside = |entry: &&&u64| (window.start + 1..window.end).contains(**entry);
        assert_eq!(entries.iter().find(inside), None, "{window:x?}");
    }
    let code = Code::new(&plan, 0x4000_0000, 0).expect("code");
    assert!(code.trampolines.len() <= plan.room());
    assert_eq!(code.patches.len(), plan.redirects.len());
    plans_can_be_kept(&image, &plan);
}

/// The plan survives being kept, and what is not one of this library is not taken for one.
#[track_caller]
fn plans_can_be_kept(image: &Image<'_>, plan: &Plan) {
    let words = plan.to_words(0).expect("nothing is refused");
    let again = |words: &[u64], bias| Plan::from_words(words, image, bias, &ALL);
    assert_eq!(again(&words, 0).as_ref(), Some(plan));
    // A library is never where its file says.
    let lower = plan.to_words(0x1000).expect("nothing is refused");
    assert_ne!(lower, words);
    assert_eq!(again(&lower, 0x1000).as_ref(), Some(plan));
    for cut in [0, 1, words.len() / 2, words.len() - 1] {
        assert_eq!(again(&words[..cut], 0), None, "{cut}");
    }
    assert_eq!(again(&[&words[..], &[0]].concat(), 0), None);
    assert_eq!(again(&words, 1), None, "somewhere else");
    assert_eq!(again(&words, 1 << 40), None, "where no code is");
}

#[test]
fn what_is_refused_is_not_kept() {
    // A jump to the instruction, which has no neighbour.
    let code = [FUTEX, &[0xeb, 0], SYSCALL, RET].concat();
    let plan = Plan::new(&image(&code, &[], &[]), &ALL);
    assert_eq!(plan.refused().count(), 1, "{plan:?}");
    assert_eq!(plan.to_words(0), None);
}

#[test]
fn the_c_library() {
    let names = [
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib64/libc.so.6",
        "/usr/lib/libc.so.6",
    ];
    everything_is_redirected(&library(&names));
}

#[test]
fn the_loader() {
    everything_is_redirected(&library(&["/lib64/ld-linux-x86-64.so.2"]));
}

#[test]
fn files_that_are_no_libraries() {
    assert!(Image::of_file(b"").is_none());
    assert!(Image::of_file(b"\x7fELF").is_none());
    let mut file = library(&["/lib64/ld-linux-x86-64.so.2"]);
    file.truncate(5000);
    assert!(Image::of_file(&file).is_none());
}
