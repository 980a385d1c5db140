// SPDX-License-Identifier: GPL-2.0
//! The end of a scenario: who sleeps is woken, one by one, which shows the order of the queues.

use super::call::Call;
use super::conductor::{End, Stuck};
use super::play::Play;
use super::pool::ACTORS;
use super::script::{ANY, Handler, Via};
use super::trace::{Trace, Woken};
use std::ops::Range;

impl Play<'_, '_> {
    /// Ends everything that sleeps, and looks at all words.
    pub(super) fn drain(&mut self, trace: &mut Trace) -> Result<(), Stuck> {
        for process in 0..ACTORS.len() {
            self.go_on(process)?;
        }
        trace.continued = self.ended();
        let words = 0..self.stage.scenario.words.len() as u8;
        let asleep = self.conductor.busy().count() as i64;
        if asleep > 0 && !self.stage.backend.is_futex() {
            // Words can be one: who waits there is counted for each.
            trace.uncounted = (asleep - self.queued(words.clone())?).max(0);
        }
        for process in self.alive() {
            for (word, private) in self.own(process, words.clone()) {
                self.drain_word(process, word, private, trace)?;
            }
        }
        let left: Vec<_> = self.conductor.busy().collect();
        for id in left {
            if self.conductor.is_armed(id) {
                let mut order = self.stage.order(Call::Remove);
                order.means.backend = self.stage.backend.right();
                self.conductor.launch(id, &order, End::Due);
            } else {
                self.conductor.expect(id, End::Due);
                self.conductor.pool.interrupt(id, Handler::Plain);
            }
        }
        self.conductor.quiet()?;
        trace.left = self.ended();
        for process in self.alive() {
            let values = words
                .clone()
                .map(|word| self.stage.value(&self.conductor.pool, process, word));
            trace.values.push(values.collect());
        }
        if !self.stage.backend.is_futex() {
            trace.queued = self.queued(words)?;
        }
        let dead = (0..ACTORS.len()).filter(|process| self.is_dead(*process));
        for process in dead.collect::<Vec<_>>() {
            self.conductor.pool.revive(process);
        }
        Ok(())
    }

    fn alive(&self) -> Vec<usize> {
        let processes = self.stage.processes.iter().copied();
        processes
            .filter(|process| !self.is_dead(*process))
            .collect()
    }

    /// What a process has to look at: each word, private or not. What all have, is left to the
    /// first process.
    fn own(&self, process: usize, words: Range<u8>) -> Vec<(u8, bool)> {
        let all = words.flat_map(|word| [(word, true), (word, false)]);
        let is_own = |(word, private): &(u8, bool)| {
            *private || process == 0 || !self.stage.scenario.word(*word).kind.is_shared()
        };
        all.filter(is_own).collect()
    }

    fn drain_word(
        &mut self,
        process: usize,
        word: u8,
        private: bool,
        trace: &mut Trace,
    ) -> Result<(), Stuck> {
        while self.conductor.busy().next().is_some() {
            let at = self.at(process, word, private);
            let mut order = self.stage.order(Call::Wake {
                at,
                nr: 1,
                mask: ANY,
                via: Via::Futex2,
            });
            // A fault is to be seen in the steps.
            order.means.backend = self.stage.backend.right();
            let result = self.conductor.help(process, &order)?;
            if result <= 0 {
                break;
            }
            trace.woken.push(Woken {
                word,
                result,
                ended: self.ended(),
            });
        }
        Ok(())
    }

    /// How many wait on the words in any process, as rfutex says; or a negative errno.
    fn queued(&mut self, words: Range<u8>) -> Result<i64, Stuck> {
        let mut queued = 0;
        for process in self.alive() {
            let mut own = self.own(process, words.clone());
            own.retain(|(word, private)| self.stage.has_key(*word, *private));
            let words = own
                .into_iter()
                .map(|(word, private)| self.at(process, word, private));
            let call = Call::Count {
                words: words.collect(),
            };
            match self.conductor.help(process, &self.stage.order(call))? {
                waiters @ 0.. => queued += waiters,
                error => return Ok(error),
            }
        }
        Ok(queued)
    }
}
