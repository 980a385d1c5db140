// SPDX-License-Identifier: GPL-2.0
//! The memory and the actors of one scenario, on one backend.

use super::backend::{self, SLOT, decode, encode};
use super::call::{At, Backend, Call, Device, Means, Order};
use super::conductor::{Conductor, Stuck};
use super::memory::{misalignment, page_of, position};
use super::own::Own;
use super::owner::Named;
use super::pool::{ACTORS, Id, Pool};
use super::script::{Actor, Kind, Resolver, Scenario, Word};
use std::collections::HashSet;
use std::os::unix::fs::FileExt;

/// Where a scenario is played.
#[derive(Debug)]
pub struct Stage<'s> {
    /// What is played.
    pub scenario: &'s Scenario,
    /// On what.
    pub backend: Backend,
    /// Which threads are its actors; `None` where a process has no more of them.
    pub cast: Vec<Option<Id>>,
    /// The processes that have actors.
    pub processes: Vec<usize>,
    round: usize,
    /// Pages that may be there.
    touched: HashSet<(Kind, usize)>,
    /// The table on rfutex, if it is not that of the device.
    own: Option<Own>,
    /// Pages of the arena that processes do not have mapped where they were.
    remapped: HashSet<(usize, usize)>,
}

/// The page that a word is on.
fn page(word: &Word) -> (Kind, usize) {
    (word.kind.writable(), page_of(word.place))
}

impl<'s> Stage<'s> {
    /// Casts the actors and sets up the memory.
    ///
    /// # Errors
    ///
    /// A call of no scenario does not return.
    pub fn set(
        conductor: &mut Conductor,
        scenario: &'s Scenario,
        backend: Backend,
        round: usize,
    ) -> Result<Self, Stuck> {
        let mut next = [0; ACTORS.len()];
        let cast = scenario.actors.iter().map(|actor| {
            let process = usize::from(actor.process) % ACTORS.len();
            let thread = next[process];
            next[process] += 1;
            (thread < ACTORS[process]).then_some(Id { process, thread })
        });
        let mut stage = Self {
            scenario,
            backend,
            cast: cast.collect(),
            processes: (0..ACTORS.len())
                .filter(|process| *process == 0 || next[*process] != 0)
                .collect(),
            round,
            touched: HashSet::new(),
            own: None,
            remapped: HashSet::new(),
        };
        if let (Some(table), false) = (scenario.table, backend.is_futex()) {
            let order = |call| stage.order(call);
            stage.own = Some(Own::new(conductor, table, &stage.processes, order)?);
        }
        for (index, actor) in scenario.actors.iter().enumerate() {
            if let Some(id) = stage.cast[index] {
                conductor.set_priority(id, actor.priority)?;
            }
        }
        stage.lay_out(conductor)?;
        Ok(stage)
    }

    /// Puts the words where they are to be.
    fn lay_out(&mut self, conductor: &mut Conductor) -> Result<(), Stuck> {
        let words = || {
            self.scenario
                .words
                .iter()
                .filter(|word| word.kind.is_memory())
        };
        // What is behind private copies.
        for word in words().filter(|word| word.kind == Kind::MemfdCopy) {
            self.write(&conductor.pool, 0, Kind::Memfd, word, 0);
        }
        for word in words().filter(|word| self.is_cold(word)) {
            for process in self.homes(word) {
                self.drop_page(conductor, process, word)?;
            }
        }
        for word in words().filter(|word| !self.is_cold(word)) {
            for process in self.homes(word) {
                let value = self.scenario.size.clip(word.value);
                self.write(&conductor.pool, process, word.kind.writable(), word, value);
            }
        }
        self.touched = words()
            .filter(|word| !self.is_cold(word))
            .map(page)
            .collect();
        Ok(())
    }

    fn is_cold(&self, word: &Word) -> bool {
        word.cold && word.kind.can_be_cold()
    }

    /// The processes in which a word has memory of its own.
    fn homes(&self, word: &Word) -> Vec<usize> {
        if word.kind.is_shared() {
            vec![0]
        } else {
            self.processes.clone()
        }
    }

    fn drop_page(
        &self,
        conductor: &mut Conductor,
        process: usize,
        word: &Word,
    ) -> Result<(), Stuck> {
        let addr = self.place(&conductor.pool, process, word.kind, word);
        let call = if word.kind.is_shared() {
            Call::Punch { addr }
        } else {
            Call::Forget { addr }
        };
        let result = conductor.help(process, &self.order(call))?;
        assert_eq!(result, 0, "the page of {word:?} in process {process}");
        Ok(())
    }

    /// An order for this backend, which is nobody's.
    pub fn order(&self, call: Call) -> Order {
        self.order_as(Resolver::default(), Named::default(), call)
    }

    /// An order for this backend, as the actor with this number gets it.
    pub fn order_by(&self, pool: &Pool, actor: usize, call: Call) -> Order {
        let Actor {
            resolver, owner, ..
        } = self.scenario.actors[actor];
        let owner = if self.backend.is_futex() {
            Named::default()
        } else {
            pool.owner(owner)
        };
        self.order_as(resolver, owner, call)
    }

