// SPDX-License-Identifier: GPL-2.0
//! The table of a scenario, before it begins.

use super::call::{Call, Order};
use super::conductor::{Conductor, Stuck};
use super::memory::ARENA;
use super::pool::ACTORS;
use super::script::{Passed, Table};
use crate::harness::send_file;
use crate::memory::Region;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

/// The arena of a table that the processes of a scenario have.
#[derive(Debug)]
pub struct Own {
    /// The conductor's own view of it, with which no scenario does anything.
    view: Region,
    /// Where each process has it.
    bases: [u64; ACTORS.len()],
}

impl Own {
    /// Has these processes have a table. `order` makes an order of a call.
    ///
    /// # Errors
    ///
    /// A call of no scenario does not return.
    pub fn new(
        conductor: &mut Conductor,
        table: Table,
        processes: &[usize],
        order: impl Fn(Call) -> Order,
    ) -> Result<Self, Stuck> {
        let file = match table.passed {
            Passed::Fork => {
                let mut tables = conductor.pool.common.tables.iter();
                let inherited = tables.find(|(other, _)| *other == table);
                inherited.expect("one of each kind").1.clone()
            }
            Passed::Message => Arc::new(table.make()),
        };
        let view = Region::shared(&*file, 0, ARENA);
        let mut bases = [0; ACTORS.len()];
        for &process in processes {
            // In all processes that have inherited a file, it has the same number.
            let number =
                (process == 0 || table.passed == Passed::Fork).then(|| file.as_fd().as_raw_fd());
            if number.is_none() {
                send_file(&conductor.pool.processes[process].socket, &*file);
            }
            bases[process] = conductor.help(process, &order(Call::Adopt { number }))? as u64;
        }
        Ok(Self { view, bases })
    }

    /// Where the conductor finds it.
    pub fn base(&self) -> u64 {
        self.view.base() as u64
    }

    /// Where a process has it.
    pub fn base_in(&self, process: usize) -> u64 {
        self.bases[process]
    }
}
