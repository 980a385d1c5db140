// SPDX-License-Identifier: GPL-2.0

//! The requests that have more than one word.

use super::{
    check_deadline,
    check_mask,
    check_owner,
    check_value,
    check_word,
    check_zero,
    entries::Entries,
    Argument,
    Wait, //
};
use crate::{
    bindings::{
        self as uapi,
        rfutex_requeue,
        rfutex_swap,
        rfutex_wait,
        rfutex_waitv,
        rfutex_waitv_entry,
        rfutex_wake_op, //
    },
    owner,
    time::Deadline,
    word::{
        Size,
        Word, //
    }, //
};
use core::mem::offset_of;
use kernel::{
    prelude::*,
    static_assert, //
};

static_assert!(size_of::<rfutex_requeue>() == 56);
static_assert!(size_of::<rfutex_wake_op>() == 64);
static_assert!(size_of::<rfutex_waitv_entry>() == 56);
static_assert!(size_of::<rfutex_waitv>() == 32);
static_assert!(size_of::<rfutex_swap>() == 80);

/// The request of `RFUTEX_REQUEUE`.
pub(crate) struct Requeue {
    pub(crate) from: Word,
    pub(crate) to: Word,
    /// The value that `from` must have; `None` if it may have any.
    pub(crate) val: Option<u64>,
    pub(crate) nr_wake: u32,
    pub(crate) nr_move: u32,
}

impl Requeue {
    /// Reads and checks the request.
    ///
    /// # Errors
    ///
    /// As [`Wait::read`].
    ///
    /// # Context
    ///
    /// As [`Wait::read`].
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        let raw: rfutex_requeue = argument.read()?;
        check_zero(raw.pad)?;
        check_zero(raw.flags & !uapi::RFUTEX_REQUEUE_CMP)?;
        let from = check_word(&raw.from)?;
        let val = check_value(from, raw.val)?;
        let compare = raw.flags & uapi::RFUTEX_REQUEUE_CMP != 0;
        if !compare && val != 0 {
            return Err(EINVAL);
        }
        Ok(Self {
            from,
            to: check_word(&raw.to)?,
            val: compare.then_some(val),
            nr_wake: raw.nr_wake,
            nr_move: raw.nr_move,
        })
    }
}

/// What `RFUTEX_WAKE_OP` does to the target word.
#[derive(Clone, Copy)]
enum Op {
    Set,
    Add,
    Or,
    AndNot,
    Xor,
}

/// How `RFUTEX_WAKE_OP` compares the old value of the target word.
#[derive(Clone, Copy)]
enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The request of `RFUTEX_WAKE_OP`.
pub(crate) struct WakeOp {
    pub(crate) word: Word,
    pub(crate) target: Word,
    pub(crate) nr: u32,
    pub(crate) nr_target: u32,
    op: Op,
    operand: u64,
    compare: Compare,
    comparand: u64,
}

impl WakeOp {
    /// Reads and checks the request.
    ///
    /// # Errors
    ///
    /// As [`Wait::read`].
    ///
    /// # Context
    ///
    /// As [`Wait::read`].
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        let raw: rfutex_wake_op = argument.read()?;
        let target = check_word(&raw.target)?;
        Ok(Self {
            word: check_word(&raw.word)?,
            target,
            nr: raw.nr,
            nr_target: raw.nr_target,
            op: match raw.op {
                uapi::RFUTEX_OP_SET => Op::Set,
                uapi::RFUTEX_OP_ADD => Op::Add,
                uapi::RFUTEX_OP_OR => Op::Or,
                uapi::RFUTEX_OP_ANDN => Op::AndNot,
                uapi::RFUTEX_OP_XOR => Op::Xor,
                _ => return Err(EINVAL),
            },
            operand: check_value(target, raw.operand)?,
            compare: match raw.cmp {
                uapi::RFUTEX_CMP_EQ => Compare::Equal,
                uapi::RFUTEX_CMP_NE => Compare::NotEqual,
                uapi::RFUTEX_CMP_LT => Compare::Less,
                uapi::RFUTEX_CMP_LE => Compare::LessOrEqual,
                uapi::RFUTEX_CMP_GT => Compare::Greater,
                uapi::RFUTEX_CMP_GE => Compare::GreaterOrEqual,
                _ => return Err(EINVAL),
            },
            comparand: check_value(target, raw.comparand)?,
        })
    }

    /// The new value of the target, whose old value is `old`. The caller has to truncate it to the
    /// size of the target.
    pub(crate) fn apply(&self, old: u64) -> u64 {
        match self.op {
            Op::Set => self.operand,
            Op::Add => old.wrapping_add(self.operand),
            Op::Or => old | self.operand,
            Op::AndNot => old & !self.operand,
            Op::Xor => old ^ self.operand,
        }
    }

    /// Whether the comparison is true of the target's old value. Both values are compared as signed
    /// numbers of the size of the target.
    pub(crate) fn compares(&self, old: u64) -> bool {
        let old = sign_extend(self.target.size(), old);
        let comparand = sign_extend(self.target.size(), self.comparand);
        match self.compare {
            Compare::Equal => old == comparand,
            Compare::NotEqual => old != comparand,
            Compare::Less => old < comparand,
            Compare::LessOrEqual => old <= comparand,
            Compare::Greater => old > comparand,
            Compare::GreaterOrEqual => old >= comparand,
        }
    }
}

