// SPDX-License-Identifier: GPL-2.0
//! A waiter that is always there again, to see whether a wake comes.

use crate::harness::{LIMIT, Service, Task, nr_waiters};
use rfutex::Word;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

/// A thread that waits on a word, whatever its value is, again and again until this goes.
pub struct Standing {
    service: Service,
    word: Word<'static>,
    stop: Arc<AtomicBool>,
    task: Option<Task<()>>,
}

impl Standing {
    /// On the word at the address of `word`, as 32 bits; its size does not matter to a wake.
    pub fn start(
        service: Service,
        word: Word<'static>,
        load: impl Fn() -> u32 + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = Task::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::SeqCst) {
                    let errno = service.wait(word, load());
                    assert!([0, libc::EAGAIN].contains(&errno), "{errno}");
                }
            }
        });
        Self {
            service,
            word,
            stop,
            task: Some(task),
        }
    }

    /// Returns when it waits. Nobody may change the word before it does.
    #[track_caller]
    pub fn until_waiting(&self) {
        let start = Instant::now();
        let task = self.task.as_ref().expect("it has not been stopped");
        while !match self.service {
            Service::Ours => nr_waiters(self.word) == 1,
            Service::Theirs => task.sleeps_in_futex(self.word.addr()),
        } {
            assert!(start.elapsed() < LIMIT, "it does not wait");
            thread::yield_now();
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let task = self.task.take().expect("only stopped here");
        while !thread::panicking() && !task.is_finished() {
            self.service.wake(self.word, 1).expect("wake");
            thread::yield_now();
        }
        if !thread::panicking() {
            task.join();
        }
    }
}
