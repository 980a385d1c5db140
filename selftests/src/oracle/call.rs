// SPDX-License-Identifier: GPL-2.0
//! What an actor is told to do, with addresses and values filled in; and who carries it out.

use super::owner::Named;
use super::script::{Kind, Remap, Resolver, Size, Step, Via, Waiter};
use super::wrong::Fault;
use serde::{Deserialize, Serialize};
use std::os::fd::RawFd;

/// Who carries out calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backend {
    /// The kernel's own futexes.
    Futex,
    /// /dev/rfutex.
    Rfutex,
    /// One of the two (/dev/rfutex if `.0`), with a fault. To see it found.
    Wrong(bool, Fault),
}

impl Backend {
    /// The one without the fault.
    pub fn right(self) -> Self {
        match self {
            Self::Wrong(true, _) => Self::Rfutex,
            Self::Wrong(false, _) => Self::Futex,
            right => right,
        }
    }

    /// Whether the words are the kernel's, of 32 bits.
    pub fn is_futex(self) -> bool {
        matches!(self, Self::Futex | Self::Wrong(false, _))
    }
}

/// A word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// Its address in the actor's process.
    pub addr: u64,
    /// Its offset in the arena, if it is in one. A private word has its address only.
    pub offset: Option<u64>,
    /// Only within this process.
    pub private: bool,
}

/// A deadline in the terms of both interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// A `CLOCK_*` number.
    pub clock: i32,
    /// Nanoseconds on it.
    pub ns: i64,
}

/// A wait on one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The word.
    pub at: At,
    /// Its value.
    pub val: u32,
    /// Who may wake it.
    pub mask: u64,
    /// Until when.
    pub deadline: Option<Deadline>,
}

/// What `WAKE_OP` does to a word, as futex(2) has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    pub op: u8,
    pub shift: bool,
    pub operand: i16,
    pub cmp: u8,
    pub comparand: i16,
}

impl Op {
    /// What a [`Step::WakeOp`] does, as words of this size can have it; `None` for other steps.
    pub fn of(step: &Step, size: Size) -> Option<Self> {
        let Step::WakeOp {
            op,
            operand,
            shift,
            cmp,
            comparand,
            ..
        } = *step
        else {
            return None;
        };
        let twelve_bits = |value: i16| (value << 4) >> 4;
        let missing = 32 - 8 * size.bytes().min(4) as i16;
        let (operand, comparand) = if missing == 0 {
            (operand, twelve_bits(comparand))
        } else if shift {
            (missing + (operand & 31) % (32 - missing), 0)
        } else {
            (0, 0)
        };
        Some(Self {
            op: op % 8,
            shift,
            operand: if shift { operand } else { twelve_bits(operand) },
            cmp: cmp % 16,
            comparand,
        })
    }
}

/// What a call returns that has begun to wait, or still waits, and nobody sleeps in it.
pub const ARMED: i64 = i64::MAX;

/// A call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    Wait {
        wait: Wait,
        via: Via,
    },
    /// Has something else than a task wait.
    Arm {
        wait: Wait,
        waiter: Waiter,
    },
    /// What the wait of [`Arm`](Self::Arm) has come to. Once it has come to something, it is over.
    Ask,
    /// Ends that wait.
    Remove,
    /// Closes what it belongs to.
    Close,
    Wake {
        at: At,
        nr: u32,
        mask: u64,
        via: Via,
    },
    Short {
        at: At,
        all: bool,
    },
    Wakev {
        /// Words, whom to wake there and how many.
        entries: Vec<(At, u64, u32)>,
    },
    Requeue {
        from: At,
        to: At,
        val: Option<u32>,
        nr_wake: u32,
        nr_move: u32,
        via: Via,
    },
    WakeOp {
        word: At,
        target: At,
        nr: u32,
        nr_target: u32,
        op: Op,
    },
    Waitv {
        entries: Vec<(At, u32)>,
        deadline: Option<Deadline>,
    },
    Swap {
        wait: Wait,
        wake: At,
    },
    /// A plain store to memory that can be written to.
    Store {
        addr: u64,
        value: u32,
    },
    /// `madvise(MADV_DONTNEED)`
    Forget {
        addr: u64,
    },
    /// `madvise(MADV_REMOVE)`
    Punch {
        addr: u64,
    },
    /// Changes what the process has mapped of the arena.
    Remap {
        addr: u64,
        how: Remap,
    },
    /// Makes the process have a table: the file with this number, or one that was sent.
    Adopt {
        number: Option<RawFd>,
    },
    /// How many wait on these words, as rfutex says.
    Count {
        words: Vec<At>,
    },
    /// A part in a race.
    Race(Race),
    /// A real-time priority, or none with 0.
    Priority {
        priority: u8,
    },
}

impl Call {
    /// Whether it may have woken somebody, if it returned this; or if it sleeps, with `None`.
    pub fn may_have_woken(&self, result: Option<i64>) -> bool {
        match self {
            Self::Wake { .. }
            | Self::Short { .. }
            | Self::Wakev { .. }
            | Self::Requeue { .. }
            | Self::WakeOp { .. } => result != Some(0),
            Self::Swap { .. } => true,
            _ => false,
        }
    }
}

/// What an actor does in a race.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Race {
    /// Its part.
    pub role: Role,
    /// On which words, and what memory each is in.
    pub words: Vec<(At, Kind)>,
    /// Some of those who wait are of another process.
    pub foreign: bool,
    /// A thread that sleeps on a word of a file holds the inode.
    pub holds: bool,
    /// WAKE_OP changes words of this size.
    pub updates: bool,
    /// Wakers take pages away.
    pub removes: bool,
    /// What it draws its calls from.
    pub seed: u64,
}

impl Race {
    /// Whether rfutex may refuse to move waiters, because some may be of another process.
    pub fn may_be_refused(&self, backend: Backend, call: &Call) -> bool {
        let Call::Requeue {
            from, to, nr_move, ..
        } = call
        else {
            return false;
        };
        let kind = |at: &At| {
            let word = self.words.iter().find(|(other, _)| other == at);
            word.expect("one of the words").1
        };
        !backend.is_futex()
            && self.foreign
            && *nr_move > 0
            && !from.private
            && kind(from).keeps_from(kind(to), self.holds)
    }
}

/// A part in a race.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Waits again and again.
    Waiter {
        /// If it waits on one word and without a deadline, it is by this.
        waiter: Waiter,
        /// Until the word at this address is not zero.
        stop: u64,
        /// On one word only.
        single: bool,
        /// With all kinds of masks.
        masked: bool,
    },
    /// Wakes, and moves.
    Waker,
}

/// How a call is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Means {
    /// By whom.
    pub backend: Backend,
    /// The size of words on /dev/rfutex.
    pub size: Size,
    /// On which file there.
    pub device: Device,
    /// Whom waits of a thread name as the owner there.
    pub owner: Named,
}

/// A file of rfutex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Device {
    /// The device itself, with this resolver.
    Shared(Resolver),
    /// The table that the process was made to have.
    Own,
}

/// A call with its context, as it goes to an actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// How.
    pub means: Means,
    /// What.
    pub call: Call,
}
