// SPDX-License-Identifier: GPL-2.0
//! A table in which a scenario is played on rfutex, instead of that of the device.

use super::memory::ARENA;
use super::script::{Resolver, is_default};
use crate::harness::fx;
use rfutex::TableOptions;
use serde::{Deserialize, Serialize};

/// A table of a scenario's own, with an arena. On futex(2), which has no tables, it changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// How many buckets it has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub buckets: Buckets,
    /// How words that have an address are found, whoever names them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resolver: Resolver,
    /// What a thread holds while it sleeps on a word of a file.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hold: Hold,
    /// How the processes get it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub passed: Passed,
}

/// How many buckets a table has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Buckets {
    /// As many as a table has of which nothing else is asked.
    #[default]
    Default,
    /// Two.
    Two,
    /// One: all words collide.
    One,
}

/// What a thread holds while it sleeps on a word of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hold {
    /// Nothing.
    #[default]
    Nothing,
    /// The inode.
    Inode,
}

/// How processes get a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Passed {
    /// It is made for the scenario, and sent to each process.
    #[default]
    Message,
    /// It was made before the processes were forked. Other scenarios have used it.
    Fork,
}

impl Table {
    /// Those that are made before the processes are forked: each kind.
    pub fn inherited() -> impl Iterator<Item = Self> {
        let buckets = [Buckets::Default, Buckets::Two, Buckets::One];
        let resolvers = [Resolver::Page, Resolver::Vma];
        let holds = [Hold::Nothing, Hold::Inode];
        buckets.into_iter().flat_map(move |buckets| {
            resolvers.into_iter().flat_map(move |resolver| {
                holds.into_iter().map(move |hold| Self {
                    buckets,
                    resolver,
                    hold,
                    passed: Passed::Fork,
                })
            })
        })
    }

    /// Makes it.
    pub fn make(self) -> rfutex::Table {
        let options = TableOptions::new()
            .resolver(match self.resolver {
                Resolver::Page => rfutex::Resolver::Page,
                Resolver::Vma => rfutex::Resolver::Vma,
            })
            .hold(match self.hold {
                Hold::Nothing => rfutex::Hold::Nothing,
                Hold::Inode => rfutex::Hold::Inode,
            })
            .buckets(match self.buckets {
                Buckets::Default => 0,
                Buckets::Two => 2,
                Buckets::One => 1,
            })
            .arena(ARENA as u64);
        rfutex::Table::create(fx(), options).expect("a table")
    }
}
