// SPDX-License-Identifier: GPL-2.0
//! Plays a scenario on one backend.

use super::call::{At, Backend, Call, Deadline, Op, Wait};
use super::conductor::{Conductor, End, Stuck};
use super::pool::{ACTORS, Id};
use super::script::{ANY, Clock, Handler, Kind, Scenario, Step, Until, Val, Via, Wakes};
use super::stage::Stage;
use super::trace::{Outcome, Record, Trace};
use crate::harness::Realtime;
use std::time::Duration;

/// How long after the beginning the `n`th jump is, in nanoseconds.
const JUMP: i64 = 3600 * 1_000_000_000;
/// What [`Until::Far`] is.
const FAR: i64 = 1000 * JUMP;
/// What [`Until::Soon`] is.
const SOON: i64 = 2_000_000;

/// A scenario that is being played.
#[derive(Debug)]
pub struct Play<'s, 'c> {
    pub(super) conductor: &'c mut Conductor,
    pub(super) stage: Stage<'s>,
    /// What each actor that sleeps waits with.
    pub(super) asleep: Vec<Option<Asleep<'s>>>,
    pub(super) stopped: [bool; ACTORS.len()],
    pub(super) dead: [bool; ACTORS.len()],
    /// `CLOCK_REALTIME` at the beginning, in nanoseconds.
    began: i64,
    /// Set right again at the end.
    clock: Option<Realtime>,
    jumps: u8,
}

/// A call that sleeps, or something that waits for the actor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asleep<'s> {
    pub(super) step: &'s Step,
    until: Until,
    /// Nobody sleeps in it.
    pub(super) armed: bool,
}

impl Asleep<'_> {
    pub(super) fn swaps(&self) -> bool {
        matches!(self.step, Step::Swap { .. })
    }

    /// Whether it waits on more than one word.
    fn is_on_several(&self) -> bool {
        matches!(self.step, Step::Waitv { entries, .. } if entries.len() > 1)
    }
}

impl<'s, 'c> Play<'s, 'c> {
    /// Plays the scenario.
    ///
    /// # Errors
    ///
    /// A call hangs.
    pub fn run(
        conductor: &'c mut Conductor,
        scenario: &'s Scenario,
        backend: Backend,
        round: usize,
    ) -> Result<Trace, Stuck> {
        let mut play = Self {
            stage: Stage::set(conductor, scenario, backend, round)?,
            conductor,
            asleep: vec![None; scenario.actors.len()],
            stopped: Default::default(),
            dead: Default::default(),
            began: now(Clock::Realtime),
            clock: None,
            jumps: 0,
        };
        let mut trace = Trace::default();
        for step in &scenario.steps {
            let record = play.step(step)?;
            trace.records.push(record);
        }
        play.drain(&mut trace)?;
        Ok(trace)
    }

    /// The thread of the actor `index`, if it can be given an order.
    fn idle(&self, index: u8) -> Option<Id> {
        let id = self.stage.cast[self.stage.scenario.actor(index)]?;
        let out = self.stopped[id.process] || self.dead[id.process] || self.conductor.is_busy(id);
        (!out).then_some(id)
    }

    pub(super) fn at(&self, process: usize, word: u8, private: bool) -> At {
        self.stage.at(&self.conductor.pool, process, word, private)
    }

    fn val(&mut self, id: Id, word: u8, val: Val) -> u32 {
        match val {
            Val::Now => self.stage.current(&self.conductor.pool, id.process, word),
            Val::Is(value) => self.stage.scenario.size.clip(value),
        }
    }

    fn deadline(&self, until: Until) -> Option<Deadline> {
        let (clock, ns) = match until {
            Until::Never => return None,
            Until::Past(clock) => (clock, 1),
            Until::Soon(clock) => (clock, now(clock) + SOON),
            Until::Far(clock) => (clock, now(clock) + FAR),
            Until::Negative(clock) => (clock, -1),
            Until::Jump(number) => {
                let ns = self.began + (i64::from(number) + 1) * JUMP;
                (Clock::Realtime, ns)
            }
        };
        Some(Deadline {
            clock: number(clock),
            ns,
        })
    }

