// SPDX-License-Identifier: GPL-2.0

//! `/dev/rfutex`: decodes a command, calls the operation, and encodes the result. There is no other
//! logic here.

mod own;

#[cfg(CONFIG_IO_URING)]
use crate::uring::Requests;
use crate::{
    bindings as uapi,
    context::Context,
    fdinfo,
    key::{
        AtomicResolver,
        Resolver, //
    },
    lab,
    list,
    mm::delayed_work::DelayedWork,
    op,
    request::{
        self,
        Argument, //
    },
    robust::Robust,
    table::Table,
    watch,
    word::{
        Location::{
            self,
            Address,
            Arena,
            PrivateAddress, //
        },
        Word, //
    },
    Rfutex, //
};
use core::ptr;
use kernel::{
    bindings,
    container_of,
    error::to_result,
    fs::File,
    ioctl::_IOC_SIZE,
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    mm::virt::VmaNew,
    prelude::*,
    seq_file::SeqFile,
    sync::Arc,
    types::Opaque, //
};

/// A command number without the size of its struct, which differs between versions of the
/// interface.
pub(crate) const fn unsized_command(cmd: u32) -> u32 {
    cmd & !(kernel::uapi::_IOC_SIZEMASK << kernel::uapi::_IOC_SIZESHIFT)
}

const QUERY: u32 = unsized_command(uapi::RFUTEX_CMD_QUERY);
const WAIT: u32 = unsized_command(uapi::RFUTEX_CMD_WAIT);
const WAKE: u32 = unsized_command(uapi::RFUTEX_CMD_WAKE);
const REQUEUE: u32 = unsized_command(uapi::RFUTEX_CMD_REQUEUE);
const WAKE_OP: u32 = unsized_command(uapi::RFUTEX_CMD_WAKE_OP);
const WAITV: u32 = unsized_command(uapi::RFUTEX_CMD_WAITV);
const SWAP: u32 = unsized_command(uapi::RFUTEX_CMD_SWAP);
const WAKEV: u32 = unsized_command(uapi::RFUTEX_CMD_WAKEV);
const TABLE_CREATE: u32 = unsized_command(uapi::RFUTEX_CMD_TABLE_CREATE);
const WATCHES_CREATE: u32 = unsized_command(uapi::RFUTEX_CMD_WATCHES_CREATE);
const LIST: u32 = unsized_command(uapi::RFUTEX_CMD_LIST);
const OWNER_ID: u32 = unsized_command(uapi::RFUTEX_CMD_OWNER_ID);
const KEY_INFO: u32 = unsized_command(uapi::RFUTEX_CMD_KEY_INFO);

/// An open file.
#[pin_data(PinnedDrop)]
pub(crate) struct Device {
    table: Arc<Table>,
    /// The resolver that finds the keys of words.
    resolver: AtomicResolver,
    /// The robust words of the table, if it has any.
    robust: Option<Arc<DelayedWork<Robust>>>,
    /// Whether the table is not the one that all who open the device share. Then the resolver never
    /// changes, because others who have this file rely on it.
    own: bool,
    #[cfg(CONFIG_IO_URING)]
    #[pin]
    requests: Requests,
}

impl Device {
    /// An initialiser for an open file whose operations use `table` and `resolver`, and whose robust
    /// words are `robust`, if it has any. `own` says whether the table is another than the one that
    /// is shared by all who open the device.
    fn new(
        table: Arc<Table>,
        resolver: Resolver,
        robust: Option<Arc<DelayedWork<Robust>>>,
        own: bool,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            table,
            resolver: AtomicResolver::new(resolver),
            robust,
            own,
            #[cfg(CONFIG_IO_URING)]
            requests <- Requests::new(),
        })
    }

    /// The context for an operation that begins now.
    #[inline]
    pub(crate) fn context(&self) -> Context<'_> {
        Context::new(&self.table, self.resolver.get())
    }

    /// The requests that were submitted to io_uring on this file.
    #[cfg(CONFIG_IO_URING)]
    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }
}

#[pinned_drop]
impl PinnedDrop for Device {
    fn drop(self: Pin<&mut Self>) {
        // The members of the robust words keep these, and have to let go of them.
        if let Some(robust) = &self.robust {
            Robust::close(robust);
        }
    }
}

#[vtable]
impl MiscDevice for Device {
    type Ptr = Pin<KBox<Self>>;

