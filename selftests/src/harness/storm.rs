// SPDX-License-Identifier: GPL-2.0
//! Threads that do the same for as long as a test lasts.

use super::{Task, fx};
use crate::memory::RegionWord;
use rfutex::{Error, WaitOptions, Word};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A thread that does `f` again and again until told to stop.
pub fn again(stop: &Arc<AtomicBool>, mut f: impl FnMut() + Send + 'static) -> Task<()> {
    let stop = Arc::clone(stop);
    Task::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            f();
        }
    })
}

/// A thread that waits on `word` again and again until it changes from 0, each time for as long as
/// `after` if there is a limit. Returns how often it was woken.
pub fn wait_and_count(word: Word<'static>, after: Option<Duration>) -> Task<u32> {
    Task::spawn(move || {
        let mut woken = 0;
        while word.load() == 0 {
            let options = WaitOptions::default();
            let options = after.map_or(options, |after| options.within(after));
            match fx().wait_with(word, 0, options) {
                Ok(()) => woken += 1,
                Err(Error::Interrupted | Error::TimedOut | Error::Again) => {}
                Err(error) => panic!("wait: {error}"),
            }
        }
        woken
    })
}
