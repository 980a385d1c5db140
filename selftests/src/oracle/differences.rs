// SPDX-License-Identifier: GPL-2.0
//! What rfutex does otherwise than futex(2), and means to. The table for people is
//! Documentation/differences.rst, with the same names.

use super::memory::misalignment;
use super::script::{Clock, Entry, Handler, Kind, Scenario, Step, Until, Via};
use super::trace::{Outcome, Record};
use crate::harness::holds_inode;
use nix::errno::Errno;
use std::collections::HashMap;

/// A step of which the two made different things.
#[derive(Debug)]
pub struct Case<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The step.
    pub step: &'a Step,
    /// Who slept before it, and by which step.
    pub asleep: &'a HashMap<usize, &'a Step>,
    /// What futex(2) made of it.
    pub futex: &'a Record,
    /// What rfutex made of it.
    pub rfutex: &'a Record,
}

/// How the oracle knows a difference.
#[derive(Clone, Copy, Debug)]
pub enum Knows {
    /// The step shows it.
    Step(fn(&Case<'_>) -> bool),
    /// It depends on how words hash: the conductor looks whether they collide.
    Hash,
    /// No scenario has what it is about.
    NotDrawn,
}

/// An intended difference.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// Its name in the table.
    pub name: &'static str,
    /// How it is known.
    pub knows: Knows,
    /// It is there only where a waiter holds the inode of its word.
    only_if_held: bool,
}

impl Difference {
    const fn new(name: &'static str, knows: Knows) -> Self {
        Self {
            name,
            knows,
            only_if_held: false,
        }
    }

    const fn if_held(self) -> Self {
        Self {
            only_if_held: true,
            ..self
        }
    }

    /// Whether it is there where no scenario has a table of its own, with this module as it was
    /// loaded.
    pub fn is_there(&self) -> bool {
        !self.only_if_held || holds_inode()
    }
}

const fn step(name: &'static str, known: fn(&Case<'_>) -> bool) -> Difference {
    Difference::new(name, Knows::Step(known))
}

const fn not_drawn(name: &'static str) -> Difference {
    Difference::new(name, Knows::NotDrawn)
}

/// All of them, in the order of the table.
pub const DIFFERENCES: &[Difference] = &[
    not_drawn("word-size"),
    step("mask-width", mask_width),
    step("nr-zero", nr_zero),
    step("nr-sign", nr_sign),
    step("unaligned-short", unaligned_short),
    step("boottime", boottime),
    not_drawn("relative-timeout"),
    step("restart-deadline", restart_deadline),
    step("requeue-flags", requeue_flags),
    step("requeue-foreign", requeue_foreign),
    step("requeue-file", requeue_file).if_held(),
    Difference::new("requeue-order", Knows::Hash),
    step("request-priority", request_priority),
    not_drawn("wake-op-operand"),
    step("wake-op-unknown", wake_op_unknown),
    step("error-order", error_order),
    step("arena-memory", arena_memory),
    not_drawn("file-replaced"),
    not_drawn("waitv-null"),
    not_drawn("waitv-mask"),
    not_drawn("swap"),
    not_drawn("wakev"),
    not_drawn("watches"),
    not_drawn("watch-repeat"),
    not_drawn("watch-remove"),
    not_drawn("io-uring"),
    not_drawn("numa"),
    not_drawn("unknown-command"),
    not_drawn("tables"),
    not_drawn("own-table"),
    not_drawn("owner"),
    not_drawn("arena"),
    not_drawn("permission"),
    not_drawn("thread-exit"),
    not_drawn("priority-inheritance"),
    not_drawn("robust-unlock"),
    not_drawn("internal-files"),
    not_drawn("hash"),
    not_drawn("key-info"),
    not_drawn("list"),
    not_drawn("umount").if_held(),
];