    /// Whether a wait ends by itself, and how soon.
    fn end(&self, until: Until) -> End {
        match until {
            Until::Never | Until::Far(_) => End::Open,
            Until::Jump(number) if number >= self.jumps => End::Open,
            _ => End::Due,
        }
    }

    /// How what waits for an actor is to end now.
    pub(super) fn prospect(&self, asleep: Option<Asleep<'_>>) -> End {
        match asleep {
            Some(Asleep { armed: true, .. }) => End::Armed,
            Some(Asleep { until, .. }) => self.end(until),
            None => End::Open,
        }
    }

    fn step(&mut self, step: &'s Step) -> Result<Record, Stuck> {
        let outcome = match step {
            Step::Signal { to, handler } => self.signal(*to, *handler)?,
            Step::Remove { of, wake, private } => {
                let wake = wake.map(|word| (word, *private));
                self.disarm(*of, Call::Remove, wake)?
            }
            Step::Close { of } => self.disarm(*of, Call::Close, None)?,
            Step::Jump => self.jump()?,
            Step::Stop { process } => self.stop(usize::from(*process) % ACTORS.len())?,
            Step::Continue { process } => self.go_on(usize::from(*process) % ACTORS.len())?,
            Step::Kill { process } => self.kill(usize::from(*process) % ACTORS.len())?,
            _ => self.call(step)?,
        };
        Ok(Record {
            outcome,
            ended: self.ended(),
            value: self.changed(step, outcome),
        })
    }

    /// The value of the word that a step may have changed.
    fn changed(&mut self, step: &Step, outcome: Outcome) -> Option<u32> {
        let (by, word) = match step {
            Step::Store { by, word, .. }
            | Step::Forget { by, word }
            | Step::Punch { by, word }
            | Step::WakeOp {
                by, target: word, ..
            } => (*by, *word),
            _ => return None,
        };
        if outcome == Outcome::Skipped {
            return None;
        }
        let id = self.idle(by)?;
        self.stage.touch(word);
        self.stage.value(&self.conductor.pool, id.process, word)
    }

    /// Who else came back since the last question.
    pub(super) fn ended(&mut self) -> Vec<(usize, Outcome)> {
        let ended = self.conductor.ended();
        let actors = self.stage.cast.iter().enumerate();
        actors
            .filter_map(|(actor, id)| {
                let result = ended.get(&(*id)?)?;
                self.asleep[actor] = None;
                Some((actor, Outcome::Returned(*result)))
            })
            .collect()
    }

    /// A step that is one call of an actor.
    fn call(&mut self, step: &'s Step) -> Result<Outcome, Stuck> {
        let Some((by, call, until)) = self.resolve(step) else {
            return Ok(Outcome::Skipped);
        };
        let actor = self.stage.scenario.actor(by);
        let Some(id) = self.stage.cast[actor] else {
            return Ok(Outcome::Skipped);
        };
        let armed = matches!(call, Call::Arm { .. });
        let end = match until {
            Some(until) if !armed => self.end(until),
            _ => End::Due,
        };
        let order = self.stage.order_by(&self.conductor.pool, actor, call);
        let result = self.conductor.order(id, &order, end)?;
        if result.is_none() {
            self.asleep[actor] = until.map(|until| Asleep { step, until, armed });
        }
        Ok(result.map_or(Outcome::Sleeps, Outcome::Returned))
    }