    fn open(_file: &File, misc: &MiscDeviceRegistration<Self>) -> Result<Pin<KBox<Self>>> {
        // SAFETY: `misc` is the `struct miscdevice` that `Registration` has registered, and both
        // types are transparent. The only registration of this device is the field `device` of
        // `Rfutex`, the module's data. The device is registered only after the other fields were
        // initialised, and the module's data is freed only after it was unregistered. `open` runs
        // in between, so the fields are valid.
        let (table, resolver) = unsafe {
            let device = ptr::from_ref(misc).cast_mut().cast::<Registration>();
            let module = container_of!(device, Rfutex, device);
            ((*module).table.clone(), (*module).resolver)
        };
        if lab::fault(lab::Point::Allocate) {
            return Err(ENOMEM);
        }
        KBox::pin_init(Self::new(table, resolver, None, false), GFP_KERNEL_ACCOUNT)
    }

    fn mmap(device: Pin<&Self>, _file: &File, vma: &VmaNew) -> Result {
        // SAFETY: The kernel calls this for a VMA of the file whose private data is `device`.
        unsafe { own::mmap(device.get_ref(), vma) }
    }

    fn show_fdinfo(device: Pin<&Self>, m: &SeqFile, _file: &File) {
        fdinfo::show_table(m, &device.table);
        fdinfo::show_resolver(m, device.resolver.get());
        fdinfo::show_waiters(m, &device.table);
    }

    // This is inlined into the function that the kernel calls.
    #[inline(always)]
    fn ioctl(device: Pin<&Self>, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let device = device.get_ref();
        // The argument of these commands is not a struct. Their numbers are compared as a whole:
        // with another size, a number is that of another command.
        let result = match cmd {
            uapi::RFUTEX_CMD_WAKE_ONE_PRIVATE => wake_at(device, arg, PrivateAddress, 1),
            uapi::RFUTEX_CMD_WAKE_ALL_PRIVATE => wake_at(device, arg, PrivateAddress, u32::MAX),
            uapi::RFUTEX_CMD_WAKE_ONE => wake_at(device, arg, Address, 1),
            uapi::RFUTEX_CMD_WAKE_ALL => wake_at(device, arg, Address, u32::MAX),
            uapi::RFUTEX_CMD_WAKE_ONE_ARENA => wake_at(device, arg, Arena, 1),
            uapi::RFUTEX_CMD_WAKE_ALL_ARENA => wake_at(device, arg, Arena, u32::MAX),
            uapi::RFUTEX_CMD_JOIN => own::join(device, arg).map(|()| 0),
            uapi::RFUTEX_CMD_SET_RESOLVER => set_resolver(device, arg).map(|()| 0),
            _ => with_struct(device, cmd, arg),
        };
        result.map(|result| result as isize)
    }
}

/// The registration of the device. It is unregistered when this is dropped.
///
/// This is what [`MiscDeviceRegistration`] does, with a function for io_uring besides.
///
/// # Invariants
///
/// `device` is registered, and does not move.
#[pin_data(PinnedDrop)]
#[repr(transparent)]
pub(crate) struct Registration {
    #[pin]
    device: Opaque<bindings::miscdevice>,
}

// SAFETY: The device may be unregistered by another task than the one that has registered it.
unsafe impl Send for Registration {}

// SAFETY: A reference to this has no methods.
unsafe impl Sync for Registration {}

impl Registration {
    /// The device before it is registered.
    const DEVICE: bindings::miscdevice = MiscDeviceOptions { name: c"rfutex" }.into_raw::<Device>();

