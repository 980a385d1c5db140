// SPDX-License-Identifier: GPL-2.0
//! Files that have something special: a block device, an AIO ring, overlayfs, a private mapping
//! before and after its copy.

use super::each::key_of;
use crate::harness::{Feature, PAGE, Waiter, fx};
use crate::memory::{
    AioRing, Disk, LoopDevice, Mount, Overlay, Region, RegionWord, file_in, folio_of, mapping_of,
    rw,
};
use nix::sys::mman::{MapFlags, ProtFlags};
use rfutex::{Key, Word};
use std::fs::File;
use std::os::unix::fs::FileExt;

trials![
    large_folios_ext4,
    large_folios_xfs,
    block_device,
    aio_ring,
    overlay,
    copy_of_private_page,
    zero_page_becomes_a_page,
    read_only_waiter_writer_wakes,
    far_apart,
];

/// `word` and `again` are the same word, and a waiter on the first meets a wake on the second.
#[track_caller]
fn same(word: Word<'static>, again: Word<'static>) {
    assert_eq!(key_of(word), key_of(again));
    let waiter = Waiter::start(word, word.load().into());
    assert_eq!(fx().wake_all(again), Ok(1));
    waiter.woken();
}

/// A file that was written at once lies on folios of many sizes, if the kernel can have huge pages.
fn large_folios(fstype: &'static str) {
    Feature::Thp.need();
    const LEN: usize = 256 << 10;
    let disk = Disk::new(fstype);
    let file = file_in(disk.path(), "file", LEN);
    file.write_all_at(&vec![0; LEN], 0).expect("a write");
    let region = Region::shared(&file, 0, LEN);
    let again = Region::shared(&file, 0, LEN);
    region.read();
    let words: Vec<_> = (0..LEN).step_by(PAGE).map(|at| region.word(at)).collect();
    let (tails, heads) = words
        .iter()
        .copied()
        .partition::<Vec<_>, _>(|&word| folio_of(word).index != 0);
    assert!(!tails.is_empty(), "large folios");

    for (page, &word) in words.iter().enumerate() {
        let key = key_of(word);
        assert!(
            matches!(key, Key::Inode { index, offset: 0, .. } if index == page as u64),
            "{key:?}"
        );
    }
    let (head, tail) = (heads[0], tails[tails.len() / 2]);
    let waiter = Waiter::start(tail, 0);
    assert_eq!(fx().wake_all(head), Ok(0));
    let at = tail.addr() as usize - region.base();
    assert_eq!(fx().wake_all(region.word(at - PAGE)), Ok(0));
    assert_eq!(fx().wake_all(again.word(at)), Ok(1));
    waiter.woken();
}

fn large_folios_ext4() {
    large_folios("ext4");
}

fn large_folios_xfs() {
    large_folios("xfs");
}

/// The pages of a block device belong to an inode that no path leads to.
fn block_device() {
    let backing = tempfile::tempfile().expect("a file");
    backing.set_len(1 << 20).expect("the length of a file");
    let device = LoopDevice::new(&backing);
    let file = File::options()
        .read(true)
        .write(true)
        .open(device.path())
        .expect("the device");
    let whole = Region::shared(&file, 0, 4 * PAGE);
    let part = Region::shared(&file, 2 * PAGE, PAGE);
    let key = key_of(whole.word(2 * PAGE + 8));
    assert!(
        matches!(
            key,
            Key::Inode {
                index: 2,
                offset: 8,
                ..
            }
        ),
        "{key:?}"
    );
    same(whole.word(2 * PAGE + 8), part.word(8));
}

/// A file of a file system that only the kernel mounts, and that is built in.
fn aio_ring() {
    let (ring, other) = (AioRing::new(), AioRing::new());
    let key = key_of(ring.word());
    assert!(
        matches!(
            key,
            Key::Inode {
                index: 0,
                offset: 0,
                ..
            }
        ),
        "{key:?}"
    );
    assert_ne!(key, key_of(other.word()));
    same(ring.word(), ring.word());
}

/// The user sees the inode of the overlay, as in maps, whatever layer has the pages.
fn overlay() {
    let overlay = Overlay::new("below", PAGE);
    drop(file_in(overlay.path(), "above", PAGE));

    for name in ["above", "below"] {
        // What is read-only stays in the lower layer.
        let file = File::open(overlay.path().join(name)).expect("a file");
        let [one, again] = [(); 2]
            .map(|()| Region::file(&file, 0, PAGE, ProtFlags::PROT_READ, MapFlags::MAP_SHARED));
        let map = mapping_of(one.word(0));
        let key = Key::Inode {
            dev: map.dev,
            ino: map.ino,
            index: 0,
            offset: 0,
        };
        same(one.word(0), again.word(0));
        assert_eq!(key_of(one.word(0)), key, "what maps says of {name}");
    }
}

