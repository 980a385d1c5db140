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

    fn ioctl(device: &Self, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let table = &*device.table;
        // These carry no struct; with a size they are other commands.
        let wake_at = |private, nr| op::wake::wake(table, &request::Wake::at(arg, private, nr));
        let woken = match cmd {
            uapi::RFUTEX_CMD_WAKE_ONE => wake_at(false, 1)?,
            uapi::RFUTEX_CMD_WAKE_ALL => wake_at(false, u32::MAX)?,
            uapi::RFUTEX_CMD_WAKE_ONE_PRIVATE => wake_at(true, 1)?,
            uapi::RFUTEX_CMD_WAKE_ALL_PRIVATE => wake_at(true, u32::MAX)?,
            _ => {
                let argument = Argument::new(arg, _IOC_SIZE(cmd));
                match unsized_command(cmd) {
                    WAIT => op::wait::wait(table, &request::Wait::read(argument)?).map(|()| 0)?,
                    WAKE => op::wake::wake(table, &request::Wake::read(argument)?)?,
                    REQUEUE => op::requeue::requeue(table, &request::Requeue::read(argument)?)?,
                    WAKE_OP => op::wake_op::wake_op(table, &request::WakeOp::read(argument)?)?,
                    WAITV => op::waitv::waitv(table, &request::Waitv::read(argument)?)?,
                    SWAP => op::swap::swap(table, &request::Swap::read(argument)?).map(|()| 0)?,
                    KEY_INFO => op::key_info::key_info(table, request::KeyInfo::read(argument)?)
                        .map(|()| 0)?,
                    QUERY => op::query::query(table, argument).map(|()| 0)?,
                    _ => return Err(ENOTTY),
                }
            }
        };
        Ok(woken as isize)
    }
}
