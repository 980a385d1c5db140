// SPDX-License-Identifier: GPL-2.0
//! Faults that a backend can be given, to see that the oracle finds them.

use super::backend::{CANCELED, priority, set_priority};
use super::call::{At, Call};
use super::script::{ANY, Kind, Scenario, Step, Via};
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
    /// Every wake reaches a watch or a request.
    ArmedForAll,
    /// What was removed looks as if it had been woken.
    RemovedIsWoken,
    /// What was woken, and then removed, looks as if it had not been woken.
    RemovedIsLost,
    /// Tasks go before watches and requests.
    TasksFirst,
    /// A wake finds nobody in an arena.
    DeafArena,
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
        ("armed_for_all", Self::ArmedForAll),
        ("removed_is_woken", Self::RemovedIsWoken),
        ("removed_is_lost", Self::RemovedIsLost),
        ("tasks_first", Self::TasksFirst),
        ("deaf_arena", Self::DeafArena),
    ];

    /// Whether a step of a scenario may go wrong by it. A script that shows it has such a step.
    pub fn concerns(self, scenario: &Scenario, step: &Step) -> bool {
        let mut steps = scenario.steps.iter();
        let arms = steps.any(|step| scenario.arms(step));
        match self {
            Self::MaskIgnored => matches!(step, Step::Wake { mask, .. } if *mask != ANY),
            Self::OneMore | Self::PrivateIgnored => matches!(
                step,
                Step::Wake { .. } | Step::Swap { .. } | Step::Remove { wake: Some(_), .. }
            ),
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
            Self::ArmedForAll => {
                scenario.arms(step) && matches!(step, Step::Wait { mask, .. } if *mask != ANY)
            }
            Self::RemovedIsWoken => matches!(step, Step::Remove { .. }) && arms,
            Self::RemovedIsLost => matches!(step, Step::Remove { wake: Some(_), .. }) && arms,
            Self::TasksFirst => {
                let waits = matches!(
                    step,
                    Step::Wait { .. } | Step::Waitv { .. } | Step::Swap { .. }
                );
                waits && !scenario.arms(step) && arms
            }
            Self::DeafArena => {
                let in_arena = |word: u8| scenario.word(word).kind == Kind::Arena;
                matches!(step, Step::Wake { word, private: false, .. } if in_arena(*word))
            }
        }
    }
}

/// Carries out `call` by `right`, but with the fault.
pub fn call(fault: Fault, call: &Call, right: &dyn Fn(&Call) -> i64) -> i64 {
    let mut changed = call.clone();
    match (fault, &mut changed) {
        (Fault::DeafArena, Call::Wake { at, nr, .. }) if at.offset.is_some() && !at.private => {
            *nr = 0;
        }
        (Fault::MaskIgnored, Call::Wake { mask, .. }) if *mask != 0 => *mask = ANY,
        (Fault::OneMore, Call::Wake { nr, .. }) if *nr < 1000 => *nr += 1,
        (Fault::PrivateIgnored, Call::Wake { at, .. }) => at.private = false,
        (Fault::MovesOneLess, Call::Requeue { nr_move, .. }) => {
            *nr_move = nr_move.saturating_sub(1);
        }
        (Fault::ArmedForAll, Call::Arm { wait, .. }) if wait.mask != 0 => wait.mask = ANY,
        (Fault::SwapForgets, Call::Swap { wait, .. }) => {
            changed = Call::Wait {
                wait: *wait,
                via: Via::Futex2,
            };
        }
        (Fault::LessOrEqual, Call::WakeOp { op, .. }) if op.cmp == LT => op.cmp = LE,
        // Above every negative number is the greatest one.
        (Fault::Unsigned, Call::WakeOp { op, .. }) if op.comparand < 0 => op.comparand = 0x7ff,
        (Fault::ValueIgnored, Call::Wait { wait, .. } | Call::Arm { wait, .. }) => {
            if let Some(value) = value_at(wait.at) {
                wait.val = value;
            }
        }
        _ => (),
    }
    let result = match (fault, call) {
        (Fault::TasksFirst, Call::Wait { .. } | Call::Waitv { .. } | Call::Swap { .. }) => {
            more_urgently(|| right(&changed))
        }
        _ => right(&changed),
    };
    match (fault, call) {
        (Fault::RefusesNone, Call::Requeue { .. }) if result == 0 => -i64::from(libc::EINVAL),
        (Fault::TimeoutIsWake, _) if result == -i64::from(libc::ETIMEDOUT) => 0,
        (Fault::WrongIndex, Call::Waitv { .. }) if result >= 0 => result + 1,
        (Fault::RemovedIsWoken, Call::Remove) if result == CANCELED => 0,
        (Fault::RemovedIsLost, Call::Remove) if result == 0 => CANCELED,
        _ => result,
    }
}

/// Does something with the next higher priority: above all normal threads, and as real-time threads
/// that do the same, among each other.
fn more_urgently<T>(work: impl FnOnce() -> T) -> T {
    let usual = priority();
    set_priority(usual + 1).expect("a real-time thread");
    let result = work();
    set_priority(usual).expect("the thread as it was");
    result
}

/// What a word holds, where there is one.
fn value_at(at: At) -> Option<u32> {
    let mut value = [0; 4];
    let memory = File::open("/proc/self/mem").ok()?;
    memory.read_exact_at(&mut value, at.addr).ok()?;
    Some(u32::from_ne_bytes(value))
}
