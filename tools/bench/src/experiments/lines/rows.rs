// SPDX-License-Identifier: GPL-2.0
//! The operations whose lines are counted.

use super::marker;
use super::places::{self, Cell, Files, WORDS};
use super::sleepers::Sleepers;
use super::turns::{self, BRISK, CALM, Part};
use crate::call::{Futex, Ioctl, Numbers, WakeOne};
use crate::experiments::{Wait, Wake};
use crate::memory::Memory;
use crate::rows::{add_watch, requeue, wake, watch_set};
use crate::side::Side;
use crate::uring::{Request, Ring};
use rfutex::raw::uapi;
use rfutex_selftests::harness::{set_priority, stay_on};
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

/// An operation.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    run: fn(&Stage),
}

/// All of them.
pub const ALL: [Row; 6] = [
    Row {
        name: "wait-eagain",
        run: |stage| stage.alone(WaitAgain::new),
    },
    Row {
        name: "wake-none",
        run: |stage| stage.alone(WakeNone::new),
    },
    Row {
        name: "pingpong",
        run: pingpong,
    },
    Row {
        name: "wake-64",
        run: wake_64,
    },
    Row {
        name: "requeue-64",
        run: requeue_64,
    },
    Row {
        name: "watch",
        run: |stage| stage.alone(Watched::new),
    },
];

/// With what an operation is made.
struct Stage {
    side: Side,
    files: Files,
    processors: usize,
    /// Of each place.
    cells: Vec<[Cell; WORDS]>,
}

/// Has the operation `row` made by threads on so many processors.
pub fn measure(row: Row, memory: Memory, side: Side, files: Files, processors: usize) {
    let stage = Stage {
        side,
        files,
        processors,
        cells: places::cells(memory, side, processors.max(2)),
    };
    marker::section();
    (row.run)(&stage);
}

impl Stage {
    fn of_thread(&self) -> Side {
        self.files.of_thread(self.side)
    }

    /// A thread on each processor, which makes calls on words of its own.
    fn alone<P: Part>(&self, make: fn(Side, &[Cell; WORDS]) -> P) {
        turns::take(
            BRISK,
            self.processors,
            |place| place,
            |place| make(self.of_thread(), &self.cells[place]),
        );
    }
}

/// A wait on a word that has another value.
struct WaitAgain {
    calls: [Wait; WORDS],
    round: usize,
}

impl WaitAgain {
    fn new(side: Side, cells: &[Cell; WORDS]) -> Self {
        Self {
            calls: cells.map(|cell| Wait::new(side, cell.word, 1)),
            round: 0,
        }
    }
}

impl Part for WaitAgain {
    fn prepare(&mut self, round: usize) {
        self.round = round;
    }

    fn act(&mut self) {
        assert_eq!(self.calls[self.round % WORDS].call(), -1);
    }
}

/// A wake with nobody there.
struct WakeNone {
    calls: [Wake; WORDS],
    round: usize,
}

impl WakeNone {
    fn new(side: Side, cells: &[Cell; WORDS]) -> Self {
        Self {
            calls: cells.map(|cell| Wake::new(side, cell.word)),
            round: 0,
        }
    }
}

impl Part for WakeNone {
    fn prepare(&mut self, round: usize) {
        self.round = round;
    }

    fn act(&mut self) {
        assert_eq!(self.calls[self.round % WORDS].call(), 0);
    }
}

/// The word says that nothing came, or that the ball came.
const NOTHING: u32 = 0;
const BALL: u32 = 1;

/// One of two who pass a ball.
struct Player {
    own: [Cell; WORDS],
    other: [Cell; WORDS],
    waits: [Wait; WORDS],
    wakes: [Wake; WORDS],
}

impl Player {
    fn new(side: Side, own: [Cell; WORDS], other: [Cell; WORDS]) -> Self {
        Self {
            own,
            other,
            waits: own.map(|cell| Wait::new(side, cell.word, NOTHING)),
            wakes: other.map(|cell| Wake::new(side, cell.word)),
        }
    }

    fn catch(&mut self, at: usize) {
        while self.own[at].value.load(Ordering::SeqCst) == NOTHING {
            self.waits[at].call();
        }
    }

    fn pass(&mut self, at: usize) {
        self.other[at].value.store(BALL, Ordering::SeqCst);
        self.wakes[at].call();
    }
}

/// The one who begins. Its partner is on the next processor.
struct Pair {
    player: Player,
    partner: Option<JoinHandle<()>>,
    at: usize,
}

impl Part for Pair {
    fn prepare(&mut self, round: usize) {
        self.at = round % WORDS;
    }

    fn act(&mut self) {
        self.player.pass(self.at);
        self.player.catch(self.at);
    }

    fn done(&mut self) {
        self.player.own[self.at]
            .value
            .store(NOTHING, Ordering::SeqCst);
    }
}

/// The partner ends after one more ball: not in the last window.
impl Drop for Pair {
    fn drop(&mut self) {
        self.player.pass((self.at + 1) % WORDS);
        let partner = self.partner.take().expect("a partner");
        partner.join().expect("its end");
    }
}

