// SPDX-License-Identifier: GPL-2.0

//! Inodes that are found without a lock, the numbers that stand for them, and references on them
//! and on their superblocks.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

#[cfg(RFUTEX_KUNIT)]
mod tests;

use crate::{
    bindings as helpers,
    lab,
    mm::{
        number::Number,
        task, //
    }, //
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::Atomic,
        rcu, //
    },
    task::might_sleep, //
};

/// The file systems on whose inodes references may be taken even if they are mounted internally by
/// the kernel. Their code is always built in.
///
/// The code of any other file system may be a module, and a reference on the superblock of an
/// internal mount does not keep that module loaded. Without CONFIG_SHMEM, shared memory is on a
/// ramfs.
const BUILT_IN_MAGIC: [u64; 5] = [
    helpers::TMPFS_MAGIC as u64,
    helpers::HUGETLBFS_MAGIC as u64,
    helpers::BDEVFS_MAGIC as u64,
    helpers::RAMFS_MAGIC as u64,
    // This is AIO_RING_MAGIC, which fs/aio.c keeps to itself.
    0xa10a_10a1,
];

/// An inode that hosts the pages of a file. This has no reference on the inode.
///
/// # Invariants
///
/// The inode is valid memory for `'a`. That is either the lifetime of the RCU read-side critical
/// section in which the inode was found, in which case it may be in the course of being destroyed;
/// or the lifetime of a lock or a reference that keeps the inode.
#[derive(Clone, Copy)]
pub(crate) struct Host<'a> {
    inode: NonNull<bindings::inode>,
    _guard: PhantomData<&'a ()>,
}

