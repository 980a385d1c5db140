// SPDX-License-Identifier: GPL-2.0

//! What is mapped where: the file behind an address, as its user knows it or as a key needs it.
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
    mm::virt::flags,
    page::PAGE_SHIFT,
    prelude::*,
    types::NotThreadSafe, //
};

/// A file as `/proc/self/maps` shows it.
pub(crate) struct UserFile {
    /// The number of the inode that hosts the file's pages, if it has one.
    pub(crate) host: Option<Number>,
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
/// # Errors
///
/// As [`MmapLock::take`].
///
/// # Context
///
/// Process context, no locks held. May sleep: takes and releases mmap_lock.
pub(crate) fn file_at(addr: usize) -> Result<Option<UserFile>> {
    let lock = MmapLock::take()?;
    let Ok(area) = lock.area(addr) else {
        return Ok(None);
    };
    // SAFETY: mmap_lock keeps the VMA and its file as they are.
    let file = unsafe { (*area.0.as_ptr()).vm_file };
    if file.is_null() {
        return Ok(None);
    }
    // SAFETY: A file keeps its mapping, and a mapping of an open file its host.
    let host = NonNull::new(unsafe { (*(*file).f_mapping).host }).ok_or(EFAULT)?;
    // SAFETY: The lock keeps the file, which keeps the host.
    let host = unsafe { Host::from_raw(host) };
    // SAFETY: A file keeps its inode, and an inode its superblock.
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

/// The read lock of one VMA.
///
/// # Invariants
///
/// We hold it, and the address that was asked for lies in it.
pub(crate) struct VmaLock {
    vma: NonNull<bindings::vm_area_struct>,
    _nts: NotThreadSafe,
}

impl VmaLock {
    /// Locks the VMA at `addr` in the current process. `None`: there is none, or somebody is about to
    /// change it, or this kernel does not let modules do it.
    ///
    /// While it is held, mmap_lock must not be waited for: who changes the VMA has that, and waits
    /// for us.
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
            // SAFETY: It is the current task's mm, which it keeps.
            unsafe { bindings::lock_vma_under_rcu(mm, addr) }
        };
        #[cfg(not(RFUTEX_VMA_LOCK))]
        let vma = {
            let _ = addr;
            core::ptr::null_mut()
        };
        // INVARIANT: We have just locked it. The function looks that the address is there.
        NonNull::new(vma).map(|vma| Self {
            vma,
            _nts: NotThreadSafe,
        })
    }

    /// What is mapped there.
    #[inline(always)]
    pub(crate) fn area(&self) -> Area<'_> {
        // INVARIANT: The lock keeps the VMA.
        Area(self.vma, PhantomData)
    }
}

impl Drop for VmaLock {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: By the type invariants, we hold it. Without the `cfg`, there never is one.
        #[cfg(RFUTEX_VMA_LOCK)]
        unsafe {
            bindings::vma_end_read(self.vma.as_ptr())
        };
    }
}

/// mmap_lock of the current process, for reading.
///
/// # Invariants
///
/// We hold it.
pub(crate) struct MmapLock {
    mm: *mut bindings::mm_struct,
    _nts: NotThreadSafe,
}

impl MmapLock {
    /// Takes it.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the task has no address space. `EINTR`: it was killed while it waited.
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    pub(crate) fn take() -> Result<Self> {
        let mm = task::current_mm_raw();
        if mm.is_null() {
            return Err(EFAULT);
        }
        // SAFETY: It is the current task's mm, which it keeps.
        to_result(unsafe { helpers::rfutex_mmap_read_lock_killable(mm) })?;
        // INVARIANT: We have just taken it.
        Ok(Self {
            mm,
            _nts: NotThreadSafe,
        })
    }

    /// The mm, for functions that want its mmap_lock held.
    pub(super) fn mm(&self) -> *mut bindings::mm_struct {
        self.mm
    }

    /// What is mapped at `addr`.
    ///
    /// # Errors
    ///
    /// `EFAULT`: nothing.
    pub(crate) fn area(&self, addr: usize) -> Result<Area<'_>> {
        // SAFETY: We hold mmap_lock.
        let vma = NonNull::new(unsafe { bindings::vma_lookup(self.mm, addr) }).ok_or(EFAULT)?;
        // INVARIANT: The lock keeps all VMAs.
        Ok(Area(vma, PhantomData))
    }
}

impl Drop for MmapLock {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, we hold it.
        unsafe { bindings::mmap_read_unlock(self.mm) };
    }
}

/// A part of the address space where one thing is mapped.
///
/// # Invariants
///
/// The VMA's memory is valid for `'a`, and that of its file, and of the inode that hosts the file. With
/// a lock, all of them stay what they are; without, they may change or end at any time, and what was
/// read is to be forgotten then.
#[derive(Clone, Copy)]
pub(crate) struct Area<'a>(NonNull<bindings::vm_area_struct>, PhantomData<&'a ()>);

impl<'a> Area<'a> {
    /// # Safety
    ///
    /// The type's invariants must hold for the lifetime that the caller chooses.
    #[inline(always)]
    pub(super) unsafe fn from_raw(vma: NonNull<bindings::vm_area_struct>) -> Self {
        // INVARIANT: By the function's safety requirements.
        Self(vma, PhantomData)
    }

    /// The file of a shared mapping: which inode hosts it, and which of its bytes is at `addr`.
    /// `None` if it is private memory.
    ///
    /// # Errors
    ///
    /// `EFAULT`: it is not memory that anybody could meet on.
    #[inline(always)]
    pub(crate) fn shared_file(self, addr: usize) -> Result<Option<(Host<'a>, u64)>> {
        let vma = self.0.as_ptr();
        // SAFETY: By the type invariants, the VMA is valid. It may change meanwhile, hence the
        // volatile reads.
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
            // Of the kernel's own mappings, as the vdso; else private anonymous memory.
            return if has_ops { Err(EFAULT) } else { Ok(None) };
        }
        if flags & flags::MAYSHARE == 0 {
            return Ok(None);
        }
        // SAFETY: The VMA keeps its file, a file its mapping, and a mapping of an open file its
        // host; or by the type invariants, the memory of each is valid for as long as this lives.
        let host = unsafe {
            // A file that is being opened anew has none.
            let mapping = NonNull::new((&raw const (*file).f_mapping).read_volatile());
            let mapping = mapping.ok_or(EFAULT)?.as_ptr();
            NonNull::new((&raw const (*mapping).host).read_volatile()).ok_or(EFAULT)?
        };
        // SAFETY: By the same argument, the inode is valid for `'a`.
        let host = unsafe { Host::from_raw(host) };
        let position =
            ((offset as u64) << PAGE_SHIFT).wrapping_add(addr.wrapping_sub(start) as u64);
        Ok(Some((host, position)))
    }
}
