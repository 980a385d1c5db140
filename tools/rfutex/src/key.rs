// SPDX-License-Identifier: MIT OR Apache-2.0
//! What identifies a word.

use crate::device::Resolver;
use crate::raw::uapi;

/// What identifies a word: two words with the same key are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Key {
    /// Asked for with [`Word::private`](crate::Word::private): the address.
    Private {
        /// The page's number in this address space.
        index: u64,
        /// Byte offset in the page.
        offset: u32,
    },
    /// Anonymous memory: the address.
    Mm {
        /// The page's number in this address space.
        index: u64,
        /// Byte offset in the page.
        offset: u32,
    },
    /// Memory of a file of any kind: the position in it.
    Inode {
        /// The device, as in `/proc/self/maps`: major and minor number.
        dev: (u32, u32),
        /// The inode number, likewise.
        ino: u64,
        /// The page's index in the file, in units of the page size.
        index: u64,
        /// Byte offset in the page.
        offset: u32,
    },
}

/// Where in memory the word was found to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Folio {
    /// The folio has 2 to the power of this many pages.
    pub order: u32,
    /// The index of the word's page in the folio.
    pub index: u64,
}

/// What [`Rfutex::key_info`](crate::Rfutex::key_info) tells of a word. It is
/// true of the moment of the call only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyInfo {
    /// What identifies the word.
    pub key: Key,
    /// The resolver that the open file uses; a private word needs none.
    pub resolver: Resolver,
    /// The folio on which the word lay; none if the resolver looked at none,
    /// or the caller lacks `CAP_SYS_ADMIN`.
    pub folio: Option<Folio>,
    /// How many waiters are queued on the word.
    pub nr_waiters: u32,
    /// A number that stands for the file or the address space, and for no
    /// other as long as the module is loaded. It tells apart two files that
    /// have the same device and inode number, as overlayfs shows a file before
    /// and after it is copied up.
    pub object: u64,
}

impl KeyInfo {
    /// Takes apart what the module filled in, or gives it back if it has a
    /// kind of key that this crate does not know.
    pub(crate) fn from_uapi(info: uapi::rfutex_key_info) -> Option<Self> {
        let uapi::rfutex_key_info { index, offset, .. } = info;
        let key = match info.kind {
            uapi::RFUTEX_KEY_PRIVATE => Key::Private { index, offset },
            uapi::RFUTEX_KEY_MM => Key::Mm { index, offset },
            uapi::RFUTEX_KEY_INODE => Key::Inode {
                dev: (info.dev_major, info.dev_minor),
                ino: info.ino,
                index,
                offset,
            },
            _ => return None,
        };
        Some(Self {
            key,
            resolver: Resolver::from_uapi(info.resolver),
            folio: u32::try_from(info.folio_order).ok().map(|order| Folio {
                order,
                index: info.folio_index,
            }),
            nr_waiters: info.nr_waiters,
            object: info.object,
        })
    }
}
