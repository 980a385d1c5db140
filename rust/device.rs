// SPDX-License-Identifier: GPL-2.0

//! `/dev/rfutex`: decodes a command, calls the operation, encodes the result. No logic.

use crate::{
    bindings as uapi,
    lab,
    op,
    request::{
        self,
        Argument, //
    },
    table::Table,
    Rfutex, //
};
use core::ptr;
use kernel::{
    container_of,
    fs::File,
    ioctl::{
        _IOC_SIZE, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    prelude::*,
    sync::Arc, //
};

/// A command number without the size of its struct, which differs between versions.
const fn unsized_command(cmd: u32) -> u32 {
    cmd & !(kernel::uapi::_IOC_SIZEMASK << kernel::uapi::_IOC_SIZESHIFT)
}

const QUERY: u32 = unsized_command(uapi::RFUTEX_CMD_QUERY);
const WAIT: u32 = unsized_command(uapi::RFUTEX_CMD_WAIT);
const WAKE: u32 = unsized_command(uapi::RFUTEX_CMD_WAKE);
const REQUEUE: u32 = unsized_command(uapi::RFUTEX_CMD_REQUEUE);
const WAKE_OP: u32 = unsized_command(uapi::RFUTEX_CMD_WAKE_OP);
const WAITV: u32 = unsized_command(uapi::RFUTEX_CMD_WAITV);
const SWAP: u32 = unsized_command(uapi::RFUTEX_CMD_SWAP);
const KEY_INFO: u32 = unsized_command(uapi::RFUTEX_CMD_KEY_INFO);

/// An open file.
pub(crate) struct Device {
    table: Arc<Table>,
}

#[vtable]
impl MiscDevice for Device {
    type Ptr = KBox<Self>;

    fn open(_file: &File, misc: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        // SAFETY: `Rfutex::init` makes the only registration of this device, in that field of the
        // module's data, which lives until the device is unregistered. That `open` runs means that
        // it is not yet, and that the fields before it are initialised.
        let table = unsafe {
            let module = container_of!(ptr::from_ref(misc).cast_mut(), Rfutex, device);
            (*module).table.clone()
        };
        if lab::fault(lab::Point::Allocate) {
            return Err(ENOMEM);
        }
        Ok(KBox::new(Self { table }, GFP_KERNEL)?)
    }

    // Inlined into the function that the kernel calls, and small: what is large is called.
    #[inline(always)]
    fn ioctl(device: &Self, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let table = &*device.table;
        // These carry no struct; with a size they are other commands.
        let (private, nr) = match cmd {
            uapi::RFUTEX_CMD_WAKE_ONE => (false, 1),
            uapi::RFUTEX_CMD_WAKE_ALL => (false, u32::MAX),
            uapi::RFUTEX_CMD_WAKE_ONE_PRIVATE => (true, 1),
            uapi::RFUTEX_CMD_WAKE_ALL_PRIVATE => (true, u32::MAX),
            _ => return with_struct(table, cmd, arg),
        };
        op::wake::wake(table, &request::Wake::at(arg, private, nr)).map(|woken| woken as isize)
    }
}

/// The commands whose argument is a struct.
#[inline(always)]
fn with_struct(table: &Table, cmd: u32, arg: usize) -> Result<isize> {
    let size = _IOC_SIZE(cmd);
    let done = |()| 0;
    match unsized_command(cmd) {
        WAKE => call(table, arg, size, request::Wake::read, |table, request| {
            op::wake::wake(table, &request)
        }),
        WAIT => call(table, arg, size, request::Wait::read, |table, request| {
            op::wait::wait(table, &request).map(done)
        }),
        REQUEUE => call(
            table,
            arg,
            size,
            request::Requeue::read,
            |table, request| op::requeue::requeue(table, &request),
        ),
        WAKE_OP => call(table, arg, size, request::WakeOp::read, |table, request| {
            op::wake_op::wake_op(table, &request)
        }),
        WAITV => call(table, arg, size, request::Waitv::read, |table, request| {
            op::waitv::waitv(table, &request)
        }),
        SWAP => call(table, arg, size, request::Swap::read, |table, request| {
            op::swap::swap(table, &request).map(done)
        }),
        KEY_INFO => call(
            table,
            arg,
            size,
            request::KeyInfo::read,
            |table, request| op::key_info::key_info(table, request).map(done),
        ),
        QUERY => call(table, arg, size, Ok, |table, argument| {
            op::query::query(table, argument).map(done)
        }),
        _ => Err(ENOTTY),
    }
}

/// Reads a request and carries it out. A function of its own for each command: together, all would
/// pay for the stack of the largest.
#[inline(never)]
fn call<R>(
    table: &Table,
    arg: usize,
    size: usize,
    read: impl FnOnce(Argument) -> Result<R>,
    op: impl FnOnce(&Table, R) -> Result<u32>,
) -> Result<isize> {
    op(table, read(Argument::new(arg, size))?).map(|result| result as isize)
}
