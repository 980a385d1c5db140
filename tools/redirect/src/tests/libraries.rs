// SPDX-License-Identifier: GPL-2.0
//! The C library and the loader that are here.

use super::kept::is_the_same_everywhere;
use super::*;
use crate::function::decode;
use iced_x86::Mnemonic;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{env, fs};

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

/// The content of a file of another system's, for each that the cache has: Debian 13, whose C library
/// has one function in which threads are cancelled.
fn of_other_systems(name: &str) -> Vec<Vec<u8>> {
    let cache = env::var_os("RFUTEX_CACHE").map(PathBuf::from);
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache/rfutex"));
    let roots = cache.or_else(home).and_then(|dir| fs::read_dir(dir).ok());
    let roots = roots.into_iter().flatten().flatten();
    roots
        .filter_map(|root| fs::read(root.path().join("root").join(name)).ok())
        .collect()
}

/// Returns how often it has a place in which threads are cancelled.
#[track_caller]
fn everything_is_redirected(file: &[u8]) -> usize {
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
    let jumps = plan.redirects.iter().map(|redirect| &redirect.jump);
    let calls = plan.cancellables.iter().flat_map(|one| &one.calls);
    let calls: Vec<_> = calls.collect();
    let mut windows: Vec<_> = jumps.chain(calls.iter().copied()).collect();
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
    let jumps = plan.redirects.len() + short.count() + calls.len();
    assert_eq!(code.jumps.len(), jumps);
    is_the_same_everywhere(&plan, &code, &image);
    for cancellable in &plan.cancellables {
        stays_as_it_is(&plan, &image, cancellable.function);
    }
    plan.cancellables.len()
}

/// No byte of the function at `start` is replaced, and its callers are no part of it.
#[track_caller]
fn stays_as_it_is(plan: &Plan, image: &Image<'_>, start: u64) {
    let functions = image.functions().iter();
    let function = functions.clone().find(|function| function.start == start);
    let function = function.expect("a function");
    let jumps = plan.redirects.iter().map(|redirect| &redirect.jump);
    let calls = plan.cancellables.iter().flat_map(|one| &one.calls);
    for replaced in jumps.chain(calls) {
        let overlaps = replaced.start < function.end && function.start < replaced.end;
        assert!(!overlaps, "{replaced:x?}");
    }
    let sites = plan
        .sites
        .iter()
        .filter(|site| function.contains(&site.address));
    let fates: Vec<_> = sites.map(|site| site.fate).collect();
    assert_eq!(fates, [Fate::Cancellable]);
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

/// glibc's version, as it says it itself; `None` if it is another C library.
fn version(file: &[u8]) -> Option<(u32, u32)> {
    const BANNER: &[u8] = b"GNU C Library (";
    let at = memchr::memmem::find(file, BANNER)?;
    let line = file[at..].split(|&byte| byte == b'\n').next()?;
    let text = String::from_utf8_lossy(line);
    let (_, version) = text.trim_end_matches('.').rsplit_once("version ")?;
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[track_caller]
fn the_c_library_is_redirected(file: &[u8]) {
    let version = version(file).expect("glibc");
    let cancellable = everything_is_redirected(file);
    assert_eq!(cancellable, usize::from(version >= (2, 41)), "{version:?}");
}

#[test]
fn the_c_library() {
    the_c_library_is_redirected(&library(C_LIBRARY));
}

#[test]
fn the_loader() {
    let cancellable = everything_is_redirected(&library(&["/lib64/ld-linux-x86-64.so.2"]));
    assert_eq!(cancellable, 0);
}

/// If they are here: `make check FLAVOUR=stock` puts them into the cache.
#[test]
fn those_of_other_systems() {
    let directory = "usr/lib/x86_64-linux-gnu";
    for file in of_other_systems(&format!("{directory}/libc.so.6")) {
        the_c_library_is_redirected(&file);
    }
    for file in of_other_systems(&format!("{directory}/ld-linux-x86-64.so.2")) {
        assert_eq!(everything_is_redirected(&file), 0);
    }
}

#[test]
fn files_that_are_no_libraries() {
    assert!(Image::of_file(b"").is_none());
    assert!(Image::of_file(b"\x7fELF").is_none());
    let mut file = library(&["/lib64/ld-linux-x86-64.so.2"]);
    file.truncate(5000);
    assert!(Image::of_file(&file).is_none());
}