/// A private mapping that is read-only has the file's pages, and so the file's words. With the
/// first write, the word becomes this process's own. A waiter stays where it was.
fn copy_of_private_page() {
    fn check(file: &File) {
        let shared = Region::shared(file, 0, PAGE);
        let private = Region::file(file, 0, PAGE, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE);
        let word = private.word(16);
        let of_file = key_of(shared.word(16));
        assert_eq!(key_of(word), of_file);
        let waiter = Waiter::start(word, 0);

        private.protect(rw());
        word.store(1);
        let own = Key::Mm {
            index: word.page(),
            offset: 16,
        };
        assert_eq!(key_of(word), own);
        assert_eq!(fx().wake_all(word), Ok(0));
        assert_eq!(key_of(shared.word(16)), of_file);
        assert_eq!(fx().wake_all(shared.word(16)), Ok(1));
        waiter.woken();
    }
    check(&file_in(Mount::tmpfs("").path(), "file", PAGE));
    for fstype in Disk::TYPES {
        check(&file_in(Disk::new(fstype).path(), "file", PAGE));
    }
}

/// Private memory that was never written has the zero page, or none; a key needs its own.
fn zero_page_becomes_a_page() {
    let region = Region::anonymous(3 * PAGE, rw(), MapFlags::MAP_PRIVATE);
    region.word(0).load();
    for at in [0, PAGE] {
        let waiter = Waiter::start(region.word(at), 0);
        assert!(matches!(key_of(region.word(at)), Key::Mm { .. }));
        assert_eq!(fx().wake_all(region.word(at)), Ok(1));
        waiter.woken();
    }
    // A wake as the first to touch it.
    assert_eq!(fx().wake_all(region.word(2 * PAGE)), Ok(0));
}

/// Who may only read can wait for who may write.
fn read_only_waiter_writer_wakes() {
    fn check(file: &File) {
        let reader = Region::file(file, 0, PAGE, ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
        let writer = Region::shared(file, 0, PAGE);
        let waiter = Waiter::start(reader.word(0), 0);
        writer.word(0).store(1);
        assert_eq!(fx().wake_all(writer.word(0)), Ok(1));
        waiter.woken();
        assert_eq!(reader.word(0).load(), 1);

        // And the reader can wake, as it can with futex(2).
        let waiter = Waiter::start(writer.word(0), 1);
        assert_eq!(fx().wake_all(reader.word(0)), Ok(1));
        waiter.woken();
    }
    check(&file_in(Mount::tmpfs("").path(), "file", PAGE));
    for fstype in Disk::TYPES {
        let disk = Disk::new(fstype);
        drop(file_in(disk.path(), "file", PAGE));
        // A descriptor that may not write is as good, for the reader.
        let path = disk.path().join("file");
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .expect("a file");
        check(&file);
        let reader = File::open(&path).expect("a file");
        let reader = Region::file(reader, 0, PAGE, ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
        same(reader.word(4), Region::shared(&file, 0, PAGE).word(4));
    }
}

/// Words of one file, 4 GiB and 16 TiB apart, are words of their own.
fn far_apart() {
    const OFFSETS: [usize; 3] = [0, 1 << 32, 1 << 44];
    let tmpfs = Mount::tmpfs("");
    let file = file_in(tmpfs.path(), "file", 0);
    file.set_len((OFFSETS[2] + PAGE) as u64).expect("set_len");
    let regions = OFFSETS.map(|offset| Region::shared(&file, offset, PAGE));
    let words = regions.each_ref().map(|region| region.word(0));
    for (nr, word) in words.into_iter().enumerate() {
        let key = key_of(word);
        let page = (OFFSETS[nr] / PAGE) as u64;
        assert!(
            matches!(key, Key::Inode { index, .. } if index == page),
            "{key:?}"
        );
        let waiter = Waiter::start(word, 0);
        for other in (0..words.len()).filter(|&other| other != nr) {
            assert_eq!(fx().wake_all(words[other]), Ok(0));
        }
        assert_eq!(fx().wake_all(word), Ok(1));
        waiter.woken();
    }
}
