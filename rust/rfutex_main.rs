// SPDX-License-Identifier: GPL-2.0

//! rfutex: waiting on words of memory, and waking those who wait, through `/dev/rfutex`.
//!
//! # Where things are
//!
//! | | |
//! |---|---|
//! | [`device`] | the char device, which calls the operation for a command number |
//! | [`request`], [`word`] | the structs of the interface, checked; and what identifies a word |
//! | [`op`] | the operations |
//! | [`context`] | what an operation works with: the table and the resolver of the open file |
//! | [`key`] | how an address is turned into a key, which is the subject of this module |
//! | [`table`], [`queue`], [`wake_chain`] | where waiters queue, and how they are woken |
//! | [`owner`] | threads and processes whose end a waiter hears of |
//! | [`robust`] | words that are marked when the thread whose id they carry ends |
//! | [`arena`] | memory of a table, whose words are found by their offset |
//! | [`list`], [`fdinfo`] | who waits where; what `/proc` shows of open files |
//! | [`watch`] | files whose events are wakes: waiters that are not tasks |
//! | `uring` | waits and wakes as commands of io_uring |
//! | [`account`] | how many watches, requests and tables a user may have |
//! | [`trace`] | the trace events |
//! | [`mm`], [`time`] | safe wrappers of what the `kernel` crate lacks |
//! | [`lab`] | what only tests need |
//!
//! # Lock order
//!
//! 1. The folio lock ([`mm::folio`]), and mmap_lock inside `get_user_pages_fast()`. They are never
//!    taken while a lock that follows below is held, nor both at once.
//! 2. While there is a [`key::Borrowed`]: an RCU read-side critical section, or the read lock of a
//!    VMA, or mmap_lock for reading ([`mm::vma`]).
//! 3. The spinlock of a bucket ([`queue::Bucket`]). Two of them are taken in the order of their
//!    addresses. They are never taken while one of the above is held. Under them, nothing sleeps or
//!    faults, and no reference is put that might be the last.
//! 4. The spinlock of a watch set ([`watch`]), for which the same is true.
//!
//! The mutex of a listing ([`list`]) is taken before all of these, and is held while records are
//! written to user memory. So a reader of a listing waits for another one that faults.
//!
//! The lock of the requests of an open file (`uring`) is taken before that of a bucket. The mutex
//! of the account of a watch set or of an open file, and under it that of all accounts
//! ([`account`]), are taken while none of these is held. So are the locks of those who poll a watch
//! set.
//!
//! Apart from that mutex, the module holds no lock of its own while a task sleeps in a wait, or while
//! it faults a page in.
//!
//! # Lifetimes
//!
//! - A waiter lies on the stack of the task that waits ([`queue`]), or, for a wait on many words,
//!   in memory that this task frees before it returns.
//! - A key consists of numbers and keeps nothing alive ([`key`]). The module parameter `hold`
//!   decides whether a waiter holds the inode that its word lies on, and the superblock
//!   ([`key::OwnedKey`]). The task that waited puts these references, with no lock held.
//! - A watch belongs to its set, which frees it when it was read or removed, or when its file is
//!   closed. A wake that has met a watch keeps the set until it has woken the pollers ([`watch`]).
//! - A request of io_uring belongs to its open file until it is completed (`uring`).
//! - A listing has at most two markers in the table, which leave it before the listing is freed. It
//!   keeps the ids of those whom it has just seen, but neither tasks nor waiters ([`list`]).
//! - There is no reference on a page while a task sleeps in a wait, or while another page is
//!   faulted in.
//! - The table that all share exists for as long as the module is loaded, or a file is open. A
//!   table of a user's own, and its arena, exist for as long as its file is open or mapped, or a
//!   watch set or a listing of it is open. An open file keeps the module from being unloaded.

mod account;
mod arena;
mod bindings;
mod context;
mod device;
mod fdinfo;
mod key;
mod lab;
mod list;
mod mm;
mod op;
mod owner;
mod queue;
mod request;
mod robust;
mod table;
mod time;
mod trace;
#[cfg(CONFIG_IO_URING)]
mod uring;
mod wake_chain;
mod watch;
mod word;

use crate::{
    device::Registration,
    key::{
        Hold,
        Resolver, //
    },
    mm::{
        slab::Created,
        version, //
    },
    table::Table,
    watch::Watch, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

module! {
    type: Rfutex,
    name: "rfutex",
    authors: ["The rfutex authors"],
    description: "An alternative futex, as a char device",
    license: "GPL",
    params: {
        buckets: u32 {
            default: 0,
            description: "Number of hash buckets, rounded up to a power of two (0: by size of memory)",
        },
        resolver: u32 {
            default: 1,
            description: "What finds the words of new open files: 1 their page, 2 what is mapped",
        },
    },
}

/// The data of the module. The fields are dropped in this order: the device comes first, so that
/// nobody can open it any more.
#[pin_data]
pub(crate) struct Rfutex {
    #[pin]
    device: Registration,
    #[cfg(RFUTEX_LAB)]
    #[pin]
    lab: lab::Lab,
    table: Arc<Table>,
    /// The resolver that new open files start with.
    resolver: Resolver,
    /// Watches are in files, and a file keeps the module.
    _watches: Created<Watch>,
}

impl kernel::InPlaceModule for Rfutex {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        mm::number::begin();
        // SAFETY: This function is called once, when the module is loaded, and the device is
        // registered below.
        unsafe { account::begin() };
        // The device is registered last, because it can be opened as soon as it is.
        try_pin_init!(Self {
            table: Table::new(version::value_of(&module_parameters::buckets), Hold::from_parameter())?,
            resolver: Resolver::from_uapi(version::value_of(&module_parameters::resolver))?,
            #[cfg(RFUTEX_LAB)]
            lab <- lab::Lab::new(table.clone()),
            // SAFETY: This function is called once, when the module is loaded. A watch belongs to a
            // watch set, which is a file, and a file keeps the module from being unloaded.
            _watches: unsafe { Created::new() }?,
            device <- Registration::new(),
        })
    }
}
