// SPDX-License-Identifier: GPL-2.0

//! Inodes that are found without a lock: their numbers, and references on them and on their
//! superblocks.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
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

/// Superblocks of kernel-internal mounts on whose inodes we take references: those of code that is
/// always built in. Another one's code may be a module, which no reference on a superblock keeps
/// loaded. Without CONFIG_SHMEM, what is shared memory lies on a ramfs.
const BUILT_IN_MAGIC: [u64; 5] = [
    bindings::TMPFS_MAGIC as u64,
    bindings::HUGETLBFS_MAGIC as u64,
    bindings::BDEVFS_MAGIC as u64,
    bindings::RAMFS_MAGIC as u64,
    // fs/aio.c: AIO_RING_MAGIC
    0xa10a_10a1,
];

/// An inode that hosts the pages of a file, without a reference of its own.
///
/// # Invariants
///
/// The inode is valid memory for `'a`: the lifetime of an RCU section in which it was seen behind a
/// page, or in what is mapped without a lock (it may then be on its way out); or of something that
/// keeps the inode meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Host<'a> {
    inode: NonNull<bindings::inode>,
    _guard: PhantomData<&'a ()>,
}

impl Host<'_> {
    /// # Safety
    ///
    /// `inode` must not be freed during the lifetime that the caller chooses.
    #[inline]
    pub(crate) unsafe fn from_raw(inode: NonNull<bindings::inode>) -> Self {
        // INVARIANT: By the function's safety requirements.
        Self {
            inode,
            _guard: PhantomData,
        }
    }

    /// The address of the inode.
    #[cfg(CONFIG_KUNIT)]
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn addr(self) -> usize {
        self.inode.as_ptr().addr()
    }

    #[inline]
    fn sequence(&self) -> &Atomic<i64> {
        // SAFETY: By the type invariants, the inode is valid memory. The field is only ever accessed
        // atomically, and an `atomic64_t` is one `i64`.
        unsafe { Atomic::from_ptr((&raw mut (*self.inode.as_ptr()).i_sequence).cast::<i64>()) }
    }

    /// The number of the inode; `None` if it has none yet.
    #[inline]
    pub(crate) fn number(self) -> Option<Number> {
        Number::read(self.sequence())
    }

    /// The number of the inode, which gets one if it has none yet.
    ///
    /// To be called only where the inode was one when the caller began to look, as behind a page in
    /// an RCU section. If it is recycled in the meantime, what gets the number is the new inode, and
    /// the number is as good as any other for it.
    #[inline]
    pub(crate) fn number_or_give(self) -> Number {
        Number::read_or_give(self.sequence())
    }

    #[inline]
    fn superblock(self) -> *mut bindings::super_block {
        // SAFETY: By the type invariants. `i_sb` never changes, and a superblock is freed by
        // `call_rcu()` after its last inode is gone, so it is valid for `'a` as well.
        unsafe { (*self.inode.as_ptr()).i_sb }
    }

    /// Whether references on the inode may be taken: not on those of a kernel-internal mount whose
    /// code might be unloaded while we hold them.
    #[inline]
    pub(crate) fn can_be_held(self) -> bool {
        let sb = self.superblock();
        // SAFETY: `superblock()` is valid for `'a`. The bit never changes.
        let internal = unsafe { (*sb).s_flags } & helpers::RFUTEX_SB_KERNMOUNT != 0;
        !internal || self.is_built_in()
    }

    /// Whether the code of the file system is always built in.
    #[inline]
    fn is_built_in(self) -> bool {
        // SAFETY: `superblock()` is valid for `'a`. The magic never changes.
        let magic = unsafe { (*self.superblock()).s_magic as u64 };
        BUILT_IN_MAGIC.contains(&magic)
    }

    /// Whether a mapping of this file, as it is seen in a VMA, is one of pages of its own: that is
    /// true of regular files, and of block devices, whose inodes are the block layer's. Many device
    /// files share one inode, and map memory that is not the inode's.
    #[inline]
    pub(crate) fn mappable_by_users(self) -> bool {
        // SAFETY: By the type invariants, the inode is valid memory. The type of a file never
        // changes.
        let mode = u32::from(unsafe { (*self.inode.as_ptr()).i_mode }) & bindings::S_IFMT;
        if mode == bindings::S_IFREG {
            return self.can_be_held();
        }
        // The page cache of a block device, and rings of aio. The inode of a char device is a
        // tmpfs's where the device is in one, as in devtmpfs.
        mode != bindings::S_IFCHR && self.is_built_in()
    }

    /// Takes a reference on the superblock, then one on the inode.
    ///
    /// The superblock comes first, since an inode that is held past the end of its superblock is a
    /// bug (8019ad13ef7f): with both held, an umount leaves the file system running until we let go.
    ///
    /// # Errors
    ///
    /// One of them is on its way out. What comes back is to be dropped after the RCU section.
    #[inline]
    pub(crate) fn try_get(self) -> Result<InodeRef, DeferredPut> {
        let sb = self.superblock();
        // SAFETY: The superblock is valid for `'a`, and so for this call.
        if !unsafe { bindings::atomic_inc_not_zero(&raw mut (*sb).s_active) } {
            return Err(DeferredPut::Nothing);
        }
        // INVARIANT: We just took the reference.
        let superblock = ActiveRef(sb);
        // SAFETY: By the type invariants, the inode is valid memory.
        if !unsafe { bindings::atomic_inc_not_zero(&raw mut (*self.inode.as_ptr()).i_count) } {
            return Err(DeferredPut::Superblock(superblock));
        }
        // INVARIANT: We just took the reference on the inode, and have one on its superblock.
        Ok(InodeRef {
            inode: self.inode,
            superblock,
        })
    }
}

