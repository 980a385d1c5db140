// SPDX-License-Identifier: GPL-2.0
//! The C library and the loader that are here.

use super::kept::is_the_same_everywhere;
use super::*;
use crate::function::decode;
use iced_x86::Mnemonic;
use std::collections::BTreeSet;
use std::fs;

/// The calls that the preloaded library redirects.
const ALL: [u32; 7] = [202, 449, 454, 455, 456, 59, 322];

/// Where the C library is.
const C_LIBRARY: &[&str] = &[
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib64/libc.so.6",
    "/usr/lib/libc.so.6",
];

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
    let code = Code::new(&plan, None, &image, 0).expect("code");
    let short = plan.redirects.iter().filter(|one| one.short.is_some());
    assert_eq!(code.jumps.len(), plan.redirects.len() + short.count());
    is_the_same_everywhere(&plan, &code, &image);
}

/// The code does not depend on where the library was when it was made.
#[test]
fn where_it_was_made_does_not_matter() {
    let file = library(C_LIBRARY);
    let here = Image::of_file(&file).expect("a library");
    let bias = 0x7fff_f7dd_7000;
    let segments = here.segments().iter().map(|segment| Segment {
        address: segment.address + bias,
        ..*segment
    });
    let functions = here.functions().iter();
    let functions = functions.map(|range| range.start + bias..range.end + bias);
    let entries = here.entries().iter().map(|entry| entry + bias);
    let there = Image::new(segments.collect(), functions.collect(), entries.collect());
    let (one, other) = (Plan::new(&here, &ALL), Plan::new(&there, &ALL));
    assert_eq!(one.summary(0), other.summary(bias));
    let code = |plan, image: &Image<'_>, bias| Code::new(plan, None, image, bias).expect("code");
    assert_eq!(code(&one, &here, 0), code(&other, &there, bias));
}

/// Libraries that are there or not, some of which have no such calls.
#[test]
fn other_libraries_are_the_same_everywhere() {
    for name in [
        "libstdc++.so.6",
        "libgomp.so.1",
        "libitm.so.1",
        "libgcc_s.so.1",
        "libm.so.6",
        "libtsan.so.2",
    ] {
        let Ok(file) = fs::read(format!("/usr/lib/x86_64-linux-gnu/{name}")) else {
            continue;
        };
        let image = Image::of_file(&file).expect("a library");
        let plan = Plan::new(&image, &ALL);
        if plan.refused().count() == 0 {
            let code = Code::new(&plan, None, &image, 0).expect("code");
            is_the_same_everywhere(&plan, &code, &image);
        }
    }
}

#[test]
fn the_c_library() {
    everything_is_redirected(&library(C_LIBRARY));
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
