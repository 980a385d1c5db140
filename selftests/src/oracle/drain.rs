// SPDX-License-Identifier: GPL-2.0
//! The end of a scenario: who sleeps is woken, one by one, which shows the order of the queues.

use super::call::{At, Call, Order};
use super::conductor::{End, Stuck};
use super::play::Play;
use super::pool::{ACTORS, PLAIN};
use super::script::{ANY, Via};
use super::trace::{Trace, Woken};
use crate::harness::fx;
use rfutex::Word;

impl Play<'_, '_> {
    /// Ends everything that sleeps, and looks at all words.
    pub(super) fn drain(&mut self, trace: &mut Trace) -> Result<(), Stuck> {
        for process in 0..ACTORS.len() {
            self.go_on(process)?;
        }
        trace.continued = self.ended();
        let words = 0..self.stage.scenario.words.len() as u8;
        for process in self.alive() {
            for word in words.clone() {
                self.drain_word(process, word, true, trace)?;
                // What all have, the first one has drained.
                if process == 0 || !self.stage.scenario.word(word).kind.is_shared() {
                    self.drain_word(process, word, false, trace)?;
                }
            }
        }
        let left: Vec<_> = self.conductor.busy().collect();
        for id in left {
            self.conductor.expect(id, End::Due);
            self.conductor.pool.signal(id, PLAIN);
        }
        self.conductor.quiet()?;
        trace.left = self.ended();
        for process in self.alive() {
            let values = words
                .clone()
                .map(|word| self.stage.value(&self.conductor.pool, process, word));
            trace.values.push(values.collect());
        }
        trace.queued = self.queued(words);
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

    fn drain_word(
        &mut self,
        process: usize,
        word: u8,
        private: bool,
        trace: &mut Trace,
    ) -> Result<(), Stuck> {
        while self.conductor.busy().next().is_some() {
            let at = At {
                addr: self.stage.addr(&self.conductor.pool, process, word),
                private,
            };
            let order = Order {
                // A fault is to be seen in the steps.
                backend: self.stage.backend.right(),
                ..self.stage.order(Call::Wake {
                    at,
                    nr: 1,
                    mask: ANY,
                    via: Via::Futex2,
                })
            };
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

    /// How many wait on the words, as rfutex says; it should be nobody.
    fn queued(&self, words: std::ops::Range<u8>) -> u32 {
        if self.stage.backend.is_futex() {
            return 0;
        }
        let waiters = words.flat_map(|word| {
            let size = self.stage.scenario.size.bytes();
            let addr = self.stage.addr(&self.conductor.pool, 0, word);
            // Where there is no word, nobody waits.
            [Word::at(addr, size), Word::at(addr, size).private()]
                .map(|word| fx().key_info(word).map_or(0, |info| info.nr_waiters))
        });
        waiters.sum()
    }
}
