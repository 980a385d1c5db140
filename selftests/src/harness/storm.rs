// SPDX-License-Identifier: GPL-2.0
//! Threads that do the same for as long as a test lasts.

use super::{Handler, Task, fx, signal_thread};
use crate::memory::RegionWord;
use nix::unistd::Pid;
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

/// A thread that has `tids` handle a signal again and again until told to stop.
///
/// The handler must be a counting one. The next is sent when all have handled the last: where that
/// is slow, they would do nothing else.
pub fn signal_again<const N: usize>(
    stop: &Arc<AtomicBool>,
    handler: &Arc<Handler>,
    tids: [Pid; N],
) -> Task<()> {
    let handler = Arc::clone(handler);
    let mut sent = 0;
    again(stop, move || {
        if handler.count() == sent {
            tids.iter()
                .for_each(|tid| signal_thread(*tid, handler.signal()));
            sent += N as u32;
        }
        std::thread::yield_now();
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
