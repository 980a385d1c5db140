// SPDX-License-Identifier: GPL-2.0
//! Who is measured: futex(2), and rfutex with each of its resolvers.

use nix::errno::Errno;
use rfutex::raw::{self, uapi};
use rfutex::{Resolver, Rfutex};
use std::os::fd::AsFd;

/// futex(2), or a device that resolves in one way.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// futex(2).
    Native,
    /// rfutex.
    Ours(&'static Rfutex, &'static str),
}

/// The resolvers, by their names.
const RESOLVERS: [(&str, Resolver, u64); 3] = [
    ("page", Resolver::Page, uapi::RFUTEX_RESOLVER_PAGE as u64),
    ("vma", Resolver::Vma, uapi::RFUTEX_RESOLVER_VMA as u64),
    (
        "locked",
        Resolver::Locked,
        uapi::RFUTEX_RESOLVER_LOCKED as u64,
    ),
];

/// The command that chooses an open file's resolver.
const SET_RESOLVER: u32 = 0xf714;

/// The device, opened for the resolver `wanted`; nothing if the module has not got it.
fn open(wanted: Resolver, number: u64) -> Option<Rfutex> {
    let device = Rfutex::open().expect("/dev/rfutex opens");
    // SAFETY: The command takes a number.
    let set = unsafe { raw::ioctl(device.as_fd(), SET_RESOLVER, number) };
    let used = device.query().expect("a query").resolver;
    match set.map_err(|error| Errno::from_raw(error.errno())) {
        Ok(_) => assert_eq!(used, wanted, "the resolver that was asked for"),
        // A module that has one resolver, or a build that has not this one.
        Err(Errno::ENOTTY | Errno::EINVAL | Errno::EOPNOTSUPP) if used != wanted => return None,
        Err(Errno::ENOTTY) => {}
        Err(error) => panic!("the resolver {wanted:?}: {error}"),
    }
    Some(device)
}

impl Side {
    /// rfutex with each resolver that the module has.
    pub fn ours() -> Vec<Self> {
        RESOLVERS
            .into_iter()
            .filter_map(|(name, wanted, number)| {
                let device = Box::leak(Box::new(open(wanted, number)?));
                Some(Self::Ours(device, name))
            })
            .collect()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "futex(2)",
            Self::Ours(_, name) => name,
        }
    }
}
