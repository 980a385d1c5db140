// SPDX-License-Identifier: GPL-2.0
//! A file without a name, a descriptor or a mapping gives its space back.

use super::{check, first_page, huge_page};
use crate::harness::PAGE;
use crate::memory::{
    Disk, HUGE, HugePages, Mount, Region, SysV, file_in, huge_tmpfs, memfd, memfd_huge, rw,
};
use nix::sys::mman::MapFlags;
use nix::sys::statvfs::statvfs;
use std::path::Path;

trials![
    tmpfs,
    tmpfs_huge,
    hugetlbfs,
    ext4,
    xfs,
    memory_file,
    memory_file_huge,
    system_v,
    shared_anonymous,
];

/// How long the files on file systems are.
const LEN: usize = 64 * PAGE;

/// How many bytes are in use on the file system at `path`.
#[track_caller]
fn used(path: &Path) -> u64 {
    let stat = statvfs(path).expect("statvfs");
    (stat.blocks() - stat.blocks_free()) * stat.fragment_size()
}

/// A file of the file system at `path`, of which all pages are there.
#[track_caller]
fn on_file_system(path: &Path, len: usize) {
    let before = used(path);
    let region = Region::shared(file_in(path, "file", len), 0, len);
    region.touch();
    let with = used(path);
    assert!(with >= before + len as u64, "{before} bytes, then {with}");
    std::fs::remove_file(path.join("file")).expect("unlink");
    check(region, drop, || used(path) + len as u64 > with);
}

fn tmpfs() {
    on_file_system(Mount::tmpfs("").path(), LEN);
}

fn tmpfs_huge() {
    let (mount, file) = huge_tmpfs("other", HUGE);
    drop(file);
    on_file_system(mount.path(), HUGE);
}

fn hugetlbfs() {
    let pages = HugePages::new(1);
    let (mount, file) = pages.file("file", HUGE);
    let region = Region::shared(&file, 0, HUGE);
    let is_kept = huge_page(&region);
    std::fs::remove_file(mount.path().join("file")).expect("unlink");
    drop(file);
    check(region, drop, is_kept);
}

fn ext4() {
    on_file_system(Disk::new("ext4").path(), LEN);
}

fn xfs() {
    let disk = Disk::new("xfs");
    // Its inodes come in chunks: the first file makes one.
    drop(file_in(disk.path(), "first", PAGE));
    on_file_system(disk.path(), LEN);
}

fn memory_file() {
    let region = Region::shared(memfd(PAGE), 0, PAGE);
    let is_kept = first_page(&region);
    check(region, drop, is_kept);
}

fn memory_file_huge() {
    let _pages = HugePages::new(1);
    let region = Region::shared(memfd_huge(HUGE), 0, HUGE);
    let is_kept = huge_page(&region);
    check(region, drop, is_kept);
}

fn system_v() {
    let segment = SysV::new(PAGE);
    let region = segment.attach();
    let is_kept = first_page(&region);
    drop(segment);
    check(region, drop, is_kept);
}

fn shared_anonymous() {
    let region = Region::anonymous(PAGE, rw(), MapFlags::MAP_SHARED);
    let is_kept = first_page(&region);
    check(region, drop, is_kept);
}
