// SPDX-License-Identifier: GPL-2.0
//! The operations that are measured: one line each in the table.

mod death;
mod handover;
mod many;
mod owner;
mod pingpong;
mod single;
mod sync;
mod watch;

pub use single::{requeue, wait, wake};
pub use watch::{add_watch, set as watch_set};

use crate::measure::Batch;
use crate::memory::Memory;
use crate::side::Side;

/// One operation on one kind of memory.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name in the table.
    pub name: &'static str,
    /// Its memory.
    pub memory: Memory,
    /// What rfutex is compared with.
    pub contender: &'static str,
    /// How often it is done in a batch.
    pub batch: u32,
    /// By how much a batch's time is divided further.
    pub divide: u32,
    /// Whether time can be taken, and not only instructions counted.
    pub timed: bool,
    make: Make,
}

impl Row {
    /// Makes it ready. Each is made in a process of its own.
    pub fn make(&self, side: Side) -> Batch {
        match (side, self.memory) {
            // It has no arena. This is what it has for processes that share memory.
            (Side::Native, Memory::Arena) => (self.make)(side, Memory::Shared),
            (_, memory) => (self.make)(side, memory),
        }
    }
}

type Make = fn(Side, Memory) -> Batch;

/// An operation on these kinds of memory, so many in a batch.
fn each(name: &'static str, memories: &[Memory], batch: u32, make: Make) -> Vec<Row> {
    let row = |&memory| Row {
        name,
        memory,
        contender: "futex(2)",
        batch,
        divide: 1,
        timed: true,
        make,
    };
    memories.iter().map(row).collect()
}

/// The same, compared with something else than futex(2).
fn against(contender: &'static str, rows: Vec<Row>) -> Vec<Row> {
    let row = |row| Row { contender, ..row };
    rows.into_iter().map(row).collect()
}

/// The same, of so many waiters or words at once.
fn each_of(divide: u32, rows: Vec<Row>) -> Vec<Row> {
    let divided = |row| Row { divide, ..row };
    rows.into_iter().map(divided).collect()
}

/// The same, of which only instructions are counted.
fn counted(rows: Vec<Row>) -> Vec<Row> {
    let row = |row| Row {
        timed: false,
        ..row
    };
    rows.into_iter().map(row).collect()
}

/// All of them.
pub fn all() -> Vec<Row> {
    use Memory::{Anonymous, Arena, Private, Shared};
    let all = [Private, Shared, Anonymous];
    let all_and_arena = [Private, Shared, Anonymous, Arena];
    let two = [Private, Shared];
    let two_and_arena = [Private, Shared, Arena];
    let shared = [Shared];
    [
        each("wake-none", &all_and_arena, 100, single::wake_none),
        each("wake-none-struct", &all, 100, single::wake_none_struct),
        each("wait-eagain", &all_and_arena, 100, single::wait_eagain),
        each("pingpong", &two_and_arena, 100, pingpong::pingpong),
        each("swap-pingpong", &two_and_arena, 100, pingpong::swap),
        against(
            "the same wait without an owner",
            each_of(
                owner::WAITS,
                each("wait-owner", &[Private], 100, owner::pingpong),
            ),
        ),
        against(
            "the end of a thread that has not joined",
            counted(each_of(
                death::WORDS,
                [
                    each("death-scan", &[Arena], 5, death::free),
                    each("death-scan-held", &[Arena], 5, death::held),
                ]
                .concat(),
            )),
        ),
        each_of(many::NR, each("wake-64", &two, 2, many::wake)),
        each_of(many::NR, each("requeue-64", &two, 1, many::requeue)),
        each("waitv-16-eagain", &two, 20, single::waitv_eagain),
        each("wake-1", &two, 20, many::wake_one),
        each("requeue-none", &two, 100, single::requeue_none),
        each("waitv-1-eagain", &two, 100, single::waitv_one_eagain),
        against(
            "write(2) to an eventfd",
            each("signal-none", &shared, 100, single::signal_none),
        ),
        each_of(
            single::WAKEV as u32,
            each("wakev-16-none", &[Shared, Arena], 20, single::wakev_none),
        ),
        against(
            "IORING_OP_FUTEX_WAIT and its cancel",
            [
                each("arm-remove", &two, 50, watch::arm_remove),
                each("arm-remove-charged", &two, 50, watch::arm_remove_charged),
            ]
            .concat(),
        ),
        against(
            "a mutex of parking_lot",
            each("mutex-free", &[Private], 1000, sync::free),
        ),
        against(
            "a mutex of the standard library",
            each("mutex-threads", &[Private], 50, sync::threads),
        ),
        against(
            "a process-shared mutex of pthreads",
            each("mutex-processes", &shared, 50, sync::processes),
        ),
        against(
            "two eventfds",
            each("handover-epoll", &shared, 50, handover::epoll),
        ),
        against(
            "IORING_OP_FUTEX_WAIT and IORING_OP_FUTEX_WAKE",
            [
                each("handover-uring", &shared, 50, handover::uring),
                each("handover-uring-cmd", &shared, 50, handover::uring_command),
            ]
            .concat(),
        ),
    ]
    .concat()
}