/// The intended difference that a case shows, if any.
pub fn explanation(case: &Case<'_>) -> Option<&'static str> {
    DIFFERENCES
        .iter()
        .find(|difference| match difference.knows {
            Knows::Step(known) => known(case),
            Knows::Hash | Knows::NotDrawn => false,
        })
        .map(|difference| difference.name)
}

/// More than futex(2) takes for a number that is not negative.
const TOO_MANY: u32 = 1 << 31;

impl Case<'_> {
    fn is_aligned(&self, word: u8) -> bool {
        misalignment(self.scenario.word(word), self.scenario.size) == 0
    }

    /// The number of the actor that the step is about.
    fn actor(&self) -> Option<usize> {
        self.step.actor().map(|by| self.scenario.actor(by))
    }

    /// By how many futex(2) said that it woke more, where both woke.
    fn more_woken_by_futex(&self) -> Option<i64> {
        match (self.futex.outcome, self.rfutex.outcome) {
            (Outcome::Returned(futex @ 0..), Outcome::Returned(rfutex @ 0..)) => {
                Some(futex - rfutex)
            }
            _ => None,
        }
    }

    /// Whether both go on from the same state: neither did anything.
    pub fn leaves_same_state(&self) -> bool {
        let idle = |outcome| match self.step {
            // These have found nobody then.
            Step::Wake { .. } | Step::Short { .. } | Step::Requeue { .. } => {
                matches!(outcome, Outcome::Returned(..=0))
            }
            _ => matches!(outcome, Outcome::Returned(..0)),
        };
        // It has done nothing but to make a page be looked up anew.
        let forgets = matches!(self.step, Step::Forget { .. });
        // One that looked at such a page has copied it, and does not see what is written to the file.
        let copies = |word: &mut u8| self.scenario.word(*word).kind == Kind::MemfdCopy;
        (idle(self.futex.outcome) || forgets)
            && idle(self.rfutex.outcome)
            && (&self.futex.ended, self.futex.value) == (&self.rfutex.ended, self.rfutex.value)
            && !self.step.clone().words().into_iter().any(copies)
    }

    /// Whether somebody waits in another process than that of the step, by a step that `counts`.
    fn foreigner_waits(&self, counts: impl Fn(&Step) -> bool) -> bool {
        let process = |actor: usize| self.scenario.actors[actor].process;
        let own = self.actor().map(process);
        let mut asleep = self.asleep.iter();
        asleep.any(|(actor, step)| Some(process(*actor)) != own && counts(step))
    }
}

fn mask_width(case: &Case<'_>) -> bool {
    let (Step::Wait { mask, .. } | Step::Wake { mask, .. } | Step::Swap { mask, .. }) = case.step
    else {
        return false;
    };
    // futex(2) itself has an argument of 32 bits.
    *mask > u32::MAX.into() && case.futex.outcome.is_error(Errno::EINVAL)
}

fn nr_zero(case: &Case<'_>) -> bool {
    match case.step {
        Step::Wake { nr: 0, via, .. } => {
            *via == Via::Futex
                && case.futex.outcome == Outcome::Returned(1)
                && case.rfutex.outcome == Outcome::Returned(0)
        }
        Step::WakeOp { nr, nr_target, .. } => {
            let zeroes = i64::from(*nr == 0) + i64::from(*nr_target == 0);
            case.more_woken_by_futex()
                .is_some_and(|more| 0 < more && more <= zeroes)
        }
        _ => false,
    }
}

fn nr_sign(case: &Case<'_>) -> bool {
    match case.step {
        Step::Wake { nr, .. } => {
            *nr >= TOO_MANY
                && case.futex.outcome == Outcome::Returned(1)
                && case.more_woken_by_futex().is_some_and(|more| more < 0)
        }
        Step::WakeOp { nr, nr_target, .. } => {
            // One is woken too many for the other count, if that is 0.
            let others = i64::from(*nr == 0 || *nr_target == 0);
            (*nr >= TOO_MANY || *nr_target >= TOO_MANY)
                && case.more_woken_by_futex().is_some_and(|more| more < others)
        }
        Step::Requeue {
            nr_wake, nr_move, ..
        } => {
            (*nr_wake >= TOO_MANY || *nr_move >= TOO_MANY)
                && case.futex.outcome.is_error(Errno::EINVAL)
        }
        _ => false,
    }
}

fn unaligned_short(case: &Case<'_>) -> bool {
    let Step::Short { word, .. } = case.step else {
        return false;
    };
    let is_memory = case.scenario.word(*word).kind.is_memory();
    let nobody = case.rfutex.outcome == Outcome::Returned(0);
    !case.is_aligned(*word)
        && case.futex.outcome.is_error(Errno::EINVAL)
        && (nobody || !is_memory && case.rfutex.outcome.is_error(Errno::EFAULT))
        && case.rfutex.ended.is_empty()
}

fn boottime(case: &Case<'_>) -> bool {
    let (Step::Wait { until, .. } | Step::Waitv { until, .. } | Step::Swap { until, .. }) =
        case.step
    else {
        return false;
    };
    matches!(
        until,
        Until::Past(Clock::Boottime) | Until::Soon(Clock::Boottime) | Until::Far(Clock::Boottime)
    ) && case.futex.outcome.is_error(Errno::EINVAL)
}