    fn order_as(&self, resolver: Resolver, owner: Named, call: Call) -> Order {
        let means = Means {
            backend: self.backend,
            size: self.scenario.size,
            device: match self.scenario.table {
                Some(_) => Device::Own,
                None => Device::Shared(resolver),
            },
            owner,
        };
        Order { means, call }
    }

    /// Where a process has memory of a kind.
    fn base(&self, pool: &Pool, process: usize, kind: Kind) -> u64 {
        match &self.own {
            Some(own) if kind.is_in_arena() => own.base_in(process),
            _ => pool.processes[process].bases.base(kind),
        }
    }

    /// Where it can be looked at and written to, whatever the scenario does with mappings.
    fn place_in_view(&self, pool: &Pool, process: usize, kind: Kind, word: &Word) -> u64 {
        let base = match &self.own {
            Some(own) if kind == Kind::Arena => own.base(),
            _ => self.base(pool, process, kind),
        };
        base + position(kind, word.place, self.round) as u64
    }

    fn place(&self, pool: &Pool, process: usize, kind: Kind, word: &Word) -> u64 {
        self.base(pool, process, kind) + self.offset(kind, word)
    }

    /// Where a word is in memory of a kind, in bytes.
    fn offset(&self, kind: Kind, word: &Word) -> u64 {
        let off = misalignment(word, self.scenario.size);
        position(kind, word.place, self.round) as u64 + u64::from(off)
    }

    /// A word as a process names it.
    pub fn at(&self, pool: &Pool, process: usize, index: u8, private: bool) -> At {
        let word = self.scenario.word(index);
        At {
            addr: self.place(pool, process, word.kind, word),
            offset: word
                .kind
                .is_in_arena()
                .then(|| self.offset(word.kind, word)),
            private,
        }
    }

    fn write(&self, pool: &Pool, process: usize, kind: Kind, word: &Word, value: u32) {
        let bytes = encode(self.backend, self.scenario.size, value);
        let addr = self.place_in_view(pool, process, kind, word);
        let process = &pool.processes[process];
        if process.child.is_none() {
            backend::store(addr, bytes);
        } else if let Err(error) = process.memory.write_all_at(&bytes, addr) {
            panic!("{word:?} in process {}: {error}", process.pid);
        }
    }

    /// Writes a value to all words, wherever they are.
    pub fn store_everywhere(&self, pool: &Pool, value: u32) {
        for word in &self.scenario.words {
            for process in self.homes(word) {
                self.write(pool, process, word.kind.writable(), word, value);
            }
        }
    }

    /// What a word holds in a process; `None` if it is none.
    pub fn value(&self, pool: &Pool, process: usize, index: u8) -> Option<u32> {
        let word = self.scenario.word(index);
        if !word.kind.is_memory() {
            return None;
        }
        // What all have, is read where it is cheap.
        let process = if word.kind.is_shared() { 0 } else { process };
        let addr = self.place_in_view(pool, process, word.kind, word);
        let process = &pool.processes[process];
        let mut bytes = [0; SLOT];
        if process.child.is_none() {
            bytes = backend::load(addr);
        } else {
            process.memory.read_exact_at(&mut bytes, addr).ok()?;
        }
        decode(self.backend, self.scenario.size, bytes)
    }

    /// What a word holds, for a call that compares; 0 where nothing can be read. The first look at
    /// a page that is not there is left to the call.
    pub fn current(&mut self, pool: &Pool, process: usize, index: u8) -> u32 {
        if self.touch(index) {
            0
        } else {
            self.value(pool, process, index).unwrap_or(0)
        }
    }

    /// Notes that a word's page may be there now. Whether that is new.
    pub fn touch(&mut self, index: u8) -> bool {
        self.touched.insert(page(self.scenario.word(index)))
    }

    /// Notes that a process no longer has the page of a word in the arena mapped where it was.
    pub fn remap(&mut self, process: usize, index: u8) {
        let (_, page) = page(self.scenario.word(index));
        self.remapped.insert((process, page));
    }

    /// Whether nothing of a word is where it has its address in a process.
    pub fn is_remapped(&self, process: usize, index: u8) -> bool {
        let (kind, page) = page(self.scenario.word(index));
        kind == Kind::Arena && self.remapped.contains(&(process, page))
    }

    /// Whether somebody can be queued on a word: for a private one, who was moved there, it need
    /// not be memory.
    pub fn has_key(&self, index: u8, private: bool) -> bool {
        let word = self.scenario.word(index);
        let is_user = !matches!(word.kind, Kind::Kernel | Kind::NonCanonical);
        let is_place = if private {
            is_user
        } else {
            word.kind.is_memory()
        };
        is_place && misalignment(word, self.scenario.size) == 0
    }

    /// Whether a word's page may be taken away under the actors.
    pub fn can_lose_page(&self, index: u8) -> bool {
        match self.scenario.word(index).kind {
            // Huge pages stay huge.
            Kind::PrivateHuge | Kind::Tmpfs => false,
            // When it is copied again, depends on who looks at the page.
            Kind::MemfdCopy => !self.scenario.is_by_vma(),
            kind => kind.is_memory(),
        }
    }
}
