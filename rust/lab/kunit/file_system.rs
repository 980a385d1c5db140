// SPDX-License-Identifier: GPL-2.0

//! File systems that the suites mount for themselves, and files in them.

use super::{
    read,
    until, //
};
use crate::{
    bindings as helpers,
    mm::{
        inode::Host,
        number::Number, //
    },
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    page::PAGE_SIZE,
    prelude::*,
    task::Task, //
};

/// A mounted file system that is visible to nobody else.
pub(crate) struct FileSystem {
    mount: NonNull<bindings::vfsmount>,
    kind: NonNull<bindings::file_system_type>,
    internal: bool,
}

impl FileSystem {
    /// Mounts a file system of the type `kind`, which must be built in, as mount(2) does.
    pub(crate) fn mount(kind: &'static CStr) -> Result<Self> {
        Self::new(kind, false)
    }

    /// Mounts a file system of the type `kind`, which must be built in, internally in the kernel.
    pub(crate) fn mount_internal(kind: &'static CStr) -> Result<Self> {
        Self::new(kind, true)
    }

    fn new(name: &'static CStr, internal: bool) -> Result<Self> {
        // SAFETY: `name` is a C string. The function takes a reference on the module of the file
        // system, but there is no module, because the file system is built in.
        let kind = NonNull::new(unsafe { bindings::get_fs_type(name.as_char_ptr()) });
        let kind = kind.ok_or(ENODEV)?;
        // SAFETY: The file system is built in, so that `kind` is always valid. `name` is a C
        // string, and the options may be null.
        let mount = from_err_ptr(unsafe {
            if internal {
                bindings::kern_mount(kind.as_ptr())
            } else {
                let no_options = core::ptr::null_mut();
                bindings::vfs_kern_mount(kind.as_ptr(), 0, name.as_char_ptr(), no_options)
            }
        })?;
        Ok(Self {
            mount: NonNull::new(mount).ok_or(EINVAL)?,
            kind,
            internal,
        })
    }

    fn path(&self) -> bindings::path {
        bindings::path {
            mnt: self.mount.as_ptr(),
            // SAFETY: The mount is valid for as long as `self` exists, and its root never changes.
            dentry: unsafe { self.mount.as_ref() }.mnt_root,
        }
    }

    /// Makes a file without a name. Its size is the given number of `pages`, none of which is in
    /// memory yet.
    pub(crate) fn file(&self, pages: usize) -> Result<TestFile> {
        let flags = (bindings::O_RDWR | bindings::O_LARGEFILE) as i32;
        // SAFETY: The path is valid, because `self` has the mount. The current task is valid, and
        // so are its credentials, which only the task itself changes.
        let file = from_err_ptr(unsafe {
            bindings::kernel_tmpfile_open(
                &raw mut bindings::nop_mnt_idmap,
                &self.path(),
                (bindings::S_IFREG | 0o600) as u16,
                flags,
                (*Task::current_raw()).cred,
            )
        })?;
        let file = TestFile(NonNull::new(file).ok_or(EINVAL)?);
        file.resize(pages)?;
        Ok(file)
    }

    /// The number of inodes in the file system, including that of the root directory.
    pub(crate) fn nr_inodes(&self) -> Result<usize> {
        // SAFETY: The mount is valid for as long as `self` exists.
        let nr = unsafe { helpers::rfutex_nr_inodes(self.mount.as_ptr()) };
        usize::try_from(nr).map_err(|_| EINVAL)
    }

    /// A [`Trace`] of the file system, which can be used even after the file system was unmounted.
    pub(crate) fn trace(&self) -> Trace {
        Trace {
            kind: self.kind,
            // SAFETY: The mount is valid for as long as `self` exists, and its superblock never
            // changes.
            superblock: unsafe { self.mount.as_ref() }.mnt_sb,
        }
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        // SAFETY: `self` owns the mount, which was made by the function that each of these belongs
        // to, and does not use it after this.
        unsafe {
            if self.internal {
                bindings::kern_unmount(self.mount.as_ptr());
            } else {
                bindings::mntput(self.mount.as_ptr());
            }
        }
    }
}

