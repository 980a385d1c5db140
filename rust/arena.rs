// SPDX-License-Identifier: GPL-2.0

//! Arenas: memory of a table, whose words are found by their offset.
//!
//! Whoever has the file of the table can map the memory, but need not. The key of a word in it
//! consists of the arena's number and the offset. So to find it, no page and no inode is looked up,
//! nothing is faulted in, and nothing has to be held.

#![deny(unsafe_code)]

#[cfg(RFUTEX_KUNIT)]
mod tests;

use crate::{
    key::KeyId,
    mm::{
        number::Number,
        pages::Pages,
        task,
        uaccess::Mismatch, //
    },
    word::Word, //
};
use core::ptr::NonNull;
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// The memory of a table.
pub(crate) struct Arena {
    pages: Pages,
    number: Number,
}

impl Arena {
    /// Makes an arena of `nr_pages` pages, which are filled with zeros.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no memory.
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep. The memory is charged to the memory cgroup of the
    /// current task.
    pub(crate) fn new(nr_pages: usize) -> Result<Self> {
        Ok(Self {
            pages: Pages::new(nr_pages)?,
            number: Number::new(),
        })
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.pages.size()
    }

    /// The key of a word in this arena.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the word lies beyond the end.
    #[inline]
    pub(crate) fn key(&self, word: Word) -> Result<KeyId> {
        if word.offset() >= self.pages.size() {
            return Err(EFAULT);
        }
        Ok(KeyId::in_arena(self.number, word.offset()))
    }

    /// Compares a word in this arena with `val`.
    ///
    /// # Errors
    ///
    /// [`Mismatch::Changed`]: the word has another value.
    ///
    /// # Context
    ///
    /// Any, locks held or not. Does not sleep.
    #[inline]
    pub(crate) fn compare(&self, word: Word, val: u64) -> Result<(), Mismatch> {
        if self.pages.load(word) == Some(val) {
            Ok(())
        } else {
            Err(Mismatch::Changed)
        }
    }

    /// The value of a word in this arena; `None` if it lies beyond the end.
    #[inline]
    pub(crate) fn load(&self, word: Word) -> Option<u64> {
        self.pages.load(word)
    }

    /// Calls `f` with the index and the value of each of the first `nr` words of 64 bits, shifted by
    /// `shift` bits, where that is not 0. Words that were 0 for a moment may be left out.
    ///
    /// # Context
    ///
    /// Process context. Does not sleep, unless `f` does; but it may let other tasks run.
    pub(crate) fn for_each_used(&self, nr: usize, shift: u32, mut f: impl FnMut(usize, u64)) {
        /// Of so many words, most are looked at together.
        const TOGETHER: usize = 8;
        let mut look_at_each = |first: usize, words: &[Atomic<i64>]| {
            for (index, word) in words.iter().enumerate() {
                let value = word.load(Relaxed) as u64 >> shift;
                if value != 0 {
                    f(first + index, value);
                }
            }
        };
        let words = self.pages.words(nr);
        let mut groups = words.chunks_exact(TOGETHER);
        for (group, words) in groups.by_ref().enumerate() {
            if group % 512 == 0 {
                task::cond_resched();
            }
            if words.iter().fold(0, |all, word| all | word.load(Relaxed)) as u64 >> shift != 0 {
                look_at_each(group * TOGETHER, words);
            }
        }
        let rest = groups.remainder();
        look_at_each(words.len() - rest.len(), rest);
    }

    /// Atomically replaces the value of a word in this arena by `new(value)`. Returns the value that
    /// the word had.
    ///
    /// # Errors
    ///
    /// `EAGAIN`: others changed the word each time before this one could. `EFAULT`: the word lies
    /// beyond the end.
    ///
    /// # Context
    ///
    /// Any, locks held or not. Does not sleep.
    pub(crate) fn update(&self, word: Word, new: impl Fn(u64) -> u64) -> Result<u64> {
        self.pages.update(word, new)
    }

    /// The page with this `index`; `None` if it lies beyond the end.
    pub(crate) fn page(&self, index: usize) -> Option<NonNull<u8>> {
        self.pages.page(index)
    }
}
