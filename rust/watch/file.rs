// SPDX-License-Identifier: GPL-2.0

//! The file of a watch set.

use super::{
    read,
    set::{
        self,
        Set, //
    },
};
use crate::{
    bindings as helpers,
    device::unsized_command,
    key::Resolver,
    mm::{
        anon_inode,
        wait_queue::READABLE, //
    },
    request::{
        self,
        Argument, //
    },
    table::Table, //
};
use kernel::{
    bindings,
    fs::{
        file::flags::{
            O_CLOEXEC,
            O_NONBLOCK,
            O_RDONLY, //
        },
        File,
        Kiocb, //
    },
    ioctl::_IOC_SIZE,
    iov::IovIterDest,
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    prelude::*,
    seq_file::SeqFile,
    sync::{
        Arc,
        ArcBorrow, //
    },
    types::ForeignOwnable, //
};

const WATCH_ADD: u32 = unsized_command(helpers::RFUTEX_CMD_WATCH_ADD);
const WATCH_REMOVE: u32 = unsized_command(helpers::RFUTEX_CMD_WATCH_REMOVE);

/// `RFUTEX_WATCHES_CREATE`: opens a watch set whose watches wait in `table`, on words that are
/// found by `resolver`. Returns the file descriptor.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`, `ENOMEM`: there are too many open files, or there is no memory.
///
/// # Context
///
/// Process context, no locks held. May sleep.
pub(crate) fn create(
    table: Arc<Table>,
    resolver: Resolver,
    request: &request::WatchesCreate,
) -> Result<u32> {
    let close_on_exec = if request.close_on_exec { O_CLOEXEC } else { 0 };
    let nonblocking = if request.nonblocking { O_NONBLOCK } else { 0 };
    let flags = (O_RDONLY | nonblocking) as c_int;
    // SAFETY: The function returns a new file, or an error pointer. The file operations are static,
    // and those of a file whose private data is a set.
    unsafe {
        anon_inode::install(Set::new(table, resolver)?, close_on_exec, |set| {
            helpers::rfutex_watches_getfile(FOPS, set, flags)
        })
    }
}

/// The file operations of a set.
const FOPS: &bindings::file_operations = &bindings::file_operations {
    poll: Some(poll),
    ..anon_inode::operations::<Set>()
};

/// Tells whether there is something to be read, and has those who poll told of the next event.
///
/// # Safety
///
/// `file` must be a valid file whose private data is a set. `table` must be null, or valid.
unsafe extern "C" fn poll(
    file: *mut bindings::file,
    table: *mut bindings::poll_table,
) -> bindings::__poll_t {
    // SAFETY: By the function's requirements, the file is valid, and its private data comes from
    // `into_foreign`. The file keeps the set.
    let set = unsafe { Arc::<Set>::borrow((*file).private_data) };
    // SAFETY: The pointers are those that this function was called with, and the set exists until
    // the file is released.
    unsafe { set.pollers.poll_wait(file, table) };
    // This takes the lock of the set, so that an event which is not seen here is followed by a
    // wake.
    if set.lock().is_empty() {
        0
    } else {
        READABLE
    }
}

#[vtable]
impl MiscDevice for Set {
    type Ptr = Arc<Self>;

    /// Sets are not opened by a name.
    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Arc<Self>> {
        Err(ENXIO)
    }

    fn release(set: Arc<Self>, _file: &File) {
        // SAFETY: All other calls on the file have ended, and there are none after this.
        unsafe { set::close(&set) };
    }

    fn read_iter(kiocb: Kiocb<'_, Arc<Self>>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let raw = kiocb.as_raw();
        // There must be no `File` here, because read(2) may have taken the file without a reference
        // and without the lock of its position.
        // SAFETY: The kiocb and its file are valid for the duration of this call. fcntl(2) may
        // change the flags of the file at any time, hence the volatile read.
        let nonblocking = unsafe {
            (*raw).ki_flags & helpers::RFUTEX_IOCB_NOWAIT != 0
                || (&raw const (*(*raw).ki_filp).f_flags).read_volatile() & O_NONBLOCK != 0
        };
        read::read(&kiocb.file(), iov, nonblocking)
    }

    fn show_fdinfo(set: ArcBorrow<'_, Self>, m: &SeqFile, _file: &File) {
        set.show(m);
    }

    fn ioctl(set: ArcBorrow<'_, Self>, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let argument = Argument::new(arg, _IOC_SIZE(cmd));
        match unsized_command(cmd) {
            WATCH_ADD => set::add(set, &request::WatchAdd::read(argument)?).map(|()| 0),
            WATCH_REMOVE => {
                let request = request::WatchRemove::read(argument)?;
                set::remove(&set, request.id).map(|unread| unread as isize)
            }
            _ => Err(ENOTTY),
        }
    }
}