/// Tells whether a superblock still exists. The address of the superblock is only used for
/// comparing.
pub(crate) struct Trace {
    kind: NonNull<bindings::file_system_type>,
    superblock: *mut bindings::super_block,
}

impl Trace {
    /// The value of `s_active` of the superblock; `None` if the superblock does not exist any more.
    pub(crate) fn active(&self) -> Option<i32> {
        struct Search {
            superblock: *mut bindings::super_block,
            active: Option<i32>,
        }
        /// Looks at one superblock.
        ///
        /// # Safety
        ///
        /// `sb` must be valid, and `search` must point to a `Search` that nobody else uses.
        unsafe extern "C" fn look(sb: *mut bindings::super_block, search: *mut c_void) {
            // SAFETY: By the function's requirements, the pointer is to a `Search` that nobody else
            // uses.
            let search = unsafe { &mut *search.cast::<Search>() };
            if sb == search.superblock {
                // SAFETY: By the function's requirements, the superblock is valid, and so is the
                // counter in it.
                search.active = Some(unsafe { read(&raw const (*sb).s_active) });
            }
        }
        let mut search = Search {
            superblock: self.superblock,
            active: None,
        };
        // SAFETY: The file system is built in, so that the type is always valid. The function calls
        // `look` with valid superblocks and with the pointer to `search`, which is a `Search` that
        // exists until the call returns, and is not used otherwise.
        unsafe {
            let search = (&raw mut search).cast();
            bindings::iterate_supers_type(self.kind.as_ptr(), Some(look), search);
        }
        search.active
    }

    /// Waits until [`Self::active`] returns `active`. This is needed because a kernel thread puts
    /// its last reference on a mount with a delay.
    ///
    /// # Errors
    ///
    /// As [`until`].
    pub(crate) fn wait_for(&self, active: Option<i32>) -> Result {
        until(|| self.active() == active)
    }
}

/// An open file without a name. When it is dropped, it is closed at once.
pub(crate) struct TestFile(NonNull<bindings::file>);

impl TestFile {
    pub(super) fn as_raw(&self) -> *mut bindings::file {
        self.0.as_ptr()
    }

    /// The inode of the file, without a reference on it.
    pub(crate) fn inode(&self) -> NonNull<bindings::inode> {
        // SAFETY: `self` has a reference on the open file, so the file is valid, and its inode is
        // not null.
        unsafe { NonNull::new_unchecked((*self.as_raw()).f_inode) }
    }

    /// The number that stands for the inode of the file.
    pub(crate) fn number(&self) -> Number {
        // SAFETY: `self` has a reference on the open file, which keeps the inode during this call.
        unsafe { Host::from_raw(self.inode()) }.number_or_give()
    }

    /// Changes the magic number of the file system, so that it looks like one of another type.
    pub(crate) fn set_magic(&self, magic: usize) {
        // SAFETY: `self` has a reference on the open file, which keeps the inode and its
        // superblock. The file system is that of the test, so nobody else accesses its magic number
        // now.
        unsafe { (*(*self.inode().as_ptr()).i_sb).s_magic = magic };
    }

    /// Sets the size of the file to the given number of `pages`. Pages beyond that are removed from
    /// it.
    pub(crate) fn resize(&self, pages: usize) -> Result {
        // SAFETY: `self` has a reference on the open file, so the file is valid, and so is its
        // path.
        to_result(unsafe {
            let path = &raw const (*self.as_raw()).__bindgen_anon_1.f_path;
            bindings::vfs_truncate(path, (pages * PAGE_SIZE) as i64)
        })
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        // SAFETY: `self` owns the reference on the file, and does not use it after this. The task
        // is a kernel thread, which is what the function requires.
        unsafe { bindings::__fput_sync(self.as_raw()) };
    }
}
