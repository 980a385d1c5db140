// SPDX-License-Identifier: GPL-2.0

//! The file of a listing.

#![expect(unsafe_code, reason = "file operations get raw pointers")]

use super::{
    request,
    Listing, //
};
use crate::{
    bindings as helpers,
    fdinfo,
    mm::anon_inode,
    table::Table, //
};
use kernel::{
    bindings,
    fs::{
        file::flags::{
            O_CLOEXEC,
            O_RDONLY, //
        },
        File,
        Kiocb, //
    },
    iov::IovIterDest,
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    prelude::*,
    seq_file::SeqFile,
    sync::Arc,
    types::ForeignOwnable, //
};

/// `RFUTEX_LIST`: opens a listing of `table`. Returns the file descriptor.
///
/// # Errors
///
/// - `ENOSPC`: the user has too many watches and listings.
/// - `EMFILE`, `ENFILE`, `ENOMEM`: there are too many open files, or there is no memory.
///
/// # Context
///
/// Process context, no locks held. May sleep.
pub(crate) fn create(table: Arc<Table>, request: &request::List) -> Result<u32> {
    let close_on_exec = if request.close_on_exec { O_CLOEXEC } else { 0 };
    let listing = Listing::new(table, request.entry_size)?;
    // SAFETY: The function returns a new file, or an error pointer. The file operations are static,
    // and those of a file whose private data is a listing.
    unsafe {
        anon_inode::install(listing, close_on_exec, |listing| {
            helpers::rfutex_list_getfile(FOPS, listing, O_RDONLY as c_int)
        })
    }
}

/// The file operations of a listing.
const FOPS: &bindings::file_operations = &bindings::file_operations {
    llseek: Some(llseek),
    ..anon_inode::operations::<Listing>()
};

/// Starts again, which is all that can be done: `offset` and `whence` must be 0.
///
/// # Safety
///
/// `file` must be a valid file whose private data is a listing.
unsafe extern "C" fn llseek(
    file: *mut bindings::file,
    offset: bindings::loff_t,
    whence: c_int,
) -> bindings::loff_t {
    if offset != 0 || whence != bindings::SEEK_SET as c_int {
        return EINVAL.to_errno().into();
    }
    // SAFETY: By the function's requirements, the file is valid, and its private data comes from
    // `into_foreign`. The file keeps the listing.
    let listing = unsafe { Pin::<KBox<Listing>>::borrow((*file).private_data) };
    listing.state.lock().rewind();
    0
}

#[vtable]
impl MiscDevice for Listing {
    type Ptr = Pin<KBox<Self>>;

    /// Listings are not opened by a name.
    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Pin<KBox<Self>>> {
        Err(ENXIO)
    }

    fn read_iter(kiocb: Kiocb<'_, Pin<KBox<Self>>>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        kiocb.file().read(iov)
    }

    fn show_fdinfo(listing: Pin<&Self>, m: &SeqFile, _file: &File) {
        fdinfo::show_table(m, &listing.table);
    }
}