impl Host<'_> {
    /// Wraps a pointer to an inode.
    ///
    /// # Safety
    ///
    /// `inode` must not be freed during the lifetime that the caller chooses.
    #[inline]
    pub(crate) unsafe fn from_raw(inode: NonNull<bindings::inode>) -> Self {
        // INVARIANT: The inode is not freed during `'a`, which the caller has to ensure.
        Self {
            inode,
            _guard: PhantomData,
        }
    }

    /// The address of the inode.
    #[cfg(RFUTEX_KUNIT)]
    pub(crate) fn addr(self) -> usize {
        self.inode.as_ptr().addr()
    }

    /// The field that has the number of the inode.
    #[inline]
    fn sequence(&self) -> &Atomic<i64> {
        // SAFETY: By the type invariants, the inode is valid memory. The field is an `atomic64_t`,
        // which consists of one `i64` and is only ever accessed atomically.
        unsafe { Atomic::from_ptr((&raw mut (*self.inode.as_ptr()).i_sequence).cast::<i64>()) }
    }

    /// The number that stands for the inode; `None` if it has none yet.
    #[inline]
    pub(crate) fn number(self) -> Option<Number> {
        Number::read(self.sequence())
    }

    /// The number that stands for the inode. The inode is given one if it has none yet.
    ///
    /// The caller must know that the memory contained an inode when it was found, as it is the case
    /// if a page belonged to the inode's mapping in the same RCU read-side critical section. If the
    /// inode was recycled since, the new inode gets the number, for which it is as good as any
    /// other.
    #[inline]
    pub(crate) fn number_or_give(self) -> Number {
        Number::read_or_give(self.sequence())
    }

    /// The superblock of the inode, which is valid for as long as the inode.
    #[inline]
    fn superblock(self) -> *mut bindings::super_block {
        // SAFETY: By the type invariants, the inode is valid memory, and `i_sb` never changes. (A
        // superblock is freed by `call_rcu()` after its last inode is gone, so what this returns is
        // valid for `'a` too.)
        unsafe { (*self.inode.as_ptr()).i_sb }
    }

    /// Whether references on the inode may be taken. They must not be if the inode is on an
    /// internal mount of the kernel whose file system might be unloaded meanwhile.
    #[inline]
    pub(crate) fn can_be_held(self) -> bool {
        let sb = self.superblock();
        // SAFETY: What `superblock()` returns is valid for `'a`. This bit of the flags never
        // changes.
        let internal = unsafe { (*sb).s_flags } & helpers::RFUTEX_SB_KERNMOUNT != 0;
        !internal || self.is_built_in()
    }

    /// Whether the file system is one of those whose code is always built in.
    #[inline]
    fn is_built_in(self) -> bool {
        // SAFETY: What `superblock()` returns is valid for `'a`. The magic number never changes.
        let magic = unsafe { (*self.superblock()).s_magic as u64 };
        BUILT_IN_MAGIC.contains(&magic)
    }

    /// Whether what a VMA maps of this file is pages that belong to this inode, so that the inode
    /// and the position in it identify the memory.
    ///
    /// That is true of regular files, and of block devices, whose pages belong to an inode of the
    /// block layer. But many files of drivers share a single anonymous inode, and map memory that
    /// does not belong to it.
    #[inline]
    pub(crate) fn mappable_by_users(self) -> bool {
        // SAFETY: By the type invariants, the inode is valid memory. The type of a file never
        // changes.
        let mode = u32::from(unsafe { (*self.inode.as_ptr()).i_mode }) & bindings::S_IFMT;
        if mode == bindings::S_IFREG {
            return self.can_be_held();
        }
        // This accepts the page cache of block devices, and the rings of aio. Char devices have to
        // be excluded, because their inodes may be on a tmpfs too, as in devtmpfs.
        mode != bindings::S_IFCHR && self.is_built_in()
    }

    /// Takes a reference on the superblock, then one on the inode.
    ///
    /// The reference on the superblock is needed because an inode must not be held beyond the end
    /// of its superblock (8019ad13ef7f). With both references, a file system that is unmounted is
    /// shut down only when they are put.
    ///
    /// # Errors
    ///
    /// The superblock or the inode is being destroyed. The caller must drop the error after the RCU
    /// read-side critical section.
    ///
    /// # Context
    ///
    /// Any. Does not sleep.
    #[inline]
    pub(crate) fn try_get(self) -> Result<InodeRef, DeferredPut> {
        let sb = self.superblock();
        // SAFETY: What `superblock()` returns is valid for `'a`, and so for this call.
        if !unsafe { bindings::atomic_inc_not_zero(&raw mut (*sb).s_active) } {
            return Err(DeferredPut::Nothing);
        }
        // INVARIANT: The reference was just taken, and is owned by the new object.
        let superblock = ActiveRef(sb);
        // SAFETY: By the type invariants, the inode is valid memory.
        if !unsafe { bindings::atomic_inc_not_zero(&raw mut (*self.inode.as_ptr()).i_count) } {
            return Err(DeferredPut::Superblock(superblock));
        }
        // INVARIANT: The reference on the inode was just taken, and `superblock` is the inode's.
        Ok(InodeRef {
            inode: self.inode,
            superblock,
        })
    }
}

/// An active reference (`s_active`) on a superblock.
///
/// Dropping it may shut down the file system, and so may sleep.
///
/// # Invariants
///
/// This owns the reference.
pub(crate) struct ActiveRef(*mut bindings::super_block);

impl Drop for ActiveRef {
    #[inline]
    fn drop(&mut self) {
        assert_may_release();
        // SAFETY: By the type invariants, this object owns an active reference on the superblock,
        // so that the superblock is valid, and the reference may be put.
        unsafe { bindings::deactivate_super(self.0) };
    }
}

/// A reference on an inode, and an active one on its superblock.
///
/// Dropping it may be the last `iput()` of an unlinked file, and may shut down a file system that
/// was unmounted. So it may sleep, and must not happen with any lock held, in an RCU read-side
/// critical section, or while the task holds a reference on a folio. Debug builds warn if it does.
///
/// # Invariants
///
/// This owns a reference on the inode, and `superblock` is the inode's superblock.
pub(crate) struct InodeRef {
    inode: NonNull<bindings::inode>,
    superblock: ActiveRef,
}

// SAFETY: References on inodes and superblocks are plain counters. Any task may put them, not only
// the one that took them.
unsafe impl Send for InodeRef {}

