// SPDX-License-Identifier: GPL-2.0

//! References on an inode and its superblock, taken without a lock.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
mod tests;

use crate::{
    bindings as helpers,
    lab,
    mm::{
        arch,
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
    sync::rcu,
    task::might_sleep, //
};

/// Superblocks of kernel-internal mounts whose inodes we refer to: those of code that is always
/// built in. Another one's code may be a module, which no reference on a superblock keeps loaded.
const INTERNAL_MAGIC: [u64; 4] = [
    bindings::TMPFS_MAGIC as u64,
    bindings::HUGETLBFS_MAGIC as u64,
    bindings::BDEVFS_MAGIC as u64,
    // fs/aio.c: AIO_RING_MAGIC
    0xa10a_10a1,
];

/// An inode that hosts the pages of a file, without a reference of its own.
///
/// # Invariants
///
/// Valid memory for `'a`: of an RCU section, if the inode was seen behind a page, or in what is
/// mapped without a lock; it may then be on its way out. Or somebody else holds it meanwhile.
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
    pub(super) unsafe fn from_raw(inode: NonNull<bindings::inode>) -> Self {
        // INVARIANT: By the function's safety requirements.
        Self {
            inode,
            _guard: PhantomData,
        }
    }

    /// Its address: what identifies it while somebody holds a reference.
    #[inline]
    pub(crate) fn addr(self) -> usize {
        self.inode.as_ptr().addr()
    }

    #[inline]
    fn superblock(self) -> *mut bindings::super_block {
        // SAFETY: By the type invariants. `i_sb` never changes, and a superblock is freed by
        // `call_rcu()` after its last inode is gone, so it is valid for `'a` as well.
        unsafe { (*self.inode.as_ptr()).i_sb }
    }

    /// Whether words of this file can be waited on: not those of a kernel-internal mount whose
    /// code might be unloaded while we hold the inode.
    #[inline]
    pub(crate) fn acceptable(self) -> bool {
        let sb = self.superblock();
        // SAFETY: `superblock()` is valid for `'a`. The bit never changes.
        let internal = unsafe { (*sb).s_flags } & helpers::RFUTEX_SB_KERNMOUNT != 0;
        !internal || self.built_in()
    }

    /// Whether the file system is one of [`INTERNAL_MAGIC`].
    #[inline]
    fn built_in(self) -> bool {
        #[cold]
        #[inline(never)]
        fn any(magic: u64) -> bool {
            INTERNAL_MAGIC.contains(&magic)
        }
        // SAFETY: `superblock()` is valid for `'a`. The magic never changes.
        let magic = unsafe { (*self.superblock()).s_magic as u64 };
        // Most shared memory is shmem's.
        magic == INTERNAL_MAGIC[0] || any(magic)
    }

    /// Whether a mapping of this file, as it is seen in a VMA, is one of pages of its own: of what
    /// is [`Self::acceptable`], regular files and block devices, whose inodes are the block layer's.
    /// Many device files share one inode, and map memory that is not the inode's.
    #[inline]
    pub(crate) fn mappable_by_users(self) -> bool {
        // SAFETY: By the type invariants. The type of a file never changes.
        let mode = u32::from(unsafe { (*self.inode.as_ptr()).i_mode }) & bindings::S_IFMT;
        if mode == bindings::S_IFREG {
            return self.acceptable();
        }
        // The page cache of a block device, and rings of aio. The inode of a char device is a
        // tmpfs's where the device is in one, as in devtmpfs.
        mode != bindings::S_IFCHR && self.built_in()
    }

    /// Takes a reference on the superblock and one on the inode, of which others have some.
    #[inline]
    pub(crate) fn get(self) -> InodeRef {
        let superblock = self.superblock();
        // SAFETY: Both are valid for `'a`, and have references already, so that another one is a
        // plain increment.
        unsafe {
            bindings::ihold(self.inode.as_ptr());
            bindings::atomic_inc(&raw mut (*superblock).s_active);
        }
        // INVARIANT: We just took both references.
        InodeRef {
            inode: self.inode,
            superblock: ActiveRef(superblock),
        }
    }

    /// Takes a reference on the superblock, then one on the inode.
    ///
    /// The superblock first, since an inode that is held past the end of its superblock is a bug
    /// (8019ad13ef7f): with both held, an umount leaves the file system running until we let go.
    ///
    /// # Errors
    ///
    /// One of them is on its way out. What comes back is to be dropped after the RCU section.
    #[inline(always)]
    pub(crate) fn try_get(self) -> Result<InodeRef, Leftover> {
        let sb = self.superblock();
        // SAFETY: The superblock is valid for `'a`, and so for this call.
        if !unsafe { arch::inc_not_zero(&raw mut (*sb).s_active) } {
            return Err(Leftover::Nothing);
        }
        // INVARIANT: We just took the reference.
        let superblock = ActiveRef(sb);
        // SAFETY: By the type invariants.
        if !unsafe { arch::inc_not_zero(&raw mut (*self.inode.as_ptr()).i_count) } {
            return Err(Leftover::Superblock(superblock));
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
    /// As `deactivate_super()`, which is only called for the last one.
    #[inline]
    fn drop(&mut self) {
        assert_may_release();
        // SAFETY: By the type invariants, the superblock is valid, and the reference is ours to
        // give back.
        if !unsafe { arch::dec_unless_last(&raw mut (*self.0).s_active) } {
            // SAFETY: As above.
            unsafe { bindings::deactivate_super(self.0) };
        }
    }
}

/// A reference on an inode, and one on its superblock.
///
/// Dropping it may be the last `iput()` of an unlinked file and the end of an unmounted file
/// system. It may sleep, and must happen under no lock at all, in no RCU section, and while no
/// reference on a folio of the file is held. Debug builds shout.
///
/// # Invariants
///
/// We own a reference on the inode.
pub(crate) struct InodeRef {
    inode: NonNull<bindings::inode>,
    superblock: ActiveRef,
}

// SAFETY: References on inodes and superblocks are not bound to a task.
unsafe impl Send for InodeRef {}

impl InodeRef {
    /// The inode, for as long as this lives.
    pub(crate) fn host(&self) -> Host<'_> {
        // SAFETY: Our reference keeps the inode.
        unsafe { Host::from_raw(self.inode) }
    }

    /// Whether both inodes are on one superblock.
    pub(crate) fn is_on_superblock_of(&self, other: &Self) -> bool {
        self.superblock.0 == other.superblock.0
    }

    /// Another pair of references, on the same inode and superblock. Takes no lock.
    pub(crate) fn again(&self) -> Self {
        self.host().get()
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
        // SAFETY: The reference is `other`'s to give back, and not the last.
        unsafe { bindings::iput_not_last(other.inode.as_ptr()) };
        // SAFETY: As above.
        unsafe { bindings::atomic_dec(&raw mut (*superblock).s_active) };
        Ok(())
    }

    /// Gives the references back inside an RCU section, as far as that goes.
    ///
    /// For an inode that turned out to be the wrong one. It may be in the middle of being recycled
    /// in place (XFS), and a plain `iput()` on such a one is a bug; so the count goes down by
    /// itself, unless ours is the last.
    #[cold]
    #[inline(never)]
    pub(crate) fn give_back(self, _rcu: &rcu::Guard) -> Leftover {
        // SAFETY: By the type invariants, the inode is valid, and the reference ours to give back.
        let given = unsafe { arch::dec_unless_last(&raw mut (*self.inode.as_ptr()).i_count) };
        if !given {
            return Leftover::Both(self);
        }
        let this = ManuallyDrop::new(self);
        // INVARIANT: The reference on the superblock moves; the one on the inode is given back, and
        // `this` is never dropped.
        Leftover::Superblock(ActiveRef(this.superblock.0))
    }
}

impl Drop for InodeRef {
    /// As `iput()`, which is called for the last one, and where it makes sure of more. The
    /// superblock's reference goes after it, when the field is dropped.
    #[inline]
    fn drop(&mut self) {
        assert_may_release();
        let inode = self.inode.as_ptr();
        // SAFETY: By the type invariants, the inode is valid, and the reference ours to give back.
        let given =
            !cfg!(CONFIG_DEBUG_VFS) && unsafe { arch::dec_unless_last(&raw mut (*inode).i_count) };
        if !given {
            // SAFETY: As above.
            unsafe { bindings::iput(inode) };
        }
    }
}

/// References left over in an RCU section, to be dropped after it.
#[must_use = "must be kept until the RCU section is over"]
#[derive(Default)]
pub(crate) enum Leftover {
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
