// SPDX-License-Identifier: GPL-2.0
//! Who is measured: futex(2), and rfutex with each of its resolvers, or with none.

use crate::memory::{self, Memory};
use nix::errno::Errno;
use rfutex::{Resolver, Rfutex};
use rfutex_figures::record::Hold;
use std::sync::OnceLock;

/// futex(2), or a device that resolves in one way, or a table of one's own.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// futex(2).
    Native,
    /// rfutex.
    Ours(&'static Rfutex, &'static str),
}

/// The resolvers, by their names.
const RESOLVERS: [(&str, Resolver); 3] = [
    ("page", Resolver::Page),
    ("vma", Resolver::Vma),
    ("locked", Resolver::Locked),
];

/// The device, opened for the resolver `wanted`; nothing if the module has not got it.
fn open(wanted: Resolver) -> Option<Rfutex> {
    let device = Rfutex::open().expect("/dev/rfutex opens");
    let set = device.set_resolver(wanted);
    let used = device.query().expect("a query").resolver;
    match set.map_err(|error| Errno::from_raw(error.errno())) {
        Ok(()) => assert_eq!(used, wanted, "the resolver that was asked for"),
        // A module that has one resolver, or a build that has not this one.
        Err(Errno::ENOTTY | Errno::EINVAL | Errno::EOPNOTSUPP) if used != wanted => return None,
        Err(Errno::ENOTTY) => {}
        Err(error) => panic!("the resolver {wanted:?}: {error}"),
    }
    Some(device)
}

/// What the module was loaded with, by its own account.
pub fn hold() -> Hold {
    static HOLD: OnceLock<Hold> = OnceLock::new();
    *HOLD.get_or_init(|| {
        let device = Rfutex::open().expect("/dev/rfutex opens");
        match device.query().expect("a query").hold {
            rfutex::Hold::Nothing => Hold::Nothing,
            // A module that does not tell has no other way.
            rfutex::Hold::Inode | rfutex::Hold::Other(0) => Hold::Inode,
            other => panic!("a module that holds {other:?}"),
        }
    })
}

impl Side {
    /// rfutex as it can find words in `memory`: with each resolver that the module has, or in an
    /// arena, where none is needed.
    pub fn ours_in(memory: Memory) -> Vec<Self> {
        match memory {
            Memory::Private | Memory::Shared | Memory::Anonymous => Self::ours(),
            Memory::Arena => {
                let table = memory::arena().map(|arena| Self::Ours(arena.table(), "none"));
                table.into_iter().collect()
            }
        }
    }

    /// rfutex with each resolver that the module has.
    pub fn ours() -> Vec<Self> {
        RESOLVERS
            .into_iter()
            .filter_map(|(name, wanted)| {
                let device = Box::leak(Box::new(open(wanted)?));
                Some(Self::Ours(device, name))
            })
            .collect()
    }

    /// The same, with a device file that was opened anew, if it resolves words.
    pub fn opened_again(self) -> Self {
        let Self::Ours(_, name) = self else {
            return self;
        };
        let resolver = RESOLVERS.into_iter().find(|resolver| resolver.0 == name);
        let (_, resolver) = resolver.expect("a file that resolves words");
        let device = open(resolver).expect("a resolver that the module has");
        Self::Ours(Box::leak(Box::new(device)), name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "futex(2)",
            Self::Ours(_, name) => name,
        }
    }

    /// Whether it is one of `names`, or there are none.
    pub fn is_wanted(self, names: &[String]) -> bool {
        names.is_empty() || names.iter().any(|name| name == self.name())
    }
}
