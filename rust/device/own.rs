// SPDX-License-Identifier: GPL-2.0

//! Device files with a table of their own.

use super::{
    Device,
    Registration, //
};
use crate::{
    account::TableCharge,
    arena::Arena,
    bindings as helpers,
    key::Hold,
    lab::{
        self,
        Point, //
    },
    mm::{
        anon_inode,
        task, //
    },
    request,
    robust::Robust,
    table::Table, //
};
use core::ptr;
use kernel::{
    bindings,
    error::to_result,
    fs::file::flags::{
        O_CLOEXEC,
        O_RDWR, //
    },
    mm::virt::VmaNew,
    prelude::*,
    types::ForeignOwnable, //
};

/// The file operations: those of the device, which are not opened by a name.
const FOPS: &bindings::file_operations = &bindings::file_operations {
    open: None,
    ..*Registration::FOPS
};

/// `RFUTEX_TABLE_CREATE`: opens a device file that has a table of its own, and an arena if the
/// request asks for one. Returns the file descriptor.
///
/// # Errors
///
/// - `EPERM`: the request asks for more than anybody may have, and the caller has not the
///   capability for it.
/// - `ENOSPC`: the user has as many tables, or as much arena memory, as are allowed.
/// - `EMFILE`, `ENFILE`, `ENOMEM`: there are too many open files, or there is no memory.
///
/// # Context
///
/// Process context, no locks held. May sleep. All memory is charged to the memory cgroup of the
/// current task.
#[cold]
#[inline(never)]
pub(super) fn create(device: &Device, request: &request::TableCreate) -> Result<u32> {
    let large = request.nr_buckets > helpers::RFUTEX_TABLE_BUCKETS
        || request.robust_size > helpers::RFUTEX_ROBUST_SIZE as usize;
    if large && !task::may_exceed_limits() || request.hold == Hold::Inode && !task::is_admin() {
        return Err(EPERM);
    }
    let charge = TableCharge::of_current(request.arena_pages)?;
    let arena = match request.arena_pages {
        0 => None,
        nr => Some(Arena::new(nr)?),
    };
    let table = Table::own(request.nr_buckets, request.hold, arena, charge)?;
    let robust = match request.robust_size {
        0 => None,
        size => Some(Robust::new(table.clone(), size)?),
    };
    let resolver = request.resolver.unwrap_or_else(|| device.resolver.get());
    if lab::fault(Point::Allocate) {
        return Err(ENOMEM);
    }
    let device = KBox::pin_init(
        Device::new(table, resolver, robust, true),
        GFP_KERNEL_ACCOUNT,
    )?;
    let close_on_exec = if request.close_on_exec { O_CLOEXEC } else { 0 };
    // SAFETY: The function returns a new file, or an error pointer. The file operations are static,
    // and those of a file whose private data is a device.
    unsafe {
        anon_inode::install(device, close_on_exec, |private| {
            helpers::rfutex_table_getfile(FOPS, private, O_RDWR as c_int)
        })
    }
}

/// `RFUTEX_JOIN`: makes the current thread one whose robust words are marked when it ends. `arg` must
/// be 0.
///
/// # Errors
///
/// `EINVAL`: the table has no robust words, or `arg` is not 0. Others as [`Robust::join`].
#[cold]
#[inline(never)]
pub(super) fn join(device: &Device, arg: usize) -> Result {
    match &device.robust {
        Some(robust) if arg == 0 => Robust::join(robust),
        _ => Err(EINVAL),
    }
}

/// Has the process map a part of the arena of `device`.
///
/// # Errors
///
/// `ENODEV`: the table has no arena. `EINVAL`: the mapping is private.
///
/// # Safety
///
/// The file of `vma` must be a device file.
pub(super) unsafe fn mmap(device: &Device, vma: &VmaNew) -> Result {
    if device.table.arena().is_none() {
        return Err(ENODEV);
    }
    // SAFETY: The VMA is being set up. By the function's requirements, its file is a device file.
    to_result(unsafe { helpers::rfutex_arena_mmap(vma.as_ptr()) })
}

/// The address of the page with this `index` in the arena of a device; null if it lies beyond the
/// end.
///
/// # Safety
///
/// `device` must be the private data of a device file that stays open while the page is used.
#[no_mangle]
unsafe extern "C" fn rfutex_arena_page(device: *mut c_void, index: usize) -> *mut c_void {
    // SAFETY: By the function's requirements, the pointer comes from `into_foreign`, and the file is
    // not released meanwhile.
    let device = unsafe { Pin::<KBox<Device>>::borrow(device) }.get_ref();
    let page = device.table.arena().and_then(|arena| arena.page(index));
    page.map_or(ptr::null_mut(), |page| page.as_ptr().cast())
}
