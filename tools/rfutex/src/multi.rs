// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls with more than one word.

use crate::raw::{self, uapi};
use crate::{Atomic, Deadline, Error, Owner, Rfutex, WaitOptions, Word};
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU8;

/// A word that [`Rfutex::wake_op`] changes.
///
/// Unlike a [`Word`], it is written to; so it is made from an atomic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a>(Word<'a>);

impl<'a> Target<'a> {
    /// The word that is this atomic.
    pub fn new<T: Atomic>(atomic: &'a T) -> Self {
        Self(Word::new(atomic))
    }

    /// A word at an address.
    ///
    /// # Safety
    ///
    /// For as long as the target is used, there must be an atomic of its size at
    /// the word's address, or nothing that belongs to Rust.
    pub unsafe fn from_word(word: Word<'a>) -> Self {
        Self(word)
    }

    /// The same word, for threads of this process only.
    pub fn private(self) -> Self {
        Self(self.0.private())
    }

    /// The word, for waiting and waking.
    pub fn word(self) -> Word<'a> {
        self.0
    }
}

/// How [`Rfutex::wake_op`] changes the target. Bits of the operand above the
/// word's size must be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// The value becomes the operand.
    Set(u64),
    /// The operand is added; what does not fit the word is cut off.
    Add(u64),
    /// The operand's bits are set.
    Or(u64),
    /// The operand's bits are cleared.
    AndNot(u64),
    /// The operand's bits are flipped.
    Xor(u64),
}

impl Op {
    fn into_uapi(self) -> (u32, u64) {
        match self {
            Self::Set(operand) => (uapi::RFUTEX_OP_SET, operand),
            Self::Add(operand) => (uapi::RFUTEX_OP_ADD, operand),
            Self::Or(operand) => (uapi::RFUTEX_OP_OR, operand),
            Self::AndNot(operand) => (uapi::RFUTEX_OP_ANDN, operand),
            Self::Xor(operand) => (uapi::RFUTEX_OP_XOR, operand),
        }
    }
}

/// The comparison that the target's old value must pass for
/// [`Rfutex::wake_op`] to wake waiters there. Both values are taken as signed
/// numbers of the word's size; bits above that size must be zero nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compare {
    /// The old value is equal to this.
    Equal(u64),
    /// The old value is not equal to this.
    NotEqual(u64),
    /// The old value is less than this.
    Less(u64),
    /// The old value is less than this or equal to it.
    LessOrEqual(u64),
    /// The old value is greater than this.
    Greater(u64),
    /// The old value is greater than this or equal to it.
    GreaterOrEqual(u64),
}

impl Compare {
    fn into_uapi(self) -> (u32, u64) {
        match self {
            Self::Equal(comparand) => (uapi::RFUTEX_CMP_EQ, comparand),
            Self::NotEqual(comparand) => (uapi::RFUTEX_CMP_NE, comparand),
            Self::Less(comparand) => (uapi::RFUTEX_CMP_LT, comparand),
            Self::LessOrEqual(comparand) => (uapi::RFUTEX_CMP_LE, comparand),
            Self::Greater(comparand) => (uapi::RFUTEX_CMP_GT, comparand),
            Self::GreaterOrEqual(comparand) => (uapi::RFUTEX_CMP_GE, comparand),
        }
    }
}

/// One of the words of [`Rfutex::wait_any`], and the value that it must have.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub struct WaitEntry<'a> {
    raw: uapi::rfutex_waitv_entry,
    memory: PhantomData<&'a AtomicU8>,
}

impl<'a> WaitEntry<'a> {
    /// Sleep while `word` has the value `val`, until any wake.
    pub fn new(word: Word<'a>, val: u64) -> Self {
        Self {
            raw: uapi::rfutex_waitv_entry {
                word: word.into(),
                val,
                mask: uapi::RFUTEX_MASK_ANY,
                ..Default::default()
            },
            memory: PhantomData,
        }
    }

    /// The same, but only for wakes whose mask shares a bit with `mask`.
    pub fn mask(mut self, mask: u64) -> Self {
        self.raw.mask = mask;
        self
    }

    /// The same, but only until `owner` ends.
    pub fn owner(mut self, owner: Owner) -> Self {
        (self.raw.flags, self.raw.owner, self.raw.owner_id) = owner.into_uapi();
        self
    }
}