    /// The file operations: those of the kernel crate, and one that it lacks.
    const FOPS: &'static bindings::file_operations = &{
        // SAFETY: `into_raw` has set the pointer to file operations that are static.
        let fops = unsafe { *Self::DEVICE.fops };
        bindings::file_operations {
            #[cfg(CONFIG_IO_URING)]
            uring_cmd: Some(uapi::rfutex_uring_cmd),
            ..fops
        }
    };

    /// Registers the device.
    ///
    /// # Errors
    ///
    /// Those of `misc_register()`.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        // INVARIANT: If this succeeds, the device is registered. It is pinned.
        try_pin_init!(Self {
            device <- Opaque::try_ffi_init(|slot: *mut bindings::miscdevice| {
                let device = bindings::miscdevice {
                    fops: Self::FOPS,
                    ..Self::DEVICE
                };
                // SAFETY: The slot is memory for the device, which does not move later.
                unsafe { slot.write(device) };
                // SAFETY: The device was just initialised, and is unregistered before its memory is
                // reused.
                to_result(unsafe { bindings::misc_register(slot) })
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Registration {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants, the device is registered.
        unsafe { bindings::misc_deregister(self.device.get()) };
    }
}

/// `RFUTEX_SET_RESOLVER`: sets the resolver that operations which begin later use to find the keys
/// of words.
///
/// # Errors
///
/// As [`Resolver::from_uapi`]. `EINVAL` also if the table is one of the user's own.
fn set_resolver(device: &Device, arg: usize) -> Result {
    if device.own {
        return Err(EINVAL);
    }
    let number = arg.try_into().map_err(|_| EINVAL)?;
    device.resolver.set(Resolver::from_uapi(number)?);
    Ok(())
}

/// Carries out the commands whose argument says where the word to wake on is.
#[inline(always)]
fn wake_at(device: &Device, at: usize, location: Location, nr: u32) -> Result<u32> {
    let word = Word::at(at, location);
    op::wake::wake(device.context(), word, uapi::RFUTEX_MASK_ANY as u64, nr)
}

/// Carries out the commands whose argument is a struct.
#[inline]
fn with_struct(device: &Device, cmd: u32, arg: usize) -> Result<u32> {
    let argument = Argument::new(arg, _IOC_SIZE(cmd));
    let done = |()| 0;
    match unsized_command(cmd) {
        WAKE => call(device, argument, request::Wake::read, |context, request| {
            op::wake::wake(context, request.word, request.mask, request.nr)
        }),
        WAIT => call(device, argument, request::Wait::read, |context, request| {
            op::wait::wait(context, &request).map(done)
        }),
        REQUEUE => call(
            device,
            argument,
            request::Requeue::read,
            |context, request| op::requeue::requeue(context, &request),
        ),
        WAKE_OP => call(
            device,
            argument,
            request::WakeOp::read,
            |context, request| op::wake_op::wake_op(context, &request),
        ),
        WAITV => call(
            device,
            argument,
            request::Waitv::read,
            |context, request| op::waitv::waitv(context, &request),
        ),
        SWAP => call(device, argument, request::Swap::read, |context, request| {
            op::swap::swap(context, &request).map(done)
        }),
        WAKEV => call(
            device,
            argument,
            request::Wakev::read,
            |context, request| op::wakev::wakev(context, &request),
        ),
        WATCHES_CREATE => watches_create(device, argument),
        LIST => list_create(device, argument),
        TABLE_CREATE => own::create(device, &request::TableCreate::read(argument)?),
        OWNER_ID => call(device, argument, Ok, |_, argument| {
            op::owner_id::owner_id(argument).map(done)
        }),
        KEY_INFO => call(
            device,
            argument,
            request::KeyInfo::read,
            |context, request| op::key_info::key_info(context, request).map(done),
        ),
        QUERY => call(device, argument, Ok, |context, argument| {
            let robust_size = device.robust.as_ref().map_or(0, |robust| robust.size());
            op::query::query(context, robust_size, argument).map(done)
        }),
        _ => Err(ENOTTY),
    }
}

/// `RFUTEX_WATCHES_CREATE`: opens a watch set for the table of this file.
#[cold]
#[inline(never)]
fn watches_create(device: &Device, argument: Argument) -> Result<u32> {
    let request = request::WatchesCreate::read(argument)?;
    watch::create(device.table.clone(), device.resolver.get(), &request)
}

/// `RFUTEX_LIST`: opens a listing of the table of this file.
#[cold]
#[inline(never)]
fn list_create(device: &Device, argument: Argument) -> Result<u32> {
    list::create(device.table.clone(), &request::List::read(argument)?)
}

/// Reads a request and carries it out.
///
/// This is compiled as a separate function for each command. Otherwise every command would use as
/// much stack as the one that needs most.
#[inline(never)]
fn call<R>(
    device: &Device,
    argument: Argument,
    read: impl FnOnce(Argument) -> Result<R>,
    op: impl FnOnce(Context<'_>, R) -> Result<u32>,
) -> Result<u32> {
    let request = read(argument)?;
    op(device.context(), request)
}
