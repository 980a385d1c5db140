// SPDX-License-Identifier: GPL-2.0
//! Faults that a backend can be given, to see that the oracle finds them.

use super::call::{At, Call};
use super::script::{ANY, Step, Via};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// `FUTEX_OP_CMP_*`, as an operation has them.
const LT: u8 = libc::FUTEX_OP_CMP_LT as u8;
const LE: u8 = libc::FUTEX_OP_CMP_LE as u8;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// A wake reaches every waiter.
    MaskIgnored,
    /// A wake wakes one more.
    OneMore,
    /// A requeue moves one less.
    MovesOneLess,
    /// A requeue that finds nobody is refused.
    RefusesNone,
    /// `WAKE_OP` takes "less" for "less or equal".
    LessOrEqual,
    /// `WAKE_OP` takes the comparand as unsigned.
    Unsigned,
    /// A private wake is a shared one.
    PrivateIgnored,
    /// A wait does not look at the word.
    ValueIgnored,
    /// A deadline that passed is a wake.
    TimeoutIsWake,
    /// `WAITV` returns the next index.
    WrongIndex,
    /// `SWAP` wakes nobody.
    SwapForgets,
}

impl Fault {
    /// All of them, with their names.
    pub const ALL: &[(&str, Self)] = &[
        ("mask_ignored", Self::MaskIgnored),
        ("one_more", Self::OneMore),
        ("moves_one_less", Self::MovesOneLess),
        ("refuses_none", Self::RefusesNone),
        ("less_or_equal", Self::LessOrEqual),
        ("unsigned", Self::Unsigned),
        ("private_ignored", Self::PrivateIgnored),
        ("value_ignored", Self::ValueIgnored),
        ("timeout_is_wake", Self::TimeoutIsWake),
        ("wrong_index", Self::WrongIndex),
        ("swap_forgets", Self::SwapForgets),
    ];

    /// Whether a step may go wrong by it. A script that shows it has such a step.
    pub fn concerns(self, step: &Step) -> bool {
        match self {
            Self::MaskIgnored => matches!(step, Step::Wake { mask, .. } if *mask != ANY),
            Self::OneMore | Self::PrivateIgnored => {
                matches!(step, Step::Wake { .. } | Step::Swap { .. })
            }
            Self::MovesOneLess | Self::RefusesNone => matches!(step, Step::Requeue { .. }),
            Self::LessOrEqual => matches!(step, Step::WakeOp { cmp: LT, .. }),
            Self::Unsigned => matches!(step, Step::WakeOp { comparand, .. } if *comparand < 0),
            Self::ValueIgnored => matches!(step, Step::Wait { .. } | Step::Swap { .. }),
            Self::TimeoutIsWake => matches!(
                step,
                Step::Wait { .. } | Step::Waitv { .. } | Step::Swap { .. }
            ),
            Self::WrongIndex => matches!(step, Step::Waitv { .. }),
            Self::SwapForgets => matches!(step, Step::Swap { .. }),
        }
    }
}

/// Carries out `call` by `right`, but with the fault.
pub fn call(fault: Fault, call: &Call, right: &dyn Fn(&Call) -> i64) -> i64 {
    let mut changed = call.clone();
    match (fault, &mut changed) {
        (Fault::MaskIgnored, Call::Wake { mask, .. }) if *mask != 0 => *mask = ANY,
        (Fault::OneMore, Call::Wake { nr, .. }) if *nr < 1000 => *nr += 1,
        (Fault::PrivateIgnored, Call::Wake { at, .. }) => at.private = false,
        (Fault::MovesOneLess, Call::Requeue { nr_move, .. }) => {
            *nr_move = nr_move.saturating_sub(1);
        }
        (Fault::SwapForgets, Call::Swap { wait, .. }) => {
            changed = Call::Wait {
                wait: *wait,
                via: Via::Futex2,
            };
        }
        (Fault::LessOrEqual, Call::WakeOp { op, .. }) if op.cmp == LT => op.cmp = LE,
        // Above every negative number is the greatest one.
        (Fault::Unsigned, Call::WakeOp { op, .. }) if op.comparand < 0 => op.comparand = 0x7ff,
        (Fault::ValueIgnored, Call::Wait { wait, .. }) => {
            if let Some(value) = value_at(wait.at) {
                wait.val = value;
            }
        }
        _ => (),
    }
    let result = right(&changed);
    match (fault, call) {
        (Fault::RefusesNone, Call::Requeue { .. }) if result == 0 => -i64::from(libc::EINVAL),
        (Fault::TimeoutIsWake, _) if result == -i64::from(libc::ETIMEDOUT) => 0,
        (Fault::WrongIndex, Call::Waitv { .. }) if result >= 0 => result + 1,
        _ => result,
    }
}

/// What a word holds, where there is one.
fn value_at(at: At) -> Option<u32> {
    let mut value = [0; 4];
    let memory = File::open("/proc/self/mem").ok()?;
    memory.read_exact_at(&mut value, at.addr).ok()?;
    Some(u32::from_ne_bytes(value))
}
