// SPDX-License-Identifier: GPL-2.0
//! Waits that end with their owner.

use super::pingpong::{Game, NOTHING, Ours};
use super::single;
use crate::call::WakeOne;
use crate::measure::Batch;
use crate::memory::Memory;
use crate::side::Side;
use nix::unistd::pause;
use rfutex::raw::uapi;
use rfutex::{Rfutex, Word};
use rfutex_selftests::harness::{Child, Mapping, fx, until};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many waits there are in a round: one of each thread.
pub const WAITS: u32 = 2;

/// Another process.
struct Owner {
    process: Child,
    id: u64,
}

impl Owner {
    /// Starts one, which does nothing.
    fn start(device: &Rfutex) -> Self {
        let memory = Mapping::shared(size_of::<AtomicU64>());
        let id: &AtomicU64 = memory.atomic(0);
        let process = Child::run(|| {
            let identity = device.identity().expect("an identity");
            let known = identity.process.id().expect("an id");
            id.store(known.get(), Ordering::SeqCst);
            loop {
                pause();
            }
        });
        until("its id is known", || id.load(Ordering::SeqCst) != 0);
        Self {
            process,
            id: id.load(Ordering::SeqCst),
        }
    }

    /// Has `wait` name it.
    fn own(&self, wait: &mut uapi::rfutex_wait) {
        wait.flags = uapi::RFUTEX_OWNER_PROCESS;
        wait.owner = self.process.pid().as_raw() as u32;
        wait.owner_id = self.id;
    }
}

/// Two threads that wake each other in turn, and wait for another process in two ways: the
/// contender does not name it.
pub fn pingpong(side: Side, memory: Memory) -> Batch {
    let (device, owner) = match side {
        // The words are private: all resolvers find them in the same way.
        Side::Native => (fx(), None),
        Side::Ours(device, _) => (device, Some(Owner::start(device))),
    };
    let words = memory.words();
    let player = |own, other: Word<'static>| {
        let mut wait = single::wait(device, own, NOTHING.into());
        if let Some(owner) = &owner {
            owner.own(&mut wait.arg);
        }
        Ours {
            wake: WakeOne::new(device, other),
            wait,
        }
    };
    let [a, b] = words;
    let mut batch = Game::batch([player(a, b), player(b, a)], words);
    Box::new(move |nr| {
        // It is killed when the batch goes.
        let _owner = &owner;
        batch(nr)
    })
}