    /// The call of a step, and its deadline if it may sleep. `None` if it cannot be made.
    fn resolve(&mut self, step: &Step) -> Option<(u8, Call, Option<Until>)> {
        if self.misses_word(step) {
            return None;
        }
        let (by, call, until) = match *step {
            Step::Wait {
                by,
                word,
                val,
                mask,
                private,
                until,
                via,
            } => {
                let id = self.idle(by)?;
                let wait = self.wait(id, word, val, mask, private, until);
                if self.stage.scenario.arms(step) {
                    let actor = self.stage.scenario.actor(by);
                    let waiter = self.stage.scenario.actors[actor].waiter;
                    return Some((by, Call::Arm { wait, waiter }, Some(until)));
                }
                // futex(2) knows two clocks.
                let via = match wait.deadline.map(|deadline| deadline.clock) {
                    None | Some(libc::CLOCK_MONOTONIC | libc::CLOCK_REALTIME) => via,
                    _ => Via::Futex2,
                };
                (by, Call::Wait { wait, via }, Some(until))
            }
            Step::Wake {
                by,
                word,
                nr,
                mask,
                private,
                via,
            } => {
                let at = self.at(self.idle(by)?.process, word, private);
                (by, Call::Wake { at, nr, mask, via }, None)
            }
            Step::Short {
                by,
                word,
                all,
                private,
            } => {
                let at = self.at(self.idle(by)?.process, word, private);
                (by, Call::Short { at, all }, None)
            }
            Step::Wakev { by, ref entries } => {
                let id = self.idle(by)?;
                let mut asleep = self.asleep.iter().flatten();
                if asleep.any(Asleep::is_on_several) {
                    return None;
                }
                let entry = |entry: &Wakes| {
                    let at = self.at(id.process, entry.word, entry.private);
                    (at, entry.mask & ANY, entry.nr & i32::MAX as u32)
                };
                let entries = entries.iter().map(entry).collect();
                (by, Call::Wakev { entries }, None)
            }
            Step::Requeue {
                by,
                from,
                to,
                val,
                nr_wake,
                nr_move,
                private,
                mixed,
                via,
            } => {
                let id = self.idle(by)?;
                // futex(2) itself has one flag for both words.
                let mixed = mixed && val.is_some();
                let call = Call::Requeue {
                    from: self.at(id.process, from, private),
                    to: self.at(id.process, to, private != mixed),
                    val: val.map(|val| self.val(id, from, val)),
                    nr_wake,
                    nr_move,
                    via: if mixed { Via::Futex2 } else { via },
                };
                (by, call, None)
            }
            Step::WakeOp {
                by,
                word,
                target,
                nr,
                nr_target,
                private,
                ..
            } => {
                let id = self.idle(by)?;
                let call = Call::WakeOp {
                    word: self.at(id.process, word, private),
                    target: self.at(id.process, target, private),
                    nr,
                    nr_target,
                    op: Op::of(step, self.stage.scenario.size)?,
                };
                (by, call, None)
            }
            Step::Waitv {
                by,
                ref entries,
                until,
            } => {
                let id = self.idle(by)?;
                let deadline = self.deadline(until);
                let entries = entries
                    .iter()
                    .map(|entry| {
                        let val = self.val(id, entry.word, entry.val);
                        (self.at(id.process, entry.word, entry.private), val)
                    })
                    .collect();
                (by, Call::Waitv { entries, deadline }, Some(until))
            }
            Step::Swap {
                by,
                word,
                val,
                mask,
                private,
                until,
                wake,
                wake_private,
            } => {
                let id = self.idle(by)?;
                let call = Call::Swap {
                    wait: self.wait(id, word, val, mask, private, until),
                    wake: self.at(id.process, wake, wake_private),
                };
                (by, call, Some(until))
            }
            Step::Store { by, word, value } => {
                let id = self.idle(by)?;
                if !self.stage.scenario.word(word).kind.is_writable() {
                    return None;
                }
                // Always aligned.
                let addr = self.at(id.process, word, false).addr & !7;
                let value = self.stage.scenario.size.clip(value);
                (by, Call::Store { addr, value }, None)
            }
            Step::Forget { by, word } | Step::Punch { by, word } => {
                let addr = self.at(self.idle(by)?.process, word, false).addr;
                if !self.stage.can_lose_page(word) {
                    return None;
                }
                let call = if matches!(step, Step::Forget { .. }) {
                    Call::Forget { addr }
                } else {
                    Call::Punch { addr }
                };
                (by, call, None)
            }
            Step::Remap { by, word, how } => {
                let id = self.idle(by)?;
                if self.stage.scenario.word(word).kind != Kind::Arena {
                    return None;
                }
                let addr = self.at(id.process, word, false).addr;
                self.stage.remap(id.process, word);
                (by, Call::Remap { addr, how }, None)
            }
            _ => return None,
        };
        Some((by, call, until))
    }

    /// Whether a step would look for a word at an address where nothing is any more.
    fn misses_word(&self, step: &Step) -> bool {
        let id = step.actor().and_then(|by| self.idle(by));
        id.is_some_and(|id| self.has_lost_word(id.process, step))
    }

