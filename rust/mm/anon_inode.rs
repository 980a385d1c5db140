// SPDX-License-Identifier: GPL-2.0

//! Files that have no name.
//!
//! C header: [`include/linux/anon_inodes.h`](srctree/include/linux/anon_inodes.h)

use core::ptr::NonNull;
use kernel::{
    bindings,
    error::from_err_ptr,
    fs::{
        file::FileDescriptorReservation,
        File, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions, //
    },
    prelude::*,
    sync::aref::ARef,
    types::ForeignOwnable, //
};

/// The file operations of a file that is not opened by a name, and whose private data is a `T::Ptr`.
/// What a misc device can do too is done by the kernel crate.
pub(crate) const fn operations<T: MiscDevice>() -> bindings::file_operations {
    // Nobody sees the name, because the device is not registered.
    let device = MiscDeviceOptions { name: c"rfutex" }.into_raw::<T>();
    // SAFETY: `into_raw` has set the pointer to file operations that are static.
    let fops = unsafe { *device.fops };
    bindings::file_operations { open: None, ..fops }
}

/// Opens a file whose private data is `private`, and returns its file descriptor, which is made
/// with these `flags`.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`, `ENOMEM`: there are too many open files, or there is no memory.
///
/// # Context
///
/// Process context, no locks held. May sleep.
///
/// # Safety
///
/// `getfile` must return a new file with the private data that it is given, or an error pointer. The
/// file operations must be those of a file whose private data is a `P`.
pub(crate) unsafe fn install<P: ForeignOwnable>(
    private: P,
    flags: u32,
    getfile: impl FnOnce(*mut c_void) -> *mut bindings::file,
) -> Result<u32> {
    let fd = FileDescriptorReservation::get_unused_fd_flags(flags)?;
    let private = private.into_foreign();
    let file = match from_err_ptr(getfile(private)) {
        Ok(file) => file,
        Err(error) => {
            // SAFETY: The pointer comes from `into_foreign`, and there is no file that has it.
            drop(unsafe { P::from_foreign(private) });
            return Err(error);
        }
    };
    // SAFETY: By the function's requirements, `getfile` has returned a new file, with a reference that is passed on
    // here. Nobody has a file descriptor of it yet.
    let file = unsafe { ARef::from_raw(NonNull::from(File::from_raw_file(file))) };
    let number = fd.reserved_fd();
    fd.fd_install(file);
    Ok(number)
}
