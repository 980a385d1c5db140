// SPDX-License-Identifier: GPL-2.0
//! File systems that are unmounted under a waiter, plainly and lazily: those of memory, and one that
//! lies over another.

use super::{check, first_page, huge_page};
use crate::memory::{Disk, HUGE, HugePages, Mount, Region, map_new};
use nix::mount::MntFlags;
use std::cell::RefCell;
use std::path::Path;

trials![
    tmpfs,
    tmpfs_lazy,
    hugetlbfs,
    hugetlbfs_lazy,
    overlay_on_ext4,
    overlay_on_ext4_lazy,
    overlay_on_xfs,
    overlay_on_xfs_lazy,
];

/// Unmounts what `region` is mapped from. Lazily, it is the mapping at first that keeps it.
fn umount(region: Region, flags: MntFlags, umount: impl FnOnce()) {
    if flags == MntFlags::MNT_DETACH {
        umount();
        drop(region);
    } else {
        drop(region);
        umount();
    }
}

fn of_tmpfs(flags: MntFlags) {
    let mount = Mount::tmpfs("");
    let region = map_new(mount.path(), "file");
    let is_kept = first_page(&region);
    let let_go = |region| umount(region, flags, || mount.umount(flags).expect("umount2"));
    check(region, let_go, is_kept);
}

fn tmpfs() {
    of_tmpfs(MntFlags::empty());
}

fn tmpfs_lazy() {
    of_tmpfs(MntFlags::MNT_DETACH);
}

fn of_hugetlbfs(flags: MntFlags) {
    let pages = HugePages::new(1);
    let (mount, file) = pages.file("file", HUGE);
    let region = Region::shared(&file, 0, HUGE);
    drop(file);
    let is_kept = huge_page(&region);
    let let_go = |region| umount(region, flags, || mount.umount(flags).expect("umount2"));
    check(region, let_go, is_kept);
}

fn hugetlbfs() {
    of_hugetlbfs(MntFlags::empty());
}

fn hugetlbfs_lazy() {
    of_hugetlbfs(MntFlags::MNT_DETACH);
}

/// The pages are those of the layer below, and so is the inode that a waiter may hold: the overlay
/// itself goes in any case.
fn of_overlay(fstype: &'static str, flags: MntFlags) {
    let disk = Disk::new(fstype);
    let layers = ["lower", "upper", "work"].map(|name| {
        let path = disk.path().join(name);
        std::fs::create_dir(&path).expect("a directory");
        path
    });
    let [lower, upper, work] = layers.each_ref().map(|path| path.display());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let overlay = Mount::new(Path::new("overlay"), "overlay", &options);
    let region = map_new(overlay.path(), "file");

    let disk = RefCell::new(disk);
    let let_go = |region| {
        umount(region, flags, || {
            overlay.umount(flags).expect("umount2");
            disk.borrow_mut().umount(flags);
        });
    };
    check(region, let_go, || disk.borrow().is_alive());
    disk.borrow().until_gone();
}

fn overlay_on_ext4() {
    of_overlay("ext4", MntFlags::empty());
}

fn overlay_on_ext4_lazy() {
    of_overlay("ext4", MntFlags::MNT_DETACH);
}

fn overlay_on_xfs() {
    of_overlay("xfs", MntFlags::empty());
}

fn overlay_on_xfs_lazy() {
    of_overlay("xfs", MntFlags::MNT_DETACH);
}
