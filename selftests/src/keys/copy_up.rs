// SPDX-License-Identifier: GPL-2.0
//! A file of overlayfs is that of the lower layer until somebody opens it for writing, and from
//! then on its copy in the upper layer. A mapping that was made before keeps the pages of the
//! first. stat(2) and `/proc/self/maps` show both alike.

use crate::harness::{PAGE, Service, Waiter, fx, nr_waiters};
use crate::memory::{Overlay, Region, mapping_of};
use crate::resolvers::{each, meet_by_all_calls};
use nix::sys::mman::{MapFlags, ProtFlags};
use rfutex::{KeyInfo, Word};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

trials![told_apart, met_again];

#[track_caller]
fn reader(path: &Path) -> Region {
    let file = File::open(path).expect("a file");
    Region::file(file, 0, PAGE, ProtFlags::PROT_READ, MapFlags::MAP_SHARED)
}

/// Opens the file for writing, which is when it is copied, and maps it.
#[track_caller]
fn writer(path: &Path) -> Region {
    let file = File::options().read(true).write(true).open(path);
    Region::shared(file.expect("a file"), 0, PAGE)
}

#[track_caller]
fn info(word: Word<'static>) -> KeyInfo {
    fx().key_info(word).expect("a key")
}

/// A word in a mapping from before the copy and the same one in a mapping from after it are two
/// words: a wake on one does not find the waiters of the other. Only `object` tells them apart.
fn told_apart() {
    let overlay = Overlay::new("file", PAGE);
    let path = overlay.path().join("file");
    let stat = |path: &Path| {
        let meta = path.metadata().expect("stat");
        (meta.dev(), meta.ino())
    };
    let before = reader(&path);
    let waiter = Waiter::start(before.word(0), 0);
    let (stat_before, info_before) = (stat(&path), info(before.word(0)));
    let after = writer(&path);
    assert_eq!(stat(&path), stat_before, "as overlayfs shows them");
    assert_eq!(mapping_of(after.word(0)), mapping_of(before.word(0)));

    for via in each() {
        let [old, new] = [&before, &after].map(|region| {
            let word = region.word(0);
            via.fx.key_info(word).expect("a key")
        });
        assert_eq!(old.key, new.key, "{:?}", via.resolver);
        assert_eq!(old.object, info_before.object, "{:?}", via.resolver);
        assert_ne!(old.object, new.object, "{:?}", via.resolver);
        assert_eq!([old.nr_waiters, new.nr_waiters], [1, 0]);
        assert_eq!(via.fx.wake_all(after.word(0)), Ok(0), "{:?}", via.resolver);
    }
    let other = Waiter::start(after.word(0), 0);
    assert_eq!(fx().wake_all(before.word(0)), Ok(1));
    waiter.woken();
    assert!(!other.is_finished());
    assert_eq!(fx().wake_all(after.word(0)), Ok(1));
    other.woken();

    // With futex(2) it is the same.
    let theirs = Service::Theirs.sleeper(before.word(0), 0);
    assert_eq!(Service::Theirs.wake(after.word(0), 1), Ok(0));
    assert_eq!(Service::Theirs.wake(before.word(0), 1), Ok(1));
    theirs.woken();
}

/// When all mappings are of the copy, they meet again.
fn met_again() {
    let overlay = Overlay::new("file", PAGE);
    let path = overlay.path().join("file");
    let before = reader(&path);
    let object = info(before.word(0)).object;
    drop(writer(&path));
    assert_eq!(info(before.word(0)).object, object, "that of the mapping");
    drop(before);
    let [writer, reader] = [writer(&path), reader(&path)];
    assert_ne!(info(reader.word(0)).object, object);
    assert_eq!(info(reader.word(0)).object, info(writer.word(0)).object);
    meet_by_all_calls(&each(), reader.word(0), writer.word(0));
    assert_eq!(nr_waiters(writer.word(0)), 0);
}
