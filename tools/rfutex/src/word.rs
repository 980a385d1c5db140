// SPDX-License-Identifier: MIT OR Apache-2.0
//! The word that a call is about.

use crate::raw::uapi;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

mod sealed {
    pub trait Sealed {}
}

/// The atomic types that are words: `AtomicU8`, `AtomicU16`, `AtomicU32` and
/// `AtomicU64`.
pub trait Atomic: sealed::Sealed {}

macro_rules! atomics {
    ($($atomic:ty),*) => {$(
        impl sealed::Sealed for $atomic {}
        impl Atomic for $atomic {}
    )*};
}

atomics!(AtomicU8, AtomicU16, AtomicU32, AtomicU64);

/// A word: its address, its size, and which threads can meet on it.
///
/// A new `Word` is *shared*: all threads meet on it that have the same memory
/// mapped. A [private](Self::private) word is for the threads of one process only;
/// it is cheaper. A word [in an arena](Self::in_arena) is for those who have its
/// table, and is the cheapest. A waiter on the one is never found by a wake on the
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    addr: u64,
    size: u32,
    flags: u32,
    memory: PhantomData<&'a AtomicU8>,
}

impl<'a> Word<'a> {
    /// The word that is this atomic.
    pub fn new<T: Atomic>(atomic: &'a T) -> Self {
        Self {
            memory: PhantomData,
            ..Word::at(
                std::ptr::from_ref(atomic).addr() as u64,
                size_of::<T>() as u32,
            )
        }
    }

    /// The word of `size` bytes at the address `addr`.
    ///
    /// Nothing is checked here. The kernel checks address and size in each call,
    /// and never writes to the word. (A word that it writes to is a
    /// [`Target`](crate::Target).)
    pub fn at(addr: u64, size: u32) -> Word<'static> {
        Word {
            addr,
            size,
            flags: 0,
            memory: PhantomData,
        }
    }

    /// The word of `size` bytes at `offset` in the [arena](crate::Arena) of the table
    /// on which the call is made.
    ///
    /// Nothing is checked here, as in [`at`](Self::at).
    pub fn in_arena(offset: u64, size: u32) -> Word<'static> {
        Word {
            addr: offset,
            size,
            flags: uapi::RFUTEX_WORD_ARENA,
            memory: PhantomData,
        }
    }

    /// The same word, for threads of this process only. (A word in an arena is never
    /// private, so that this is another word then, at an address.)
    pub fn private(self) -> Self {
        Self {
            flags: uapi::RFUTEX_WORD_PRIVATE,
            ..self
        }
    }

    /// The same word, for all threads that have its memory mapped.
    pub fn shared(self) -> Self {
        Self {
            flags: self.flags & !uapi::RFUTEX_WORD_PRIVATE,
            ..self
        }
    }

    /// The address in this process, or the offset in the arena.
    pub fn addr(self) -> u64 {
        self.addr
    }

    /// The size in bytes.
    pub fn size(self) -> u32 {
        self.size
    }

    /// Whether the word is named by its offset in an arena.
    pub fn is_in_arena(self) -> bool {
        self.flags & uapi::RFUTEX_WORD_ARENA != 0
    }

    /// Whether only threads of this process meet here.
    pub fn is_private(self) -> bool {
        self.flags & uapi::RFUTEX_WORD_PRIVATE != 0
    }
}

impl From<Word<'_>> for uapi::rfutex_word {
    fn from(word: Word<'_>) -> Self {
        Self {
            addr: word.addr,
            size: word.size,
            flags: word.flags,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_and_address_of_the_atomic() {
        let (byte, long) = (AtomicU8::new(0), AtomicU64::new(0));
        assert_eq!(Word::new(&byte).size(), 1);
        assert_eq!(Word::new(&long).size(), 8);
        assert_eq!(Word::new(&long).addr(), &raw const long as u64);
    }

    #[test]
    fn private_and_back() {
        let word = Word::at(8, 4);
        assert!(!word.is_private());
        assert!(word.private().is_private());
        assert_eq!(word.private().shared(), word);
        assert_eq!(
            uapi::rfutex_word::from(word.private()),
            uapi::rfutex_word {
                addr: 8,
                size: 4,
                flags: uapi::RFUTEX_WORD_PRIVATE
            }
        );
    }
}
