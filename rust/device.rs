// SPDX-License-Identifier: GPL-2.0

//! `/dev/rfutex`: decodes a command, calls the operation, encodes the result. No logic.

use crate::{
    bindings as uapi,
    key::{
        AtomicResolver,
        Resolver, //
    },
    lab,
    op,
    request::{
        self,
        Argument,
        Whom,
        Word, //
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
    /// What finds the keys of words.
    resolver: AtomicResolver,
}

#[vtable]
impl MiscDevice for Device {
    type Ptr = KBox<Self>;

    fn open(_file: &File, misc: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        // SAFETY: `Rfutex::init` makes the only registration of this device, in that field of the
        // module's data, which lives until the device is unregistered. That `open` runs means that
        // it is not yet, and that the fields before it are initialised.
        let (table, resolver) = unsafe {
            let module = container_of!(ptr::from_ref(misc).cast_mut(), Rfutex, device);
            ((*module).table.clone(), (*module).resolver)
        };
        let resolver = AtomicResolver::new(resolver);
        if lab::fault(lab::Point::Allocate) {
            return Err(ENOMEM);
        }
        Ok(KBox::new(Self { table, resolver }, GFP_KERNEL)?)
    }

    // Small: what is large is called.
    #[inline(always)]
    fn ioctl(device: &Self, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        // These carry no struct; with a size they are other commands.
        let result = match cmd {
            uapi::RFUTEX_CMD_WAKE_ONE_PRIVATE => wake_at(device, arg, true, &Whom::ONE),
            uapi::RFUTEX_CMD_WAKE_ALL_PRIVATE => wake_at(device, arg, true, &Whom::ALL),
            uapi::RFUTEX_CMD_WAKE_ONE => wake_at(device, arg, false, &Whom::ONE),
            uapi::RFUTEX_CMD_WAKE_ALL => wake_at(device, arg, false, &Whom::ALL),
            // The commonest with one, at the size that we know.
            uapi::RFUTEX_CMD_WAKE => wake(device, arg, _IOC_SIZE(uapi::RFUTEX_CMD_WAKE)),
            uapi::RFUTEX_CMD_WAIT => wait(device, arg, _IOC_SIZE(uapi::RFUTEX_CMD_WAIT)),
            uapi::RFUTEX_CMD_SWAP => swap(device, arg, _IOC_SIZE(uapi::RFUTEX_CMD_SWAP)),
            uapi::RFUTEX_CMD_SET_RESOLVER => set_resolver(device, arg).map(|()| 0),
            _ => with_struct(device, cmd, arg),
        };
        result.map(|result| result as isize)
    }
}

/// `RFUTEX_SET_RESOLVER`: what finds the keys of words, for operations that begin later.
///
/// # Errors
///
/// As [`Resolver::from_uapi`].
fn set_resolver(device: &Device, arg: usize) -> Result {
    let number = arg.try_into().map_err(|_| EINVAL)?;
    device.resolver.set(Resolver::from_uapi(number)?);
    Ok(())
}

/// The wakes whose argument is the address.
#[inline(always)]
fn wake_at(device: &Device, addr: usize, private: bool, whom: &Whom) -> Result<u32> {
    let mut word = Word::at(addr, private);
    if !private {
        word = word.by(device.resolver.get());
    }
    op::wake::wake(&device.table, word, whom)
}

/// The commands whose argument is a struct.
#[inline(always)]
fn with_struct(device: &Device, cmd: u32, arg: usize) -> Result<u32> {
    let size = _IOC_SIZE(cmd);
    let done = |()| 0;
    match unsized_command(cmd) {
        WAKE => wake(device, arg, size),
        WAIT => wait(device, arg, size),
        REQUEUE => call(
            device,
            arg,
            size,
            request::Requeue::read,
            |table, request| op::requeue::requeue(table, &request),
        ),
        WAKE_OP => call(
            device,
            arg,
            size,
            request::WakeOp::read,
            |table, request| op::wake_op::wake_op(table, &request),
        ),
        WAITV => call(device, arg, size, request::Waitv::read, |table, request| {
            op::waitv::waitv(table, &request)
        }),
        SWAP => swap(device, arg, size),
        KEY_INFO => call(
            device,
            arg,
            size,
            request::KeyInfo::read,
            |table, request| op::key_info::key_info(table, request).map(done),
        ),
        QUERY => call(device, arg, size, Ok, |table, argument| {
            op::query::query(table, argument).map(done)
        }),
        _ => Err(ENOTTY),
    }
}

#[inline(always)]
fn wake(device: &Device, arg: usize, size: usize) -> Result<u32> {
    call(device, arg, size, request::Wake::read, |table, request| {
        let request::Wake { word, whom } = request;
        op::wake::wake(table, word, &whom)
    })
}

#[inline(always)]
fn wait(device: &Device, arg: usize, size: usize) -> Result<u32> {
    call(device, arg, size, request::Wait::read, |table, request| {
        op::wait::wait(table, &request).map(|()| 0)
    })
}

#[inline(always)]
fn swap(device: &Device, arg: usize, size: usize) -> Result<u32> {
    call(device, arg, size, request::Swap::read, |table, request| {
        op::swap::swap(table, &request).map(|()| 0)
    })
}

/// Reads a request and carries it out. A function of its own for each command: together, all would
/// pay for the stack of the largest.
#[inline(never)]
fn call<R>(
    device: &Device,
    arg: usize,
    size: usize,
    read: impl FnOnce(Argument) -> Result<R>,
    op: impl FnOnce(&Table, R) -> Result<u32>,
) -> Result<u32> {
    let argument = Argument::new(arg, size).by(device.resolver.get());
    op(&device.table, read(argument)?)
}
