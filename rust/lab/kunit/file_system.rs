// SPDX-License-Identifier: GPL-2.0

//! File systems of the suites' own, and files in them.

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

/// A mounted file system that nobody else sees.
pub(crate) struct FileSystem {
    mount: NonNull<bindings::vfsmount>,
    kind: NonNull<bindings::file_system_type>,
    internal: bool,
}

impl FileSystem {
    /// Mounts one of that type, which must be built in, as a process would.
    pub(crate) fn mount(kind: &'static CStr) -> Result<Self> {
        Self::new(kind, false)
    }

    /// Mounts one as the kernel does for itself.
    pub(crate) fn mount_internal(kind: &'static CStr) -> Result<Self> {
        Self::new(kind, true)
    }

    fn new(name: &'static CStr, internal: bool) -> Result<Self> {
        // SAFETY: The name is a C string. What is built in needs no reference on a module.
        let kind = NonNull::new(unsafe { bindings::get_fs_type(name.as_char_ptr()) });
        let kind = kind.ok_or(ENODEV)?;
        // SAFETY: `kind` is valid, for ever.
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
            // SAFETY: The mount is valid for as long as `self`, and never changes.
            dentry: unsafe { self.mount.as_ref() }.mnt_root,
        }
    }

    /// A new file without a name, of so many pages, none of which is there yet.
    pub(crate) fn file(&self, pages: usize) -> Result<TestFile> {
        let flags = (bindings::O_RDWR | bindings::O_LARGEFILE) as i32;
        // SAFETY: The path is valid, and so are the current task's credentials.
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

    /// How many inodes it has, the root's included.
    pub(crate) fn nr_inodes(&self) -> Result<usize> {
        // SAFETY: The mount is valid.
        let nr = unsafe { helpers::rfutex_nr_inodes(self.mount.as_ptr()) };
        usize::try_from(nr).map_err(|_| EINVAL)
    }

    /// What tells whether the file system is still there when it is no longer mounted.
    pub(crate) fn trace(&self) -> Trace {
        Trace {
            kind: self.kind,
            // SAFETY: The mount is valid for as long as `self`.
            superblock: unsafe { self.mount.as_ref() }.mnt_sb,
        }
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        // SAFETY: The mount is ours.
        unsafe {
            if self.internal {
                bindings::kern_unmount(self.mount.as_ptr());
            } else {
                bindings::mntput(self.mount.as_ptr());
            }
        }
    }
}

/// The address of a superblock, only good for comparing.
pub(crate) struct Trace {
    kind: NonNull<bindings::file_system_type>,
    superblock: *mut bindings::super_block,
}

impl Trace {
    /// Its `s_active`, or `None` if it is gone.
    pub(crate) fn active(&self) -> Option<i32> {
        struct Search {
            superblock: *mut bindings::super_block,
            active: Option<i32>,
        }
        /// # Safety
        ///
        /// `sb` must be valid, and `search` a `Search`.
        unsafe extern "C" fn look(sb: *mut bindings::super_block, search: *mut c_void) {
            // SAFETY: By the function's requirements.
            let search = unsafe { &mut *search.cast::<Search>() };
            if sb == search.superblock {
                // SAFETY: As above.
                search.active = Some(unsafe { read(&raw const (*sb).s_active) });
            }
        }
        let mut search = Search {
            superblock: self.superblock,
            active: None,
        };
        // SAFETY: `search` outlives the call, and is what `look` takes it for.
        unsafe {
            let search = (&raw mut search).cast();
            bindings::iterate_supers_type(self.kind.as_ptr(), Some(look), search);
        }
        search.active
    }

    /// Waits until `s_active` is that, `None` standing for a superblock that is gone: a kernel
    /// thread's last reference on a mount is given back a little later.
    pub(crate) fn wait_for(&self, active: Option<i32>) -> Result {
        until(|| self.active() == active)
    }
}

/// An open file without a name. Dropping it closes it at once.
pub(crate) struct TestFile(NonNull<bindings::file>);

impl TestFile {
    pub(super) fn as_raw(&self) -> *mut bindings::file {
        self.0.as_ptr()
    }

    /// Its inode, without a reference.
    pub(crate) fn inode(&self) -> NonNull<bindings::inode> {
        // SAFETY: The file is open, so it has an inode.
        unsafe { NonNull::new_unchecked((*self.as_raw()).f_inode) }
    }

    /// The number of its inode.
    pub(crate) fn number(&self) -> Number {
        // SAFETY: The file is open, and so keeps its inode.
        unsafe { Host::from_raw(self.inode()) }.number_or_give()
    }

    /// Makes its file system another one, by its magic number.
    pub(crate) fn set_magic(&self, magic: usize) {
        // SAFETY: The file is open, so it has an inode, and that a superblock, which is ours.
        unsafe { (*(*self.inode().as_ptr()).i_sb).s_magic = magic };
    }

    /// Makes it so many pages long; what is behind that is cut off.
    pub(crate) fn resize(&self, pages: usize) -> Result {
        // SAFETY: The file is open, and so has a path.
        to_result(unsafe {
            let path = &raw const (*self.as_raw()).__bindgen_anon_1.f_path;
            bindings::vfs_truncate(path, (pages * PAGE_SIZE) as i64)
        })
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        // SAFETY: The reference is ours, and we are a kernel thread, which may do this.
        unsafe { bindings::__fput_sync(self.as_raw()) };
    }
}
