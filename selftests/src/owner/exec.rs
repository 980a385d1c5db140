// SPDX-License-Identifier: GPL-2.0
//! Somebody looks at an owner while another thread than the main one executes a program.
//!
//! That thread takes over the number of the main thread, which has ended then, and becomes the main
//! thread itself. Between the steps of this, the task that has the number of the process is not the
//! one that leads it. The lab build keeps those who look between two of their own steps until
//! that is done. Whoever is kept has a processor for itself, which it does not give away. Everybody
//! else is on the first one, where interrupts arrive.

use super::{Place, living_until_it_executes, nobody, owned, process, thread, waiter};
use crate::harness::{Child, Fault, Task, fx, stay_on, until, until_queued};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rfutex::{Error, WaitOptions, Word};
use std::time::Duration;

trials![; lab: process_goes_on, thread_has_ended];

/// A child that is going to execute a program, on the first processor, as the caller is from now on.
/// Returns the number of the thread that will do so, too.
fn on_the_first_processor(place: &Place) -> (Child, Pid) {
    stay_on(0);
    living_until_it_executes(place)
}

/// A thread on the second processor that waits with these options.
fn looks_on_the_second_processor(
    word: Word<'static>,
    options: WaitOptions,
) -> Task<Result<(), Error>> {
    Task::spawn(move || {
        stay_on(1);
        fx().wait_with(word, 0, options)
    })
}

/// Has the thread `tid` execute the program as soon as somebody is kept at `point`, who goes on when
/// the main thread has ended and `tid` is nobody's number any more. (The rest of execve(2) may have
/// to wait until then.)
#[track_caller]
fn execute_while_kept(place: &Place, tid: Pid, point: Fault) {
    let exists = || kill(tid, None) != Err(Errno::ESRCH);
    until("somebody looks", || point.hits() > 0);
    assert!(exists());
    place.set(0);
    until("it is the main thread", || !exists());
    drop(point);
}

/// The main thread that was found has ended, and it was the last one but for the thread that
/// executes the program: the process has not ended.
fn process_goes_on() {
    let place = Place::new();
    let (child, tid) = on_the_first_processor(&place);
    let point = Fault::arm("process-found", 1);
    let (word, owner) = (place.word(), process(child.pid()));
    let options = owned(owner).within(Duration::from_millis(1));
    let task = looks_on_the_second_processor(word, options);
    execute_while_kept(&place, tid, point);
    assert_eq!(task.join(), Err(Error::TimedOut));
    let task = waiter(word, owner);
    child.kill(Signal::SIGKILL);
    assert_eq!(task.join(), Err(Error::OwnerEnded));
    child.status();
    nobody(word);
}

/// The main thread lived when it was found, and nobody is told that it has ended: whoever waits for it
/// has to know that it was a main thread, and to look again.
fn thread_has_ended() {
    let place = Place::new();
    let (child, tid) = on_the_first_processor(&place);
    let task = looks_on_the_second_processor(place.word(), owned(thread(child.pid())));
    until_queued(place.word(), 1);
    // Each second it looks again.
    let point = Fault::arm("thread-found", 1);
    execute_while_kept(&place, tid, point);
    assert_eq!(task.join(), Err(Error::OwnerEnded));
    child.kill(Signal::SIGKILL);
    child.status();
    nobody(place.word());
}
