// SPDX-License-Identifier: GPL-2.0
//! What a scenario is, and its text: a script that can be kept and replayed.
//!
//! A script says what is done, never what comes of it: futex(2) says that. Whatever numbers it
//! has, it can be run: a step whose actor is busy is skipped, and an index is taken modulo the
//! number of things that it counts.

mod steps;

pub use super::kind::Kind;
pub use super::owner::Owner;
pub use super::remap::Remap;
pub use super::size::Size;
pub use super::table::{Buckets, Hold, Passed, Table};
pub use super::until::{Clock, Until};
pub use super::waiter::Waiter;
use crate::harness;
use serde::{Deserialize, Serialize};

/// Memory, actors, and what they do one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// How wide the words are on rfutex. On futex(2) they always have 32 bits: see [`Size`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub size: Size,
    /// The table on rfutex; that of the device if there is none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub table: Option<Table>,
    /// The words.
    pub words: Vec<Word>,
    /// Who acts.
    pub actors: Vec<Actor>,
    /// What they do.
    pub steps: Vec<Step>,
}

/// A word of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// What memory it is in.
    pub kind: Kind,
    /// Where in it. Words with the same place, in kinds that are views of one memory, are one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub place: u8,
    /// So many bytes behind that: not aligned.
    #[serde(default, skip_serializing_if = "is_default")]
    pub off: u8,
    /// What it holds at the beginning.
    #[serde(default, skip_serializing_if = "is_default")]
    pub value: u32,
    /// Its page is not there at the beginning. The value is 0 then.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cold: bool,
}

/// A thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Of which process.
    #[serde(default, skip_serializing_if = "is_default")]
    pub process: u8,
    /// Its real-time priority; 0 if it is a normal thread.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: u8,
    /// How rfutex finds the words for it, in the table of the device.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resolver: Resolver,
    /// What waits on words for it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub waiter: Waiter,
    /// Whom its thread waits for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub owner: Owner,
}

/// The resolvers of rfutex that every build has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resolver {
    /// By page.
    #[default]
    Page,
    /// By VMA.
    Vma,
}

/// The value that an operation compares with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Val {
    /// The one that the word has.
    #[default]
    Now,
    /// Another one.
    Is(u32),
}

/// Which of the kernel's interfaces takes part for futex(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Via {
    /// futex_wait(2), futex_wake(2), futex_requeue(2)
    #[default]
    Futex2,
    /// futex(2)
    Futex,
}

/// A word of a [`Step::Waitv`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The word.
    pub word: u8,
    /// The value to wait for the end of.
    #[serde(default, skip_serializing_if = "is_default")]
    pub val: Val,
    /// Only within this process.
    #[serde(default, skip_serializing_if = "is_default")]
    pub private: bool,
}

/// A word of a [`Step::Wakev`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wakes {
    /// The word.
    pub word: u8,
    /// How many to wake, less than 2^31.
    pub nr: u32,
    /// Whom, by the lower half.
    #[serde(default = "any", skip_serializing_if = "is_any")]
    pub mask: u64,
    /// Only within this process.
    #[serde(default, skip_serializing_if = "is_default")]
    pub private: bool,
}

/// What runs when a call is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handler {
    /// A handler that was installed without `SA_RESTART`.
    Plain,
    /// One with `SA_RESTART`.
    Restart,
    /// None: a debugger stops the thread, and lets it go on.
    None,
}