/// A reference (`s_active`) on a superblock.
///
/// # Invariants
///
/// We own the reference.
pub(crate) struct ActiveRef(*mut bindings::super_block);

impl Drop for ActiveRef {
    #[inline]
    fn drop(&mut self) {
        assert_may_release();
        // SAFETY: By the type invariants, the superblock is valid, and the reference is ours to
        // give back.
        unsafe { bindings::deactivate_super(self.0) };
    }
}

/// A reference on an inode, and one on its superblock.
///
/// Dropping it may be the last `iput()` of an unlinked file and the end of an unmounted file
/// system. It may sleep, and must happen under no lock at all, in no RCU section, and while no
/// reference on a folio of the file is held. Debug builds complain where it does.
///
/// # Invariants
///
/// We own a reference on the inode, and `superblock` is the inode's.
pub(crate) struct InodeRef {
    inode: NonNull<bindings::inode>,
    superblock: ActiveRef,
}

// SAFETY: References on inodes and superblocks are not bound to a task.
unsafe impl Send for InodeRef {}

impl InodeRef {
    /// Another pair of references, on the same inode and superblock.
    ///
    /// # Context
    ///
    /// Any. Does not sleep.
    pub(crate) fn again(&self) -> Self {
        let superblock = self.superblock.0;
        // SAFETY: By the type invariants, `self` has a reference on either, so that neither is on
        // its way out, and another one is a plain increment.
        unsafe {
            bindings::ihold(self.inode.as_ptr());
            bindings::atomic_inc(&raw mut (*superblock).s_active);
        }
        // INVARIANT: We just took both references.
        Self {
            inode: self.inode,
            superblock: ActiveRef(superblock),
        }
    }

    /// Gives back `other`, which may happen under a lock: `self` is on the same inode, and so
    /// witnesses that `other` is the last reference of nothing.
    ///
    /// # Errors
    ///
    /// `other` is on another inode: it comes back.
    pub(crate) fn release_other(&self, other: Self) -> Result<(), Self> {
        if self.inode != other.inode {
            return Err(other);
        }
        let other = ManuallyDrop::new(other);
        let superblock = other.superblock.0;
        // SAFETY: The reference is `other`'s to give back, and `self` has another one, so that it is
        // not the last.
        unsafe { bindings::iput_not_last(other.inode.as_ptr()) };
        // SAFETY: The same is true of the superblock.
        unsafe { bindings::atomic_dec(&raw mut (*superblock).s_active) };
        Ok(())
    }

    /// Gives the references back inside an RCU section, as far as that is possible there.
    ///
    /// For an inode that turned out to be the wrong one. It may be in the middle of being recycled
    /// in place (XFS), and a plain `iput()` on such an inode is a bug; so the count goes down by
    /// itself, unless ours is the last.
    #[cold]
    #[inline(never)]
    pub(crate) fn give_back(self, _rcu: &rcu::Guard) -> DeferredPut {
        // SAFETY: By the type invariants, the inode is valid, and the reference ours to give back.
        let given =
            unsafe { bindings::atomic_add_unless(&raw mut (*self.inode.as_ptr()).i_count, -1, 1) };
        if !given {
            return DeferredPut::Both(self);
        }
        let this = ManuallyDrop::new(self);
        // INVARIANT: The reference on the superblock moves; the one on the inode is given back, and
        // `this` is never dropped.
        DeferredPut::Superblock(ActiveRef(this.superblock.0))
    }
}

impl Drop for InodeRef {
    /// The superblock's reference goes after the inode's, when the field is dropped.
    #[inline]
    fn drop(&mut self) {
        assert_may_release();
        // SAFETY: By the type invariants, the inode is valid, and the reference ours to give back.
        unsafe { bindings::iput(self.inode.as_ptr()) };
    }
}

/// References that were taken in an RCU section and turned out to be useless, to be dropped after
/// the section.
#[must_use = "must be kept until the RCU section is over"]
#[derive(Default)]
pub(crate) enum DeferredPut {
    /// None.
    #[default]
    Nothing,
    /// One on a superblock.
    Superblock(#[expect(dead_code, reason = "is there to be dropped")] ActiveRef),
    /// One on an inode, the last, and one on its superblock.
    Both(#[expect(dead_code, reason = "is there to be dropped")] InodeRef),
}

/// Complains, in debug builds, where references on inodes must not be given back.
#[inline]
pub(crate) fn assert_may_release() {
    // Sees spinlocks and RCU.
    if cfg!(CONFIG_DEBUG_ATOMIC_SLEEP) {
        might_sleep();
    }
    // Sees mmap_lock and VMA locks as well.
    kernel::warn_on!(task::holds_a_lock());
    lab::assert_no_page_ref();
}
