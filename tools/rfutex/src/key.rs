// SPDX-License-Identifier: MIT OR Apache-2.0
//! What identifies a word.

use crate::device::Resolver;
use crate::raw::uapi;

/// What identifies a word.
///
/// Two words are the same if their keys are equal and their
/// [`object`](KeyInfo::object) is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Key {
    /// A [private](crate::Word::private) word: the address in this process.
    Private {
        /// The page's number in this address space.
        index: u64,
        /// Byte offset in the page.
        offset: u32,
    },
    /// A word in anonymous memory: the address in this process.
    Mm {
        /// The page's number in this address space.
        index: u64,
        /// Byte offset in the page.
        offset: u32,
    },
    /// A word in memory of a file of any kind: the position in the file.
    Inode {
        /// The device, as in `/proc/self/maps`: major and minor number.
        dev: (u32, u32),
        /// The inode number, as in `/proc/self/maps`.
        ino: u64,
        /// The page's index in the file, in units of the page size.
        index: u64,
        /// Byte offset in the page.
        offset: u32,
    },
    /// A word in the arena of the table: the position in it.
    Arena {
        /// The page's index in the arena, in units of the page size.
        index: u64,
        /// Byte offset in the page.
        offset: u32,
    },
}

/// The folio in which the word lay, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Folio {
    /// The folio has 2 to the power of this many pages.
    pub order: u32,
    /// The index of the word's page in the folio.
    pub index: u64,
}

/// What [`Rfutex::key_info`](crate::Rfutex::key_info) tells about a word. Except
/// for the key, it is a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyInfo {
    /// What identifies the word.
    pub key: Key,
    /// The resolver of the open file. (A private word needs none.)
    pub resolver: Resolver,
    /// The folio in which the word lay; `None` if the resolver looked at no page,
    /// or if the caller does not have `CAP_SYS_ADMIN`.
    pub folio: Option<Folio>,
    /// How many waiters are queued on the word.
    pub nr_waiters: u32,
    /// A number for the file, the address space or the arena, which no other has for as long
    /// as the module is loaded. It distinguishes two files with the same device
    /// and inode number: overlayfs shows a file with the same numbers before and
    /// after it is copied up.
    pub object: u64,
}

impl KeyInfo {
    /// Takes apart what the module filled in. `None` if the key is of a kind that
    /// this crate does not know.
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
            uapi::RFUTEX_KEY_ARENA => Key::Arena { index, offset },
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
