// SPDX-License-Identifier: GPL-2.0
//! Races: actors that wait and wake at once, with nobody to conduct them.
//!
//! What comes of a race is left to chance, but not all of it. Each wake that was counted was
//! somebody's, and nobody returned as woken whom no wake had counted; once all words have changed,
//! and one wake of all was made on each of them, nobody sleeps. This holds on futex(2), and must
//! on rfutex.

use super::call::{Backend, Call, Order, Race, Role};
use super::conductor::{Conductor, End, Stuck, pause};
use super::pool::{ACTORS, Id};
use super::script::{
    ANY, Actor, Handler, Kind, Owner, Passed, Resolver, Scenario, Size, Table, Via, Waiter, Word,
};
use super::stage::Stage;
use crate::harness::{LIMIT, can_update};
use fastrand::Rng;
use std::time::Instant;

/// What all words hold at last, in all sizes: another value than before.
const LAST: u32 = 0x0100_0000;

/// What is raced with.
#[derive(Clone, Debug)]
struct Plan {
    /// Memory and actors.
    scenario: Scenario,
    private: bool,
    /// So many of the actors wait; the others wake.
    waiters: usize,
    /// Nobody waits on several words.
    single: bool,
    masked: bool,
    signals: bool,
    removes: bool,
}

fn draw(rng: &mut Rng) -> Plan {
    let private = rng.u8(..3) == 0;
    let by_vma = rng.u8(..3) == 0;
    let tables: Vec<_> = Table::inherited()
        .filter(|table| (table.resolver == Resolver::Vma) == by_vma)
        .collect();
    let table = (rng.u8(..3) == 0).then(|| Table {
        passed: *rng.choice(&[Passed::Message, Passed::Fork]).expect("one"),
        ..*rng.choice(&tables).expect("one")
    });
    let words = (0..rng.u8(1..4)).map(|place| Word {
        kind: match Kind::MEMORY[rng.usize(..Kind::MEMORY.len())] {
            kind if table.is_some() && rng.bool() => kind.in_arena(),
            kind if by_vma => kind.agreed(),
            kind => kind,
        },
        place,
        off: 0,
        value: 0,
        cold: false,
    });
    let words = words.collect();
    let waiters = rng.usize(2..7);
    let actors = waiters + rng.usize(1..4);
    let mut free = ACTORS;
    let actors = (0..actors).map(|_| {
        let mut process = if private {
            0
        } else {
            rng.usize(..ACTORS.len())
        };
        if free[process] == 0 {
            process = (0..ACTORS.len())
                .max_by_key(|process| free[*process])
                .unwrap_or(0);
        }
        free[process] -= 1;
        Actor {
            process: process as u8,
            resolver: match rng.bool() {
                true if by_vma => Resolver::Vma,
                _ => Resolver::Page,
            },
            waiter: match rng.u8(..6) {
                0 => Waiter::Watch,
                1 => Waiter::Request,
                _ => Waiter::Task,
            },
            owner: match rng.u8(..6) {
                0 => Owner::Thread,
                1 => Owner::Process,
                _ => Owner::None,
            },
            ..Actor::default()
        }
    });
    let actors = actors.collect();
    let sizes = [Size::Bits32, Size::Bits8, Size::Bits64];
    Plan {
        scenario: Scenario {
            size: sizes[rng.usize(..sizes.len())],
            table,
            words,
            actors,
            steps: Vec::new(),
        },
        private,
        waiters,
        single: rng.bool(),
        masked: rng.bool(),
        signals: rng.bool(),
        removes: rng.bool(),
    }
}

/// Runs the race that `seed` gives.
///
/// # Errors
///
/// It came to something that cannot be, or hangs.
pub fn race(conductor: &mut Conductor, backend: Backend, seed: u64) -> Result<(), Stuck> {
    let mut rng = Rng::with_seed(seed);
    let plan = draw(&mut rng);
    let failed = |what: String| Stuck(format!("race {seed} on {backend:?}: {what}\n{plan:#?}"));
    let round = conductor.next_round();
    let stage = Stage::set(conductor, &plan.scenario, backend, round)?;
    let cast: Vec<Id> = stage.cast.iter().flatten().copied().collect();
    let (waiters, wakers) = cast.split_at(plan.waiters);

    let stop = conductor.pool.common.stop();
    stop.set(false);
    for (index, id) in cast.iter().enumerate() {
        let role = if index < plan.waiters {
            Role::Waiter {
                waiter: plan.scenario.actors[index].waiter,
                stop: stop.addr(),
                single: plan.single,
                masked: plan.masked,
            }
        } else {
            Role::Waker
        };
        let words = (0..plan.scenario.words.len() as u8).map(|word| {
            let at = stage.at(&conductor.pool, id.process, word, plan.private);
            (at, plan.scenario.word(word).kind)
        });
        let race = Race {
            role,
            words: words.collect(),
            foreign: waiters.iter().any(|waiter| waiter.process != id.process),
            holds: !backend.is_futex() && plan.scenario.holds_inode(),
            updates: can_update(plan.scenario.size.bytes()),
            removes: plan.removes,
            seed: rng.u64(..),
        };
        let order = stage.order_by(&conductor.pool, index, Call::Race(race));
        conductor.launch(*id, &order, End::Open);
    }

    let start = Instant::now();
    while wakers.iter().any(|id| conductor.is_busy(*id)) {
        conductor.collect();
        if plan.signals {
            let handler = match rng.u8(..8) {
                // It takes long.
                0 => Handler::None,
                1..4 => Handler::Plain,
                _ => Handler::Restart,
            };
            let waiter = waiters[rng.usize(..waiters.len())];
            conductor.pool.interrupt(waiter, handler);
        }
        if start.elapsed() > LIMIT {
            return Err(failed("the wakers do not come to an end".to_owned()));
        }
        pause(start.elapsed());
    }

    let mut counted = 0;
    for (id, result) in conductor.ended() {
        if result < 0 || !wakers.contains(&id) {
            return Err(failed(format!("{id:?} came back with {result}")));
        }
        counted += result;
    }
    stop.set(true);
    stage.store_everywhere(&conductor.pool, LAST);
    counted += wake_all(conductor, &stage)?;
    conductor.quiet()?;
    if let Some(id) = conductor.busy().next() {
        let what = conductor.pool.thread(id).probe.describe();
        return Err(failed(format!(
            "{id:?} sleeps on after everybody was woken: {what}"
        )));
    }
    let mut woken = 0;
    for (id, result) in conductor.ended() {
        if result < 0 {
            return Err(failed(format!("{id:?} came back with {result}")));
        }
        woken += result;
    }
    // Who waits on several words can be counted more than once.
    if woken > counted || plan.single && woken != counted {
        return Err(failed(format!(
            "{woken} were woken, {counted} were counted"
        )));
    }
    Ok(())
}

/// One wake of all on each word, in each process.
fn wake_all(conductor: &mut Conductor, stage: &Stage<'_>) -> Result<i64, Stuck> {
    let mut counted = 0;
    for process in stage.processes.clone() {
        for word in 0..stage.scenario.words.len() as u8 {
            for private in [true, false] {
                let order: Order = stage.order(Call::Wake {
                    at: stage.at(&conductor.pool, process, word, private),
                    nr: i32::MAX as u32,
                    mask: ANY,
                    via: Via::Futex2,
                });
                counted += conductor.help(process, &order)?;
            }
        }
    }
    Ok(counted)
}
