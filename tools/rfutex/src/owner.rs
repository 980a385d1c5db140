// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads and processes whose end also ends a wait.

use crate::raw::uapi;
use crate::{Error, Rfutex};
use std::num::NonZeroU64;

/// A thread or a process that has what somebody waits for: a lock, for instance. A wait
/// that names it ends with it ([`Error::OwnerEnded`]).
///
/// It is named by its number, as [`std::process::id`] and gettid(2) give it, in the
/// caller's pid namespace. Numbers are used again. The id, which [`Rfutex::identity`] tells
/// each thread, is not: with it, nobody else is taken for the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    kind: u32,
    number: u32,
    id: u64,
}

impl Owner {
    /// The thread with this number. It ends when it exits, and when it executes a program.
    pub fn thread(number: u32) -> Self {
        Self {
            kind: uapi::RFUTEX_OWNER_THREAD,
            number,
            id: 0,
        }
    }

    /// The process with this number. It ends when its last thread does.
    pub fn process(number: u32) -> Self {
        Self {
            kind: uapi::RFUTEX_OWNER_PROCESS,
            number,
            id: 0,
        }
    }

    /// The same, but nobody else who has the number later.
    pub fn with_id(self, id: NonZeroU64) -> Self {
        Self {
            id: id.get(),
            ..self
        }
    }

    /// The number.
    pub fn number(self) -> u32 {
        self.number
    }

    /// The id, if it is known. It is below 2^62.
    pub fn id(self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.id)
    }

    /// The kind, the number and the id.
    pub(crate) fn into_uapi(self) -> (u32, u32, u64) {
        (self.kind, self.number, self.id)
    }
}

/// What a thread is as an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The thread itself, while it runs this program.
    pub thread: Owner,
    /// Its process.
    pub process: Owner,
}

impl Rfutex {
    /// What the calling thread is as an owner, with its id and that of its process.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`]: the module has no owners.
    pub fn identity(&self) -> Result<Identity, Error> {
        let mut ids = uapi::rfutex_owner_id::default();
        self.call(uapi::RFUTEX_OWNER_ID, &mut ids)?;
        Ok(Identity {
            thread: Owner {
                id: ids.thread_id,
                ..Owner::thread(ids.thread)
            },
            process: Owner {
                id: ids.process_id,
                ..Owner::process(ids.process)
            },
        })
    }
}