/// How a [`Rfutex::wait_any_or_end`] has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WaitEnd {
    /// A wake has come, on the word with this index.
    Woken(usize),
    /// The owner of the word with this index has ended.
    OwnerEnded(usize),
}

impl Rfutex {
    /// How many words [`wait_any`](Self::wait_any) takes at most.
    pub const MAX_WORDS: usize = uapi::RFUTEX_WAITV_MAX as usize;

    /// How many different owners these words can have.
    pub const MAX_OWNERS: usize = uapi::RFUTEX_WAITV_OWNERS as usize;

    /// Wakes up to `nr_wake` of the waiters on `from`, and lets up to `nr_move`
    /// more of them wait on `to` instead, all in one step. Returns how many were
    /// woken or moved.
    ///
    /// Waiters are taken in the order in which a wake would find them, whatever
    /// their masks, and they keep their masks. On `to` they queue behind the
    /// waiters that are there.
    ///
    /// # Errors
    ///
    /// - [`Error::Fault`]: there is no usable memory at one of the addresses.
    /// - [`Error::Invalid`]: a word is misaligned or has an unknown size; or a
    ///   waiter of another process would have to be moved to a word that is
    ///   private, or lies in private memory of this process, or (with
    ///   [`Hold::Inode`](crate::Hold::Inode)) lies in another file than `from`.
    ///   Nobody was woken or moved then.
    pub fn requeue(
        &self,
        from: Word<'_>,
        to: Word<'_>,
        nr_wake: u32,
        nr_move: u32,
    ) -> Result<u32, Error> {
        self.requeue_raw(from, to, None, nr_wake, nr_move)
    }

    /// Like [`requeue`](Self::requeue), but only if `from` has the value `val`,
    /// which is compared in the same step.
    ///
    /// # Errors
    ///
    /// Those of [`requeue`](Self::requeue), and
    /// - [`Error::Again`]: `from` has another value.
    /// - [`Error::Invalid`]: `val` does not fit the word.
    pub fn requeue_if(
        &self,
        from: Word<'_>,
        val: u64,
        to: Word<'_>,
        nr_wake: u32,
        nr_move: u32,
    ) -> Result<u32, Error> {
        self.requeue_raw(from, to, Some(val), nr_wake, nr_move)
    }

    fn requeue_raw(
        &self,
        from: Word<'_>,
        to: Word<'_>,
        val: Option<u64>,
        nr_wake: u32,
        nr_move: u32,
    ) -> Result<u32, Error> {
        let mut requeue = uapi::rfutex_requeue {
            from: from.into(),
            to: to.into(),
            val: val.unwrap_or(0),
            nr_wake,
            nr_move,
            flags: if val.is_some() {
                uapi::RFUTEX_REQUEUE_CMP
            } else {
                0
            },
            pad: 0,
        };
        self.call(uapi::RFUTEX_REQUEUE, &mut requeue)
    }

    /// Changes `target`, wakes up to `nr` waiters on `word`, and wakes up to
    /// `nr_target` waiters on `target` if its old value passes `compare`, all in
    /// one step. Returns how many were woken.
    ///
    /// # Errors
    ///
    /// - [`Error::Fault`]: there is no usable memory at one of the addresses, or
    ///   the target cannot be written.
    /// - [`Error::Invalid`]: a word is misaligned or has an unknown size, a value
    ///   does not fit the target, or the kernel cannot change a word of that size
    ///   on this architecture.
    pub fn wake_op(
        &self,
        word: Word<'_>,
        nr: u32,
        target: Target<'_>,
        nr_target: u32,
        op: Op,
        compare: Compare,
    ) -> Result<u32, Error> {
        let (op, operand) = op.into_uapi();
        let (cmp, comparand) = compare.into_uapi();
        let mut wake_op = uapi::rfutex_wake_op {
            word: word.into(),
            target: target.word().into(),
            operand,
            comparand,
            nr,
            nr_target,
            op,
            cmp,
        };
        // SAFETY: The file is the device, by the invariants of `Self`. Who made
        // the `Target` has answered for what is written to.
        unsafe { raw::call(self.as_fd(), uapi::RFUTEX_WAKE_OP, &mut wake_op) }
    }