/// A ball there and back: two wakes and two waits, on two processors where there are two.
fn pingpong(stage: &Stage) {
    let pairs = (stage.processors / 2).max(1);
    let make = |pair: usize| {
        let [first, second] = [stage.cells[pair * 2], stage.cells[pair * 2 + 1]];
        let side = stage.of_thread();
        let files = stage.files;
        let cpu = (pair * 2 + 1) % stage.processors;
        let partner = thread::spawn(move || {
            stay_on(cpu);
            marker::group(pair);
            let mut player = Player::new(files.of_thread(side), second, first);
            let rounds = CALM.rounds(pairs);
            for round in 0..rounds {
                let at = round % WORDS;
                player.catch(at);
                player.own[at].value.store(NOTHING, Ordering::SeqCst);
                player.pass(at);
            }
            player.catch(rounds % WORDS);
        });
        marker::group(pair);
        Pair {
            player: Player::new(side, first, second),
            partner: Some(partner),
            at: 0,
        }
    };
    turns::take(CALM, pairs, |pair| pair * 2, make);
}

/// How many are woken or moved in one call.
const MANY: usize = 64;

/// Before all that sleep.
const FIRST: i32 = 2;

/// Wakes all sleepers in one call.
struct WakeAll<'a> {
    sleepers: &'a Sleepers,
    call: WakeMany,
}

enum WakeMany {
    Native(Futex),
    Ours(Ioctl<uapi::rfutex_wake>),
}

impl Part for WakeAll<'_> {
    fn prepare(&mut self, _round: usize) {
        self.sleepers.all_sleep();
        set_priority(FIRST);
        self.sleepers.let_go();
    }

    fn act(&mut self) {
        let woken = match &mut self.call {
            WakeMany::Native(call) => call.call(),
            WakeMany::Ours(call) => call.call(),
        };
        assert_eq!(woken, MANY as i64);
    }

    fn done(&mut self) {
        set_priority(0);
    }
}

/// One call wakes 64 waiters, who are spread over the processors.
fn wake_64(stage: &Stage) {
    let cell = stage.cells[0][0];
    let sleepers = Sleepers::new(stage.side, stage.files, cell, MANY, stage.processors);
    let make = |_| WakeAll {
        sleepers: &sleepers,
        call: match stage.of_thread() {
            Side::Native => WakeMany::Native(Futex::wake(cell.word, MANY as u32)),
            Side::Ours(device, _) => WakeMany::Ours(wake(device, cell.word, MANY as u32)),
        },
    };
    turns::take(CALM, stage.processors, |place| place, make);
    sleepers.end(&[cell]);
}

/// Moves all sleepers to the next word.
struct Move<'a> {
    side: Side,
    cells: &'a [Cell; WORDS],
    place: usize,
    places: usize,
    call: MoveMany,
}

enum MoveMany {
    Native(Futex),
    Ours(Ioctl<uapi::rfutex_requeue>),
}

impl Move<'_> {
    fn call(side: Side, cells: &[Cell; WORDS], at: usize) -> MoveMany {
        let [from, to] = [at, at + 1].map(|at| cells[at % WORDS].word);
        match side {
            Side::Native => MoveMany::Native(Futex::requeue(from, 0, to, MANY as u32)),
            Side::Ours(device, _) => MoveMany::Ours(requeue(device, from, 0, to, MANY as u32)),
        }
    }
}

impl Part for Move<'_> {
    fn prepare(&mut self, round: usize) {
        self.call = Self::call(self.side, self.cells, round * self.places + self.place);
    }

    fn act(&mut self) {
        let moved = match &mut self.call {
            MoveMany::Native(call) => call.call(),
            MoveMany::Ours(call) => call.call(),
        };
        assert_eq!(moved, MANY as i64);
    }
}

/// One call moves 64 waiters to another word.
fn requeue_64(stage: &Stage) {
    let cells = &stage.cells[0];
    let sleepers = Sleepers::new(stage.side, stage.files, cells[0], MANY, stage.processors);
    sleepers.all_sleep();
    let make = |place| {
        let side = stage.of_thread();
        Move {
            side,
            cells,
            place,
            places: stage.processors,
            call: Move::call(side, cells, place),
        }
    };
    turns::take(CALM, stage.processors, |place| place, make);
    sleepers.end(cells);
}

/// A watch is armed, met by a wake, and its event is read. Beside it a request of io_uring
/// waits, is met by a wake of futex(2), and its completion is read.
#[expect(
    clippy::large_enum_variant,
    reason = "in a box, it might share a line with what is another thread's"
)]
enum Watched {
    Native {
        ring: Ring,
        wait: Request,
        wake: Futex,
    },
    Ours {
        add: Ioctl<uapi::rfutex_watch_add>,
        wake: WakeOne,
        read: Numbers<{ EVENT / 8 }>,
    },
}

/// Bytes of an event.
const EVENT: usize = size_of::<uapi::rfutex_event>();

impl Watched {
    fn new(side: Side, cells: &[Cell; WORDS]) -> Self {
        let word = cells[0].word;
        match side {
            Side::Native => Self::Native {
                ring: Ring::new(1, 1),
                wait: Request::futex_wait(word, 0),
                wake: Futex::wake(word, 1),
            },
            Side::Ours(device, _) => {
                let set = watch_set(device);
                Self::Ours {
                    add: add_watch(set, word),
                    wake: WakeOne::new(device, word),
                    read: Numbers::new(set),
                }
            }
        }
    }
}

impl Part for Watched {
    fn act(&mut self) {
        match self {
            Self::Native { ring, wait, wake } => {
                ring.push(wait);
                assert_eq!(ring.submit(0), 1);
                assert_eq!(wake.call(), 1);
                assert_eq!(ring.submit(1), 0);
                assert_eq!(ring.next().map(|completion| completion.result), Some(0));
            }
            Self::Ours { add, wake, read } => {
                assert_eq!(add.call(), 0);
                assert_eq!(wake.call(), 1);
                assert_eq!(read.read(), EVENT as isize);
            }
        }
    }
}
