// SPDX-License-Identifier: GPL-2.0

//! rfutex: wait on, and wake, words of memory, through `/dev/rfutex`.
//!
//! # Where things are
//!
//! | | |
//! |---|---|
//! | [`device`] | the char device: from a command number to an operation |
//! | [`request`], [`word`] | structs of the interface, checked; what names a word |
//! | [`op`] | the operations |
//! | [`context`] | what an operation works with: the table and the resolver of the open file |
//! | [`key`] | from an address to a key: the subject of this module |
//! | [`table`], [`queue`], [`wake_chain`] | where waiters queue, and how they are woken |
//! | [`mm`] | what the `kernel` crate lacks, wrapped |
//! | [`lab`] | what only tests need |
//!
//! # Lock order
//!
//! 1. The folio lock ([`mm::folio`]), and mmap_lock inside `get_user_pages_fast()`: each alone, never
//!    while anything below is held.
//! 2. RCU, or a VMA's read lock, or mmap_lock for reading ([`mm::vma`]), for as long as a
//!    [`key::Borrowed`] lives.
//! 3. A bucket's spinlock ([`queue::Bucket`]): two of them in the order of their addresses, and
//!    nothing of the above. Nothing sleeps, faults or is released under it.
//!
//! No lock is held while a task sleeps, nor while a page is faulted in.
//!
//! # Lifetimes
//!
//! - A waiter lies on the stack of the task that waits ([`queue`]).
//! - A key is made of numbers and keeps nothing alive ([`key`]). A waiter may hold the inode that its
//!   word is on, and the superblock ([`key::OwnedKey`]): the module parameter `hold` decides. What it
//!   holds is given back by the task that waited, with no lock held.
//! - No page is referenced while a task sleeps, nor while another page is faulted in.
//! - The table lives as long as an open file, or the module. An open file keeps the module.

mod bindings;
mod context;
mod device;
mod key;
mod lab;
mod mm;
mod op;
mod queue;
mod request;
mod table;
mod time;
mod wake_chain;
mod word;

use crate::{
    device::Device,
    key::{
        Hold,
        Resolver, //
    },
    table::Table, //
};
use kernel::{
    miscdevice::{
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
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

/// The module's data. Fields are dropped from the top: first nobody can open the device any more.
#[pin_data]
pub(crate) struct Rfutex {
    #[pin]
    device: MiscDeviceRegistration<Device>,
    #[cfg(RFUTEX_LAB)]
    #[pin]
    lab: lab::Lab,
    table: Arc<Table>,
    /// What new open files begin with.
    resolver: Resolver,
}

impl kernel::InPlaceModule for Rfutex {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        mm::number::begin();
        // The device comes last: it can be opened at once.
        try_pin_init!(Self {
            table: Table::new(module_parameters::buckets.value(), Hold::from_parameter())?,
            resolver: Resolver::from_uapi(module_parameters::resolver.value())?,
            #[cfg(RFUTEX_LAB)]
            lab <- lab::Lab::new(table.clone()),
            device <- MiscDeviceRegistration::register(MiscDeviceOptions { name: c"rfutex" }),
        })
    }
}