    /// The same, if it is carried out in this process.
    pub(super) fn has_lost_word(&self, process: usize, step: &Step) -> bool {
        let mut step = step.clone();
        let by_address = match step {
            Step::Store { .. }
            | Step::Forget { .. }
            | Step::Punch { .. }
            | Step::Remap { .. }
            | Step::Requeue { mixed: true, .. } => true,
            _ => step.private_flags().into_iter().any(|private| *private),
        };
        let is_gone = |word: &mut u8| self.stage.is_remapped(process, *word);
        by_address && step.words().into_iter().any(is_gone)
    }

    fn wait(&mut self, id: Id, word: u8, val: Val, mask: u64, private: bool, until: Until) -> Wait {
        Wait {
            at: self.at(id.process, word, private),
            val: self.val(id, word, val),
            mask,
            deadline: self.deadline(until),
        }
    }

    fn signal(&mut self, to: u8, handler: Handler) -> Result<Outcome, Stuck> {
        let actor = self.stage.scenario.actor(to);
        let (Some(id), Some(asleep)) = (self.stage.cast[actor], self.asleep[actor]) else {
            return Ok(Outcome::Skipped);
        };
        if self.stopped[id.process] || asleep.armed {
            return Ok(Outcome::Skipped);
        }
        // The wait would be made again, where its word is no more.
        if handler != Handler::Plain && self.has_lost_word(id.process, asleep.step) {
            return Ok(Outcome::Skipped);
        }
        // A swap is never made again; futex(2)'s wait would be.
        let handler = if asleep.swaps() && self.stage.backend.is_futex() {
            Handler::Plain
        } else {
            handler
        };
        self.conductor.pool.interrupt(id, handler);
        self.conductor.quiet()?;
        Ok(Outcome::Returned(0))
    }

    /// Ends what waits for an actor, who has not heard of a wake that comes before that.
    fn disarm(&mut self, of: u8, call: Call, wake: Option<(u8, bool)>) -> Result<Outcome, Stuck> {
        let actor = self.stage.scenario.actor(of);
        let Some(id) = self.stage.cast[actor] else {
            return Ok(Outcome::Skipped);
        };
        if !self.conductor.is_armed(id) {
            return Ok(Outcome::Skipped);
        }
        let mut woken = 0;
        if let Some((word, private)) = wake {
            let order = self.stage.order(Call::Wake {
                at: self.at(id.process, word, private),
                nr: 1,
                mask: ANY,
                via: Via::Futex2,
            });
            woken = self.conductor.help_unheard(id.process, &order)?;
        }
        self.conductor.launch(id, &self.stage.order(call), End::Due);
        self.conductor.quiet()?;
        Ok(Outcome::Returned(woken))
    }

    fn jump(&mut self) -> Result<Outcome, Stuck> {
        self.jumps += 1;
        let ahead = Duration::from_nanos((i64::from(self.jumps) * JUMP + JUMP / 60) as u64);
        self.clock.get_or_insert_with(Realtime::new).set(ahead);
        for (actor, asleep) in self.asleep.iter().enumerate() {
            if let (Some(id), Some(_)) = (self.stage.cast[actor], asleep)
                && !self.stopped[id.process]
            {
                self.conductor.expect(id, self.prospect(*asleep));
            }
        }
        self.conductor.quiet()?;
        Ok(Outcome::Returned(0))
    }
}

/// The number of a clock.
fn number(clock: Clock) -> i32 {
    match clock {
        Clock::Monotonic => libc::CLOCK_MONOTONIC,
        Clock::Realtime => libc::CLOCK_REALTIME,
        Clock::Boottime => libc::CLOCK_BOOTTIME,
        Clock::Unknown => 77,
    }
}

/// Nanoseconds on a clock.
fn now(clock: Clock) -> i64 {
    match clock {
        Clock::Monotonic => rfutex::Clock::Monotonic.now(),
        Clock::Realtime => rfutex::Clock::Realtime.now(),
        Clock::Boottime => rfutex::Clock::Boottime.now(),
        Clock::Unknown => 0,
    }
}
