// SPDX-License-Identifier: GPL-2.0

//! References on an inode and its superblock, taken without a lock.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use crate::{
    bindings as helpers,
    lab,
    mm::task, //
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

/// An inode that was seen behind a page, without a reference.
///
/// # Invariants
///
/// Valid memory for `'rcu`: it is freed only after the RCU section. It may be on its way out.
#[derive(Clone, Copy)]
pub(crate) struct Host<'rcu> {
    inode: NonNull<bindings::inode>,
    _rcu: PhantomData<&'rcu rcu::Guard>,
}

impl<'rcu> Host<'rcu> {
    /// # Safety
    ///
    /// `inode` must not be freed during `'rcu`.
    #[inline]
    pub(super) unsafe fn from_raw(inode: NonNull<bindings::inode>) -> Self {
        // INVARIANT: By the function's safety requirements.
        Self {
            inode,
            _rcu: PhantomData,
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
        // `call_rcu()` after its last inode is gone, so it is valid for `'rcu` as well.
        unsafe { (*self.inode.as_ptr()).i_sb }
    }

    /// Whether words of this file can be waited on: not those of a kernel-internal mount whose
    /// code might be unloaded while we hold the inode.
    #[inline]
    pub(crate) fn acceptable(self) -> bool {
        let sb = self.superblock();
        // SAFETY: `superblock()` is valid for `'rcu`. The bit never changes.
        let internal = unsafe { (*sb).s_flags } & helpers::RFUTEX_SB_KERNMOUNT != 0;
        // SAFETY: As above; the magic never changes.
        !internal || INTERNAL_MAGIC.contains(&unsafe { (*sb).s_magic as u64 })
    }

    /// Takes a reference on the superblock, then one on the inode.
    ///
    /// The superblock first, since an inode that is held past the end of its superblock is a bug
    /// (8019ad13ef7f): with both held, an umount leaves the file system running until we let go.
    ///
    /// # Errors
    ///
    /// One of them is on its way out. What comes back is to be dropped after the RCU section.
    #[inline]
    pub(crate) fn try_get(self) -> Result<InodeRef, Leftover> {
        let sb = self.superblock();
        // SAFETY: The superblock is valid for `'rcu`, and so for this call.
        if !unsafe { bindings::atomic_inc_not_zero(&raw mut (*sb).s_active) } {
            return Err(Leftover::Nothing);
        }
        // INVARIANT: We just took the reference.
        let superblock = ActiveRef(sb);
        // SAFETY: By the type invariants.
        if !unsafe { bindings::atomic_inc_not_zero(&raw mut (*self.inode.as_ptr()).i_count) } {
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
    fn drop(&mut self) {
        assert_may_release();
        // SAFETY: By the type invariants, the reference is ours to give back.
        unsafe { bindings::deactivate_super(self.0) };
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
    /// The inode's address: what identifies it for as long as this lives.
    pub(crate) fn addr(&self) -> usize {
        self.inode.as_ptr().addr()
    }

    /// Another pair of references, on the same inode and superblock. Takes no lock.
    pub(crate) fn again(&self) -> Self {
        // SAFETY: By the type invariants there is a reference already, so that another one is a
        // plain increment, of this count and of the next.
        unsafe { bindings::ihold(self.inode.as_ptr()) };
        // SAFETY: As above.
        unsafe { bindings::atomic_inc(&raw mut (*self.superblock.0).s_active) };
        // INVARIANT: We just took both references.
        Self {
            inode: self.inode,
            superblock: ActiveRef(self.superblock.0),
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
    #[inline]
    pub(crate) fn give_back(self, _rcu: &rcu::Guard) -> Leftover {
        // SAFETY: By the type invariants, the inode is valid, and the reference ours to give back.
        let given =
            unsafe { bindings::atomic_add_unless(&raw mut (*self.inode.as_ptr()).i_count, -1, 1) };
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
    fn drop(&mut self) {
        assert_may_release();
        // SAFETY: By the type invariants, the reference is ours to give back. The superblock's goes
        // after it, when the field is dropped.
        unsafe { bindings::iput(self.inode.as_ptr()) };
    }
}

/// References left over in an RCU section, to be dropped after it.
#[must_use = "must be kept until the RCU section is over"]
pub(crate) enum Leftover {
    /// None.
    Nothing,
    /// One on a superblock.
    Superblock(#[expect(dead_code, reason = "is there to be dropped")] ActiveRef),
    /// One on an inode, the last, and one on its superblock.
    Both(#[expect(dead_code, reason = "is there to be dropped")] InodeRef),
}

/// Complains, in debug builds, where references on inodes must not be given back.
#[inline]
fn assert_may_release() {
    // Sees spinlocks and RCU.
    might_sleep();
    // Sees mmap_lock and VMA locks as well, where lockdep is on.
    kernel::warn_on!(task::holds_a_lock());
    lab::assert_no_page_ref();
}