/// The number of the given size that `value` is, taken as signed.
fn sign_extend(size: Size, value: u64) -> i64 {
    let above = 64 - size.bits();
    ((value << above) as i64) >> above
}

/// The request of `RFUTEX_WAITV`.
pub(crate) struct Waitv {
    pub(crate) deadline: Option<Deadline>,
    entries: Entries<rfutex_waitv_entry>,
}

/// An entry of `RFUTEX_WAITV`, which describes one word.
pub(crate) struct WaitvEntry {
    pub(crate) word: Word,
    pub(crate) val: u64,
    pub(crate) mask: u64,
    pub(crate) owner: Option<owner::Name>,
}

impl Waitv {
    /// Reads and checks the request, but not its entries.
    ///
    /// # Errors
    ///
    /// As [`Wait::read`].
    ///
    /// # Context
    ///
    /// As [`Wait::read`].
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        let raw: rfutex_waitv = argument.read()?;
        check_zero(raw.flags)?;
        Ok(Self {
            deadline: check_deadline(raw.clock, raw.deadline)?,
            entries: Entries::new(
                raw.entries,
                // The first version had no owner.
                offset_of!(rfutex_waitv_entry, owner_id),
                raw.nr,
                uapi::RFUTEX_WAITV_MAX,
                raw.entry_size,
            )?,
        })
    }

    /// The number of entries.
    pub(crate) fn nr(&self) -> usize {
        self.entries.nr()
    }

    /// Reads and checks the entry with this `index`.
    ///
    /// # Errors
    ///
    /// As [`Wait::read`].
    ///
    /// # Context
    ///
    /// As [`Wait::read`].
    #[inline]
    pub(crate) fn entry(&self, index: usize) -> Result<WaitvEntry> {
        let raw = self.entries.read(index)?;
        check_zero(raw.cond | raw.pad)?;
        let word = check_word(&raw.word)?;
        Ok(WaitvEntry {
            word,
            val: check_value(word, raw.val)?,
            mask: check_mask(raw.mask)?,
            owner: check_owner(raw.flags, raw.owner, raw.owner_id)?,
        })
    }
}

/// The request of `RFUTEX_SWAP`.
#[derive(Clone, Copy)]
pub(crate) struct Swap {
    pub(crate) wait: Wait,
    pub(crate) wake: Word,
}

impl Swap {
    /// Reads and checks the request.
    ///
    /// # Errors
    ///
    /// As [`Wait::read`].
    ///
    /// # Context
    ///
    /// As [`Wait::read`].
    #[inline]
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        let raw: rfutex_swap = argument.read()?;
        // It has the fields of a wait, but no `rfutex_wait`, which may grow.
        let wait = rfutex_wait {
            word: raw.word,
            val: raw.val,
            mask: raw.mask,
            deadline: raw.deadline,
            clock: raw.clock,
            flags: raw.flags,
            cond: raw.cond,
            owner: raw.owner,
            owner_id: raw.owner_id,
        };
        Ok(Self {
            wait: Wait::new(&wait)?,
            wake: check_word(&raw.wake)?,
        })
    }
}