    /// Sleeps while each of the words has its value, until a wake on any of them.
    /// Returns the index of the word that was woken; if there were several, that
    /// of the last.
    ///
    /// # Errors
    ///
    /// Those of [`wait_with`](Self::wait_with), for any of the words, and
    /// - [`Error::Invalid`]: there is no word, or more than
    ///   [`MAX_WORDS`](Self::MAX_WORDS).
    /// - [`Error::Os`] with `ENOMEM`: there are many words, and no memory for them.
    pub fn wait_any(
        &self,
        entries: &[WaitEntry<'_>],
        deadline: Option<Deadline>,
    ) -> Result<usize, Error> {
        match self.wait_any_or_end(entries, deadline)? {
            WaitEnd::Woken(index) => Ok(index),
            WaitEnd::OwnerEnded(_) => Err(Error::OwnerEnded),
        }
    }

    /// Like [`wait_any`](Self::wait_any), but tells which owner has ended.
    ///
    /// # Errors
    ///
    /// Those of [`wait_any`](Self::wait_any), except for [`Error::OwnerEnded`]. The words
    /// can have up to [`MAX_OWNERS`](Self::MAX_OWNERS) different owners
    /// ([`Error::Invalid`]).
    pub fn wait_any_or_end(
        &self,
        entries: &[WaitEntry<'_>],
        deadline: Option<Deadline>,
    ) -> Result<WaitEnd, Error> {
        let mut waitv = uapi::rfutex_waitv {
            entries: entries.as_ptr().addr() as u64,
            nr: entries.len().try_into().map_err(|_| Error::Invalid)?,
            entry_size: size_of::<WaitEntry<'_>>() as u32,
            deadline: deadline.map_or(0, |deadline| deadline.ns),
            clock: deadline.map_or(uapi::RFUTEX_CLOCK_NONE, |deadline| deadline.clock.into()),
            flags: 0,
        };
        let result = self.call(uapi::RFUTEX_WAITV, &mut waitv)?;
        let index = (result & !uapi::RFUTEX_WAITV_OWNERDEAD) as usize;
        Ok(if result & uapi::RFUTEX_WAITV_OWNERDEAD == 0 {
            WaitEnd::Woken(index)
        } else {
            WaitEnd::OwnerEnded(index)
        })
    }

    /// Wakes one of the waiters on `wake`, and sleeps while `word` has the value
    /// `val`.
    ///
    /// The caller is queued in the same step, so it does not miss a wake on `word`
    /// by the thread that it has woken. If `word` has another value, nobody is
    /// woken. The caller never wakes itself.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait), for both words. After
    /// [`Error::Interrupted`], which any signal causes even with `SA_RESTART`, and
    /// after [`Error::TimedOut`], the wake has been made: go on with a plain
    /// [`wait`](Self::wait).
    pub fn swap(&self, word: Word<'_>, val: u64, wake: Word<'_>) -> Result<(), Error> {
        self.swap_with(word, val, wake, WaitOptions::default())
    }

    /// Like [`swap`](Self::swap), with a mask and a deadline for the wait.
    ///
    /// # Errors
    ///
    /// Those of [`swap`](Self::swap) and [`wait_with`](Self::wait_with).
    pub fn swap_with(
        &self,
        word: Word<'_>,
        val: u64,
        wake: Word<'_>,
        options: WaitOptions,
    ) -> Result<(), Error> {
        let mut swap = options.wait_on(word, val).swap(wake.into());
        self.call(uapi::RFUTEX_SWAP, &mut swap).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn entries_are_as_the_interface_has_them() {
        let word = AtomicU32::new(0);
        let entry = WaitEntry::new(Word::new(&word).private(), 7)
            .mask(6)
            .owner(Owner::process(9));
        assert_eq!(size_of_val(&entry), size_of::<uapi::rfutex_waitv_entry>());
        assert_eq!(
            entry.raw,
            uapi::rfutex_waitv_entry {
                word: uapi::rfutex_word {
                    addr: &raw const word as u64,
                    size: 4,
                    flags: uapi::RFUTEX_WORD_PRIVATE,
                },
                val: 7,
                mask: 6,
                flags: uapi::RFUTEX_OWNER_PROCESS,
                cond: 0,
                owner_id: 0,
                owner: 9,
                pad: 0,
            }
        );
    }

    #[test]
    fn a_target_is_its_word() {
        let word = AtomicU32::new(0);
        assert_eq!(Target::new(&word).word(), Word::new(&word));
        assert!(Target::new(&word).private().word().is_private());
    }
}
