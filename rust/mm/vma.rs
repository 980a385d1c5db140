// SPDX-License-Identifier: GPL-2.0

//! What is mapped at an address: the file as the user knows it, and the file as a key needs it.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use crate::{
    bindings as helpers,
    lab::{
        self,
        Point, //
    },
    mm::{
        inode::Host,
        number::Number,
        task, //
    },
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    mm::{
        virt::flags,
        MmWithUser, //
    },
    page::PAGE_SHIFT,
    prelude::*,
    types::NotThreadSafe, //
};

/// A file as `/proc/self/maps` shows it.
pub(crate) struct UserFile {
    /// The [`Number`] of the inode that hosts the file's pages, if that inode has one.
    pub(crate) host: Option<Number>,
    /// The major and minor device number.
    pub(crate) device: (u32, u32),
    /// The inode number.
    pub(crate) ino: u64,
}

/// The file that is mapped at the address `addr` of the current process; `None` if no file is.
///
/// On a stacked file system, such as overlayfs, the pages belong to an inode of the lower file
/// system. But the device and inode numbers are those of the file that was opened, so that they
/// reveal nothing that the user does not know already.
///
/// # Errors
///
/// As [`MmapLock::take`].
///
/// # Context
///
/// Process context, no locks held. May sleep, and takes mmap_lock.
pub(crate) fn file_at(addr: usize) -> Result<Option<UserFile>> {
    file_under(&MmapLock::take()?, addr)
}

/// The file that is mapped at the address `addr` of the process that has `mm`; `None` if no file is.
/// See [`file_at`].
///
/// # Errors
///
/// `EINTR`: the task was killed while it waited.
///
/// # Context
///
/// Process context, no locks held. May sleep, and takes the mmap_lock of `mm`.
pub(crate) fn file_of(mm: &MmWithUser, addr: usize) -> Result<Option<UserFile>> {
    // SAFETY: The caller has a reference on the mm for longer than this function runs.
    let lock = unsafe { MmapLock::take_of(mm.as_raw()) }?;
    file_under(&lock, addr)
}

/// The file that is mapped at the address `addr` of the process whose lock is held.
fn file_under(lock: &MmapLock, addr: usize) -> Result<Option<UserFile>> {
    let Ok(area) = lock.area(addr) else {
        return Ok(None);
    };
    // SAFETY: The VMA is valid and does not change while mmap_lock is held.
    let file = unsafe { (*area.0.as_ptr()).vm_file };
    if file.is_null() {
        return Ok(None);
    }
    // SAFETY: The VMA has a reference on the file, and does not change while mmap_lock is held. The
    // mapping of an open file is valid, and so is the inode that hosts it.
    let host = NonNull::new(unsafe { (*(*file).f_mapping).host }).ok_or(EFAULT)?;
    // SAFETY: The VMA keeps the file, which keeps the inode that hosts it. Both remain until
    // mmap_lock is released at the end of this function, which is longer than `host` is used.
    let host = unsafe { Host::from_raw(host) };
    // SAFETY: The VMA has a reference on the file while mmap_lock is held. An open file has a
    // reference on its inode, and the superblock of an inode is valid for as long as the inode.
    let (dev, ino) = unsafe {
        let inode: *const bindings::inode = helpers::rfutex_file_user_inode(file);
        ((*(*inode).i_sb).s_dev, (*inode).i_ino)
    };
    Ok(Some(UserFile {
        host: host.number(),
        device: (
            dev >> bindings::MINORBITS,
            dev & ((1 << bindings::MINORBITS) - 1),
        ),
        ino,
    }))
}

/// The read lock of one VMA. It is released when this is dropped.
///
/// # Invariants
///
/// The lock is held on behalf of this object. The address that was given to [`Self::try_take`] lies
/// in the VMA.
pub(crate) struct VmaLock {
    vma: NonNull<bindings::vm_area_struct>,
    _nts: NotThreadSafe,
}

impl VmaLock {
    /// Locks the VMA at the address `addr` of the current process. Returns `None` if there is none,
    /// if somebody is about to change it, or if the kernel does not export the function to modules.
    ///
    /// # Context
    ///
    /// Process context. While the lock is held, the task must not wait for mmap_lock: a task that
    /// is going to change the VMA holds mmap_lock while it waits for this lock.
    #[inline(always)]
    pub(crate) fn try_take(addr: usize) -> Option<Self> {
        if lab::fault(Point::VmaLocked) {
            return None;
        }
        #[cfg(RFUTEX_VMA_LOCK)]
        let vma = {
            let mm = task::current_mm_raw();
            if mm.is_null() {
                return None;
            }
            // SAFETY: This is the current task's mm, on which the task has a reference. The
            // function enters an RCU read-side critical section itself.
            unsafe { bindings::lock_vma_under_rcu(mm, addr) }
        };
        #[cfg(not(RFUTEX_VMA_LOCK))]
        let vma = {
            let _ = addr;
            core::ptr::null_mut()
        };
        // INVARIANT: If the function returns a VMA, it has locked it for the caller, and has
        // checked that the address lies in it.
        NonNull::new(vma).map(|vma| Self {
            vma,
            _nts: NotThreadSafe,
        })
    }

    /// What is mapped by the VMA.
    #[inline(always)]
    pub(crate) fn area(&self) -> Area<'_> {
        // INVARIANT: While the lock is held, the VMA is not changed or freed. It keeps its file,
        // and an open file keeps the inode that hosts it.
        Area(self.vma, PhantomData)
    }
}

impl Drop for VmaLock {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the lock is held on behalf of this object, which does not
        // use the VMA after this. (If the kernel does not export the function, no such object
        // exists.)
        #[cfg(RFUTEX_VMA_LOCK)]
        unsafe {
            bindings::vma_end_read(self.vma.as_ptr())
        };
    }
}

