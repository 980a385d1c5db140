// SPDX-License-Identifier: GPL-2.0
//! Threads that sleep, spread over the processors, until all of them are woken.

use super::places::{Cell, Files};
use super::turns::CALM;
use crate::experiments::Wait;
use crate::side::Side;
use rfutex_selftests::harness::{futex, set_priority, stay_on};
use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};

/// Before whoever spins on the same processor: a thread that was woken runs at once, until
/// it sleeps again.
const BEFORE_SPINNING: i32 = 1;

/// They sleep on a word until its value changes.
pub struct Sleepers {
    side: Side,
    cell: Cell,
    /// How often one of them has been about to sleep.
    about_to_sleep: Arc<AtomicUsize>,
    /// How often all of them were let go.
    let_go: AtomicUsize,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Sleepers {
    /// Starts `nr` of them, on so many processors.
    pub fn new(side: Side, files: Files, cell: Cell, nr: usize, processors: usize) -> Self {
        let about_to_sleep = Arc::new(AtomicUsize::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let thread = |number: usize| {
            let (about_to_sleep, over) = (Arc::clone(&about_to_sleep), Arc::clone(&over));
            let sleep = move || {
                stay_on(number % processors);
                set_priority(BEFORE_SPINNING);
                let side = files.of_thread(side);
                let mut val = 0;
                while !over.load(Ordering::SeqCst) {
                    let mut wait = Wait::new(side, cell.word, val);
                    about_to_sleep.fetch_add(1, Ordering::SeqCst);
                    while !over.load(Ordering::SeqCst) && cell.value.load(Ordering::SeqCst) == val {
                        wait.call();
                    }
                    val += 1;
                }
            };
            let builder = Builder::new().stack_size(64 << 10);
            builder.spawn(sleep).expect("a thread")
        };
        let threads = (0..nr).map(thread).collect();
        Self {
            side,
            cell,
            about_to_sleep,
            let_go: AtomicUsize::new(0),
            over,
            threads,
        }
    }

    /// Returns when all of them sleep.
    pub fn all_sleep(&self) {
        let often = self.let_go.load(Ordering::SeqCst) + 1;
        while self.about_to_sleep.load(Ordering::SeqCst) < often * self.threads.len() {
            hint::spin_loop();
        }
        CALM.rest();
    }

    /// Changes the word's value. The wake is the caller's.
    pub fn let_go(&self) {
        self.let_go.fetch_add(1, Ordering::SeqCst);
        self.cell.value.fetch_add(1, Ordering::SeqCst);
    }

    /// Ends them, on whichever of `cells` they sleep.
    pub fn end(self, cells: &[Cell]) {
        self.over.store(true, Ordering::SeqCst);
        for thread in self.threads {
            while !thread.is_finished() {
                for cell in cells {
                    match self.side {
                        Side::Native => {
                            let word = cell.word;
                            futex::wake(word.addr(), i32::MAX, word.is_private()).expect("a wake");
                        }
                        Side::Ours(device, _) => {
                            device.wake_all(cell.word).expect("a wake");
                        }
                    }
                }
                std::thread::yield_now();
            }
            thread.join().expect("its end");
        }
    }
}