impl InodeRef {
    /// Takes another pair of references on the same inode and superblock.
    ///
    /// # Context
    ///
    /// Any. Does not sleep.
    pub(crate) fn again(&self) -> Self {
        let superblock = self.superblock.0;
        // SAFETY: By the type invariants, `self` owns a reference on each of the two. So neither is
        // being destroyed, and more references may be taken by just incrementing the counters.
        unsafe {
            bindings::ihold(self.inode.as_ptr());
            bindings::atomic_inc(&raw mut (*superblock).s_active);
        }
        // INVARIANT: Both references were just taken, and are owned by the new object. The
        // superblock is that of the inode, because it is so in `self`.
        Self {
            inode: self.inode,
            superblock: ActiveRef(superblock),
        }
    }

    /// Puts the references of `other`, which must be on the same inode as those of `self`. Because
    /// `self` still has its references, those of `other` are not the last ones.
    ///
    /// # Errors
    ///
    /// `other` is on another inode. It is returned.
    ///
    /// # Context
    ///
    /// Any. Does not sleep.
    pub(crate) fn release_other(&self, other: Self) -> Result<(), Self> {
        if self.inode != other.inode {
            return Err(other);
        }
        let other = ManuallyDrop::new(other);
        let superblock = other.superblock.0;
        // SAFETY: `other` owns the reference, and is never dropped, so that it may be put here. It
        // is not the last one, because `self` owns another on the same inode.
        unsafe { bindings::iput_not_last(other.inode.as_ptr()) };
        // SAFETY: `other` owns the reference on the superblock, too, and `self` owns another on the
        // same superblock, because both have the superblock of the same inode.
        unsafe { bindings::atomic_dec(&raw mut (*superblock).s_active) };
        Ok(())
    }

    /// Puts the references in an RCU read-side critical section, as far as that is possible there.
    /// Returns those that are left, which the caller must drop after the critical section.
    ///
    /// This is for an inode that turned out to be the wrong one. A file system may be about to
    /// recycle it in place, as XFS does, and to call `iput()` on such an inode is a bug. So this
    /// function just decrements the counter, unless it is the last reference.
    ///
    /// # Context
    ///
    /// Any. Does not sleep.
    #[cold]
    #[inline(never)]
    pub(crate) fn give_back(self, _rcu: &rcu::Guard) -> DeferredPut {
        // SAFETY: By the type invariants, this object owns a reference on the inode. So the inode
        // is valid, and the counter may be decremented: where it is, the object is not dropped
        // below.
        let given =
            unsafe { bindings::atomic_add_unless(&raw mut (*self.inode.as_ptr()).i_count, -1, 1) };
        if !given {
            return DeferredPut::Both(self);
        }
        let this = ManuallyDrop::new(self);
        // INVARIANT: The new object owns the reference on the superblock, which is moved out of
        // `this`. `this` is never dropped, and its reference on the inode is already put.
        DeferredPut::Superblock(ActiveRef(this.superblock.0))
    }
}

impl Drop for InodeRef {
    /// The reference on the superblock is put after this, when the field is dropped.
    #[inline]
    fn drop(&mut self) {
        assert_may_release();
        // SAFETY: By the type invariants, this object owns a reference on the inode, so that the
        // inode is valid, and the reference may be put.
        unsafe { bindings::iput(self.inode.as_ptr()) };
    }
}

/// References that were taken in an RCU read-side critical section, are not needed, and have to be
/// put after that section.
#[must_use = "must be kept until the RCU section is over"]
#[derive(Default)]
pub(crate) enum DeferredPut {
    /// There are none.
    #[default]
    Nothing,
    /// There is one on a superblock.
    Superblock(#[expect(dead_code, reason = "is there to be dropped")] ActiveRef),
    /// There is one on an inode, which was the last one on it, and one on its superblock.
    Both(#[expect(dead_code, reason = "is there to be dropped")] InodeRef),
}

/// Warns, in debug builds, if references on inodes must not be put in the current context.
#[inline]
pub(crate) fn assert_may_release() {
    // This detects spinlocks and RCU read-side critical sections.
    if cfg!(CONFIG_DEBUG_ATOMIC_SLEEP) {
        might_sleep();
    }
    // This detects mmap_lock and VMA locks as well.
    kernel::warn_on!(task::holds_a_lock());
    lab::assert_no_page_ref();
}