/// The mmap_lock of a process, mostly the current one, taken for reading. It is released when this is
/// dropped.
///
/// # Invariants
///
/// `mm` is valid as long as this exists. Its lock is held on behalf of this object.
pub(crate) struct MmapLock {
    mm: *mut bindings::mm_struct,
    _nts: NotThreadSafe,
}

impl MmapLock {
    /// Takes the lock of the current process.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the task has no mm. `EINTR`: the task was killed while it waited.
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    pub(crate) fn take() -> Result<Self> {
        let mm = task::current_mm_raw();
        if mm.is_null() {
            return Err(EFAULT);
        }
        // SAFETY: This is the current task's mm, on which the task has a reference as long as it
        // runs.
        unsafe { Self::take_of(mm) }
    }

    /// Takes the lock of `mm`.
    ///
    /// # Errors
    ///
    /// `EINTR`: the task was killed while it waited.
    ///
    /// # Context
    ///
    /// As [`Self::take`].
    ///
    /// # Safety
    ///
    /// There must be a reference on the users of `mm` as long as the result exists.
    unsafe fn take_of(mm: *mut bindings::mm_struct) -> Result<Self> {
        // SAFETY: By the function's requirements, the mm is valid.
        to_result(unsafe { helpers::rfutex_mmap_read_lock_killable(mm) })?;
        // INVARIANT: The lock was just taken, for the new object.
        Ok(Self {
            mm,
            _nts: NotThreadSafe,
        })
    }

    /// The mm, for functions that must be called with its mmap_lock held.
    pub(super) fn mm(&self) -> *mut bindings::mm_struct {
        self.mm
    }

    /// What is mapped at the address `addr`.
    ///
    /// # Errors
    ///
    /// `EFAULT`: nothing is mapped there.
    pub(crate) fn area(&self, addr: usize) -> Result<Area<'_>> {
        // SAFETY: By the type invariants, mmap_lock is held, which is what the function requires.
        let vma = NonNull::new(unsafe { bindings::vma_lookup(self.mm, addr) }).ok_or(EFAULT)?;
        // INVARIANT: While mmap_lock is held, no VMA of the process is changed or freed. The VMA
        // keeps its file, and an open file keeps the inode that hosts it.
        Ok(Area(vma, PhantomData))
    }
}

impl Drop for MmapLock {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the lock is held on behalf of this object.
        unsafe { bindings::mmap_read_unlock(self.mm) };
    }
}

/// A VMA: a part of the address space in which one thing is mapped.
///
/// # Invariants
///
/// The VMA, its file, and the inode that hosts the file are valid memory for `'a`. If the area
/// comes from a lock, they do not change. If it comes from a speculation, they may be changed or
/// freed at any time, and the speculation notices that afterwards.
#[derive(Clone, Copy)]
pub(crate) struct Area<'a>(NonNull<bindings::vm_area_struct>, PhantomData<&'a ()>);

impl<'a> Area<'a> {
    /// Wraps a pointer to a VMA.
    ///
    /// # Safety
    ///
    /// The invariants of the type must hold for the lifetime that the caller chooses.
    #[inline(always)]
    pub(super) unsafe fn from_raw(vma: NonNull<bindings::vm_area_struct>) -> Self {
        // INVARIANT: The caller has chosen a lifetime for which the invariants hold, as it must.
        Self(vma, PhantomData)
    }

    /// For a shared mapping of a file, the inode that hosts the file, and the position in the file,
    /// in bytes, of the address `addr`, which must lie in the area. `None` if the memory is
    /// private.
    ///
    /// # Errors
    ///
    /// `EFAULT`: this is not memory that has keys, such as memory of a device, or a mapping of the
    /// kernel's own.
    #[inline(always)]
    pub(crate) fn shared_file(self, addr: usize) -> Result<Option<(Host<'a>, u64)>> {
        let vma = self.0.as_ptr();
        // SAFETY: By the type invariants, the VMA is valid memory. It may change at the same time,
        // hence the volatile reads.
        let (flags, file, has_ops, start, offset) = unsafe {
            (
                helpers::rfutex_vma_flags(vma),
                (&raw const (*vma).vm_file).read_volatile(),
                !(&raw const (*vma).vm_ops).read_volatile().is_null(),
                helpers::rfutex_vma_start(vma),
                (&raw const (*vma).vm_pgoff).read_volatile(),
            )
        };
        if flags & (flags::IO | flags::PFNMAP | flags::MIXEDMAP) != 0 {
            return Err(EFAULT);
        }
        if file.is_null() {
            // A VMA without a file but with operations is a mapping of the kernel's own, such as
            // the vdso. A VMA with neither is private anonymous memory.
            return if has_ops { Err(EFAULT) } else { Ok(None) };
        }
        if flags & flags::MAYSHARE == 0 {
            return Ok(None);
        }
        // SAFETY: By the type invariants, the file and the inode that hosts it are valid memory for
        // `'a`, and so is the mapping, which is a part of that inode. They may change at the same
        // time, hence the volatile reads.
        let host = unsafe {
            // The memory of the file may have been reused for a file that is just being opened, and
            // has no mapping yet.
            let mapping = NonNull::new((&raw const (*file).f_mapping).read_volatile());
            let mapping = mapping.ok_or(EFAULT)?.as_ptr();
            NonNull::new((&raw const (*mapping).host).read_volatile()).ok_or(EFAULT)?
        };
        // SAFETY: By the type invariants, the inode that hosts the file is valid memory for `'a`.
        let host = unsafe { Host::from_raw(host) };
        let position =
            ((offset as u64) << PAGE_SHIFT).wrapping_add(addr.wrapping_sub(start) as u64);
        Ok(Some((host, position)))
    }
}