/// What happens next. Numbers are as futex(2) has them; `by` is the actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    Wait {
        by: u8,
        word: u8,
        #[serde(default, skip_serializing_if = "is_default")]
        val: Val,
        #[serde(default = "any", skip_serializing_if = "is_any")]
        mask: u64,
        #[serde(default, skip_serializing_if = "is_default")]
        private: bool,
        #[serde(default, skip_serializing_if = "is_default")]
        until: Until,
        #[serde(default, skip_serializing_if = "is_default")]
        via: Via,
    },
    Wake {
        by: u8,
        word: u8,
        nr: u32,
        #[serde(default = "any", skip_serializing_if = "is_any")]
        mask: u64,
        #[serde(default, skip_serializing_if = "is_default")]
        private: bool,
        #[serde(default, skip_serializing_if = "is_default")]
        via: Via,
    },
    /// One or all, with the address alone.
    Short {
        by: u8,
        word: u8,
        all: bool,
        #[serde(default, skip_serializing_if = "is_default")]
        private: bool,
    },
    /// On several words, one after another. Skipped while somebody waits on several words: futex(2)
    /// would count him at each of them until he runs.
    Wakev {
        by: u8,
        entries: Vec<Wakes>,
    },
    Requeue {
        by: u8,
        from: u8,
        to: u8,
        /// Without: nothing is compared. Only futex(2) can do that.
        #[serde(default, skip_serializing_if = "is_default")]
        val: Option<Val>,
        nr_wake: u32,
        nr_move: u32,
        #[serde(default, skip_serializing_if = "is_default")]
        private: bool,
        /// The second word is private if the first is not, and the reverse.
        #[serde(default, skip_serializing_if = "is_default")]
        mixed: bool,
        #[serde(default, skip_serializing_if = "is_default")]
        via: Via,
    },
    WakeOp {
        by: u8,
        word: u8,
        target: u8,
        nr: u32,
        nr_target: u32,
        /// `FUTEX_OP_*`
        op: u8,
        /// 12 bits, signed; or the number of a bit.
        operand: i16,
        #[serde(default, skip_serializing_if = "is_default")]
        shift: bool,
        /// `FUTEX_OP_CMP_*`
        cmp: u8,
        /// 12 bits, signed.
        comparand: i16,
        #[serde(default, skip_serializing_if = "is_default")]
        private: bool,
    },
    Waitv {
        by: u8,
        entries: Vec<Entry>,
        #[serde(default, skip_serializing_if = "is_default")]
        until: Until,
    },
    /// Wait on `word`, and wake one on `wake`.
    Swap {
        by: u8,
        word: u8,
        #[serde(default, skip_serializing_if = "is_default")]
        val: Val,
        #[serde(default = "any", skip_serializing_if = "is_any")]
        mask: u64,
        #[serde(default, skip_serializing_if = "is_default")]
        private: bool,
        #[serde(default, skip_serializing_if = "is_default")]
        until: Until,
        wake: u8,
        #[serde(default, skip_serializing_if = "is_default")]
        wake_private: bool,
    },
    Store {
        by: u8,
        word: u8,
        value: u32,
    },
    /// The actor's page table forgets the word's page; what is private there, is lost.
    Forget {
        by: u8,
        word: u8,
    },
    /// The file, if any, loses the word's page.
    Punch {
        by: u8,
        word: u8,
    },
    /// The actor's process changes its mapping of the page that a word in the arena is on. On
    /// futex(2), which would not find the word any more, this does nothing.
    Remap {
        by: u8,
        word: u8,
        how: Remap,
    },
    /// To an actor that sleeps.
    Signal {
        to: u8,
        handler: Handler,
    },
    /// The watch or the request of an actor is removed.
    Remove {
        of: u8,
        /// Before that, its process wakes one on this word, of which the actor has not heard.
        #[serde(default, skip_serializing_if = "is_default")]
        wake: Option<u8>,
        #[serde(default, skip_serializing_if = "is_default")]
        private: bool,
    },
    /// It goes with the file that it belongs to, which is closed.
    Close {
        of: u8,
    },
    /// `CLOCK_REALTIME` is set to when waits end with [`Until::Jump`].
    Jump,
    /// A process but the first stops. Skipped if several of its actors sleep: they would go on
    /// in any order.
    Stop {
        process: u8,
    },
    /// And goes on.
    Continue {
        process: u8,
    },
    /// A process but the first is killed.
    Kill {
        process: u8,
    },
}

/// Every bit, in the 32 that futex(2) has.
pub const ANY: u64 = u32::MAX as u64;

