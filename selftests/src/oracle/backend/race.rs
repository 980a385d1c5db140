// SPDX-License-Identifier: GPL-2.0
//! The two parts in a race, as an actor plays them.

use super::armed::Armed;
use super::{advise, synchronise};
use crate::oracle::call::{At, Call, Deadline, Means, Op, Race, Role, Wait};
use crate::oracle::script::{ANY, Via, Waiter};
use fastrand::Rng;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What all words hold until the end.
const VALUE: u32 = 0;

/// A deadline that may pass before a wake comes, in nanoseconds from now.
const SHORT: u64 = 3_000_000;

/// How many calls a waker makes.
const CALLS: u32 = 60;

/// Plays a part. Returns how many waits were woken, or how many waiters its wakes counted; or a
/// negative errno that should not be.
pub fn carry_out(means: Means, race: &Race) -> i64 {
    let mut rng = Rng::with_seed(race.seed);
    let call = |call| synchronise(means, &call);
    // As in futex(2), a page that is taken away while it is looked at is as good as none. Nothing
    // was done then.
    let is_gone = |error| race.removes && error == -i64::from(libc::EFAULT);
    match race.role {
        Role::Waiter {
            stop,
            waiter,
            single,
            masked,
        } => {
            let pointer = std::ptr::with_exposed_provenance_mut(stop as usize);
            // SAFETY: The conductor gives the address of a word of its own, in memory that all
            // processes have for good.
            let stop = unsafe { AtomicU32::from_ptr(pointer) };
            let mut armed = (waiter != Waiter::Task).then(|| Armed::new(waiter, means));
            let mut woken = 0;
            while stop.load(Ordering::SeqCst) == 0 {
                let result = match (draw_wait(&mut rng, race, single, masked), &mut armed) {
                    (Call::Wait { wait, .. }, Some(armed)) if wait.deadline.is_none() => {
                        wait_armed(armed, &wait, Duration::from_nanos(rng.u64(..SHORT)))
                    }
                    (drawn, _) => call(drawn),
                };
                match result {
                    0.. => woken += 1,
                    error if is_expected(error) || is_gone(error) => (),
                    error => return error,
                }
            }
            woken
        }
        Role::Waker => {
            let mut woken = 0;
            for _ in 0..CALLS {
                let drawn = draw_wake(&mut rng, race);
                let refusable = race.may_be_refused(means.backend, &drawn);
                let result = call(drawn.clone());
                woken += match (result, drawn) {
                    // The others were moved.
                    (0.., Call::Requeue { nr_wake, .. }) => result.min(nr_wake.into()),
                    (0.., _) => result,
                    (error, _) if refusable && error == -i64::from(libc::EINVAL) => 0,
                    (error, _) if is_gone(error) => 0,
                    (error, _) => return error,
                };
                if race.removes && rng.u8(..8) == 0 {
                    // Nothing but zeroes is lost. What is private cannot be removed.
                    let _ = advise(word(&mut rng, race).addr, libc::MADV_REMOVE);
                }
            }
            woken
        }
    }
}

fn is_expected(error: i64) -> bool {
    [libc::EAGAIN, libc::ECANCELED, libc::EINTR, libc::ETIMEDOUT]
        .iter()
        .any(|errno| error == -i64::from(*errno))
}

/// A wait in which no thread sleeps, and which is given up after a while. Returns what it has come
/// to.
fn wait_armed(armed: &mut Armed, wait: &Wait, patience: Duration) -> i64 {
    armed
        .arm(wait)
        .or_else(|| armed.ended(patience))
        .unwrap_or_else(|| armed.remove())
}

fn word(rng: &mut Rng, race: &Race) -> At {
    rng.choice(&race.words).expect("a word").0
}

fn draw_wait(rng: &mut Rng, race: &Race, single: bool, masked: bool) -> Call {
    let deadline = (rng.u8(..4) == 0).then(|| Deadline {
        clock: libc::CLOCK_MONOTONIC,
        ns: rfutex::Clock::Monotonic.now() + rng.u64(..SHORT) as i64,
    });
    if !single && rng.u8(..3) == 0 {
        let entries = race.words.iter().map(|(at, _)| (*at, VALUE)).collect();
        return Call::Waitv { entries, deadline };
    }
    Call::Wait {
        wait: Wait {
            at: word(rng, race),
            val: VALUE,
            mask: if masked { 1 << rng.u8(..4) } else { ANY },
            deadline,
        },
        via: *rng.choice(&[Via::Futex, Via::Futex2]).expect("one"),
    }
}

fn draw_wake(rng: &mut Rng, race: &Race) -> Call {
    let (at, kind) = *rng.choice(&race.words).expect("a word");
    let nr = rng.u32(1..4);
    match rng.u8(..8) {
        0 => Call::Short {
            at,
            all: rng.bool(),
        },
        1 | 2 => Call::Requeue {
            from: at,
            to: word(rng, race),
            val: rng.bool().then_some(VALUE),
            nr_wake: rng.u32(..3),
            nr_move: rng.u32(..4),
            via: *rng.choice(&[Via::Futex, Via::Futex2]).expect("one"),
        },
        3 if race.updates && kind.is_writable() => Call::WakeOp {
            word: word(rng, race),
            target: at,
            nr,
            nr_target: rng.u32(1..3),
            op: Op {
                // FUTEX_OP_ADD of nothing.
                op: 1,
                shift: false,
                operand: 0,
                cmp: rng.u8(..6),
                comparand: 0,
            },
        },
        _ => Call::Wake {
            at,
            nr,
            mask: if rng.bool() { ANY } else { rng.u64(1..16) },
            via: Via::Futex2,
        },
    }
}
