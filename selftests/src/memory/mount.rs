// SPDX-License-Identifier: GPL-2.0
//! Mounted file systems.

use super::Region;
use crate::harness::{Feature, PAGE};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statvfs::statvfs;
use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Gives the calling thread, and what it starts from now on, mounts of its own: they end with it.
#[track_caller]
pub fn private_mounts() {
    thread_local! {
        static DONE: Cell<bool> = const { Cell::new(false) };
    }
    if DONE.replace(true) {
        return;
    }
    unshare(CloneFlags::CLONE_NEWNS).expect("unshare of the mount namespace");
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).expect("private mounts");
}

/// A mounted file system, unmounted on drop.
#[derive(Debug)]
pub struct Mount {
    path: PathBuf,
    mounted: bool,
    // Removed after the drop has unmounted.
    _directory: Option<TempDir>,
}

impl Mount {
    /// Mounts `source` of type `fstype` with the options `data` in a directory of its own, in the
    /// caller's own mount namespace.
    #[track_caller]
    pub fn new(source: &Path, fstype: &str, data: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut mount = Self::at(directory.path(), source, fstype, data);
        mount._directory = Some(directory);
        mount
    }

    /// Mounts a tmpfs with the options `data`. A test that asks for transparent huge pages there is
    /// skipped if the kernel has none.
    #[track_caller]
    pub fn tmpfs(data: &str) -> Self {
        if data.contains("huge=") && !data.contains("huge=never") {
            Feature::Thp.need();
        }
        Self::new(Path::new("none"), "tmpfs", data)
    }

    /// Mounts a file system that has no device at `path`, a directory.
    #[track_caller]
    pub fn over(path: &Path, fstype: &str, data: &str) -> Self {
        Self::at(path, Path::new("none"), fstype, data)
    }

    #[track_caller]
    fn at(path: &Path, source: &Path, fstype: &str, data: &str) -> Self {
        private_mounts();
        mount(
            Some(source),
            path,
            Some(fstype),
            MsFlags::empty(),
            Some(data),
        )
        .unwrap_or_else(|error| panic!("mount -t {fstype} -o {data}: {error}"));
        Self {
            path: path.to_owned(),
            mounted: true,
            _directory: None,
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unmounts it with umount2(2).
    pub fn umount(mut self, flags: MntFlags) -> nix::Result<()> {
        // After a failure the drop unmounts it lazily.
        umount2(self.path(), flags)?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted {
            umount2(self.path(), MntFlags::MNT_DETACH).expect("umount");
        }
    }
}

/// A new file of `len` bytes, all zero and a hole, called `name` in the directory `directory`.
#[track_caller]
pub fn file_in(directory: &Path, name: &str, len: usize) -> File {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(directory.join(name))
        .unwrap_or_else(|error| panic!("{}/{name}: {error}", directory.display()));
    file.set_len(len as u64).expect("the length of a file");
    file
}

/// Maps the one page of a new file called `name`.
#[track_caller]
pub fn map_new(directory: &Path, name: &str) -> Region {
    Region::shared(file_in(directory, name, PAGE), 0, PAGE)
}

/// Maps the one page of a file that has no name any more; it had `name`.
#[track_caller]
pub fn map_unlinked(directory: &Path, name: &str) -> Region {
    let region = map_new(directory, name);
    std::fs::remove_file(directory.join(name)).expect("unlink");
    region
}

/// How many inodes are in use in the file system at `path`.
#[track_caller]
pub fn inodes(path: &Path) -> u64 {
    let stat = statvfs(path).expect("statvfs");
    stat.files() - stat.files_free()
}