fn any() -> u64 {
    ANY
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_any(mask: &u64) -> bool {
    *mask == ANY
}

/// Whether a script need not say this.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Scenario {
    /// Reads a script.
    ///
    /// # Errors
    ///
    /// It is none, or there is nothing in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scenario: Self = ron::from_str(text).map_err(|error| error.to_string())?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Looks whether it can be played.
    ///
    /// # Errors
    ///
    /// There is nothing in it, or what does not go together.
    pub fn check(&self) -> Result<(), String> {
        if self.words.is_empty() || self.actors.is_empty() {
            return Err("a script needs a word and an actor".to_owned());
        }
        let in_arena = |word: &Word| word.kind.is_in_arena();
        if self.table.is_none() && self.words.iter().any(in_arena) {
            return Err("a word in an arena needs a table".to_owned());
        }
        Ok(())
    }

    /// Changes what does not go together: words in an arena that is not there, words on which the
    /// resolvers do not agree, and words of a size that WAKE_OP does not change on this machine.
    pub fn repair(&mut self) {
        let updates = |step: &Step| matches!(step, Step::WakeOp { .. });
        if self.steps.iter().any(updates) && !harness::can_update(self.size.bytes()) {
            self.size = Size::Bits32;
        }
        if self.table.is_some() {
            for actor in &mut self.actors {
                actor.resolver = Resolver::Page;
            }
        }
        let (table, by_vma) = (self.table.is_some(), self.is_by_vma());
        for word in &mut self.words {
            word.kind = match word.kind {
                Kind::Arena if !table => Kind::Memfd,
                Kind::BeyondArena if !table => Kind::Unmapped,
                kind if by_vma && !kind.is_in_arena() => kind.agreed(),
                kind => kind,
            };
        }
    }

    /// As a script: a line for each word, actor and step.
    pub fn text(&self) -> String {
        let config = ron::ser::PrettyConfig::new()
            .depth_limit(2)
            .struct_names(false);
        ron::ser::to_string_pretty(self, config).expect("a scenario can be written down")
    }

    /// As a script in one line, for a command line.
    pub fn line(&self) -> String {
        ron::to_string(self).expect("a scenario can be written down")
    }

    /// Without the words and actors that no step is about.
    pub fn tidy(mut self) -> Self {
        let (words, actors) = (self.words.len(), self.actors.len());
        let (mut kept_words, mut kept_actors) = (Vec::new(), Vec::new());
        // The new number of what is called `index`.
        let keep = |kept: &mut Vec<usize>, index: u8, len: usize| {
            let index = usize::from(index) % len;
            let place = kept.iter().position(|other| *other == index);
            place.unwrap_or_else(|| {
                kept.push(index);
                kept.len() - 1
            }) as u8
        };
        for step in &mut self.steps {
            if let Some(by) = step.actor_mut() {
                *by = keep(&mut kept_actors, *by, actors);
            }
            for word in step.words() {
                *word = keep(&mut kept_words, *word, words);
            }
        }
        // A scenario has at least one of each.
        for kept in [&mut kept_words, &mut kept_actors] {
            if kept.is_empty() {
                kept.push(0);
            }
        }
        self.words = kept_words
            .iter()
            .map(|index| self.words[*index].clone())
            .collect();
        self.actors = kept_actors
            .iter()
            .map(|index| self.actors[*index])
            .collect();
        self
    }

    /// Whether somebody's words are found by VMA.
    pub fn is_by_vma(&self) -> bool {
        match self.table {
            Some(table) => table.resolver == Resolver::Vma,
            None => self
                .actors
                .iter()
                .any(|actor| actor.resolver == Resolver::Vma),
        }
    }

    /// Whether a thread that sleeps on a word of a file holds the inode.
    pub fn holds_inode(&self) -> bool {
        match self.table {
            Some(table) => table.hold == Hold::Inode,
            None => harness::holds_inode(),
        }
    }

    /// The word number `index`.
    pub fn word(&self, index: u8) -> &Word {
        &self.words[usize::from(index) % self.words.len()]
    }

    /// Whether a step is a wait in which no thread sleeps.
    pub fn arms(&self, step: &Step) -> bool {
        matches!(step, Step::Wait { by, until: Until::Never, .. }
            if self.actors[self.actor(*by)].waiter != Waiter::Task)
    }

    /// The number of the actor that a step calls `index`.
    pub fn actor(&self, index: u8) -> usize {
        usize::from(index) % self.actors.len()
    }
}
