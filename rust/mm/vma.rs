// SPDX-License-Identifier: GPL-2.0

//! The file that a VMA maps, as its user knows it.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use crate::bindings as helpers;
use kernel::{
    bindings,
    mm::MmWithUser, //
};

/// A file as `/proc/self/maps` shows it.
pub(crate) struct UserFile {
    /// The address of the inode that hosts the file's pages.
    pub(crate) host: usize,
    /// Device number, major and minor.
    pub(crate) device: (u32, u32),
    /// Inode number.
    pub(crate) ino: u64,
}

/// The file mapped at `addr`; `None` where none is.
///
/// On a stacked file system (overlayfs) the pages belong to the inode below, but the device and
/// the number are those of the file that was opened: no more than the user knows already.
///
/// # Context
///
/// Takes and releases mmap_lock: may sleep.
pub(crate) fn file_at(mm: &MmWithUser, addr: usize) -> Option<UserFile> {
    let guard = mm.mmap_read_lock();
    let vma = guard.vma_lookup(addr)?;
    // SAFETY: mmap_lock keeps the VMA and its file as they are.
    let file = unsafe { (*vma.as_ptr()).vm_file };
    if file.is_null() {
        return None;
    }
    // SAFETY: A file keeps its mapping, and a mapping of an open file its host.
    let host = unsafe { (*(*file).f_mapping).host };
    // SAFETY: A file keeps its inode, and an inode its superblock.
    let (dev, ino) = unsafe {
        let inode: *const bindings::inode = helpers::rfutex_file_user_inode(file);
        ((*(*inode).i_sb).s_dev, (*inode).i_ino)
    };
    Some(UserFile {
        host: host.addr(),
        device: (
            dev >> bindings::MINORBITS,
            dev & ((1 << bindings::MINORBITS) - 1),
        ),
        ino,
    })
}