fn restart_deadline(case: &Case<'_>) -> bool {
    let restarts = matches!(
        case.step,
        Step::Signal {
            handler: Handler::Restart,
            ..
        }
    );
    let Some(actor) = case.actor() else {
        return false;
    };
    let Some(Step::Wait { until, via, .. }) = case.asleep.get(&actor) else {
        return false;
    };
    let error = |errno| (actor, Outcome::Returned(-(errno as i64)));
    restarts
        && *via == Via::Futex
        && *until != Until::Never
        && case.futex.ended == [error(Errno::EINTR)]
        // It goes on, unless the word has changed.
        && (case.rfutex.ended.is_empty() || case.rfutex.ended == [error(Errno::EAGAIN)])
}

fn requeue_flags(case: &Case<'_>) -> bool {
    matches!(case.step, Step::Requeue { mixed: true, .. })
        && case.futex.outcome.is_error(Errno::EINVAL)
}

/// Whether the case is a requeue from and to kinds of words that `keeps` says yes to, which moved
/// somebody in futex(2), perhaps of another process, and was refused by rfutex, where somebody of
/// another process waits by a step that `counts`.
fn refuses_foreigner(
    case: &Case<'_>,
    keeps: impl FnOnce(Kind, Kind) -> bool,
    counts: impl Fn(&Step) -> bool,
) -> bool {
    let Step::Requeue {
        from,
        to,
        nr_wake,
        private,
        ..
    } = case.step
    else {
        return false;
    };
    let [from, to] = [*from, *to].map(|word| case.scenario.word(word).kind);
    !private
        && keeps(from, to)
        && case.foreigner_waits(counts)
        // Somebody was moved.
        && matches!(case.futex.outcome, Outcome::Returned(n) if n > i64::from(*nr_wake))
        && case.rfutex.outcome.is_error(Errno::EINVAL)
        && case.rfutex.ended.is_empty()
}

fn requeue_foreign(case: &Case<'_>) -> bool {
    let keeps = |from: Kind, to: Kind| from.is_shared() && to.is_of_process();
    refuses_foreigner(case, keeps, |_| true)
}

fn requeue_file(case: &Case<'_>) -> bool {
    // What waits for a thread holds no file.
    let holds = |step: &Step| !case.scenario.arms(step);
    case.scenario.holds_inode() && refuses_foreigner(case, Kind::leads_to_file, holds)
}

fn request_priority(case: &Case<'_>) -> bool {
    let mut asleep = case.asleep.iter();
    let has_priority = asleep
        .any(|(actor, step)| case.scenario.arms(step) && case.scenario.actors[*actor].priority > 0);
    has_priority
        && case.futex.outcome == case.rfutex.outcome
        && case.futex.ended.len() == case.rfutex.ended.len()
}

fn is_unknown(op: u8, cmp: u8) -> bool {
    op % 8 > 4 || cmp % 16 > 5
}

fn wake_op_unknown(case: &Case<'_>) -> bool {
    let Step::WakeOp { op, cmp, .. } = case.step else {
        return false;
    };
    is_unknown(*op, *cmp)
        && case.futex.outcome.is_error(Errno::ENOSYS)
        && case.rfutex.outcome.is_error(Errno::EINVAL)
}

fn error_order(case: &Case<'_>) -> bool {
    let refused =
        case.futex.outcome.is_error(Errno::EFAULT) && case.rfutex.outcome.is_error(Errno::EINVAL);
    let words = match case.step {
        Step::WakeOp { op, cmp, .. } if is_unknown(*op, *cmp) => return refused,
        Step::Requeue { from, to, .. } => vec![*from, *to],
        Step::WakeOp { word, target, .. } => vec![*word, *target],
        Step::Waitv { entries, .. } => entries.iter().map(|Entry { word, .. }| *word).collect(),
        _ => return false,
    };
    refused
        && words.iter().any(|word| !case.is_aligned(*word))
        && words.iter().any(|word| case.is_aligned(*word))
}

fn arena_memory(case: &Case<'_>) -> bool {
    let (Step::Forget { word, .. } | Step::Punch { word, .. }) = case.step else {
        return false;
    };
    case.scenario.word(*word).kind == Kind::Arena
        && case.futex.outcome == Outcome::Returned(0)
        && matches!(case.rfutex.outcome, Outcome::Returned(..0))
}
