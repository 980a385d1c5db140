// SPDX-License-Identifier: GPL-2.0
//! What befalls whole processes in a scenario: they are stopped, go on, and are killed.

use super::conductor::{End, Stuck};
use super::play::Play;
use super::pool::Id;
use super::trace::Outcome;
use crate::harness::{Child, until};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id as WaitId, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::io::PipeReader;
use std::os::fd::AsFd;

impl Play<'_, '_> {
    /// The actors of a process that wait.
    fn sleepers(&self, process: usize) -> Vec<(usize, Id)> {
        let actors = self.stage.cast.iter().enumerate();
        actors
            .filter_map(|(actor, id)| {
                let id = (*id)?;
                (id.process == process && self.conductor.is_busy(id)).then_some((actor, id))
            })
            .collect()
    }

    pub(super) fn stop(&mut self, process: usize) -> Result<Outcome, Stuck> {
        let sleepers = self.sleepers(process);
        let of_tasks = || {
            let calls = sleepers.iter().filter_map(|(actor, _)| self.asleep[*actor]);
            calls.filter(|asleep| !asleep.armed)
        };
        if process == 0
            || self.stopped[process]
            || self.dead[process]
            || of_tasks().count() > 1
            || of_tasks().any(|asleep| asleep.swaps() || self.has_lost_word(process, asleep.step))
        {
            return Ok(Outcome::Skipped);
        }
        let pid = self.conductor.pool.processes[process].pid;
        kill(pid, Signal::SIGSTOP).expect("kill");
        until("a process stops", || is_stopped(pid));
        self.stopped[process] = true;
        for (_, id) in sleepers {
            self.conductor.expect(id, End::Held);
        }
        self.conductor.quiet()?;
        Ok(Outcome::Returned(0))
    }

    pub(super) fn go_on(&mut self, process: usize) -> Result<Outcome, Stuck> {
        if !self.stopped[process] {
            return Ok(Outcome::Skipped);
        }
        self.stopped[process] = false;
        for (actor, id) in self.sleepers(process) {
            self.conductor.expect(id, self.prospect(self.asleep[actor]));
        }
        kill(self.conductor.pool.processes[process].pid, Signal::SIGCONT).expect("kill");
        self.conductor.quiet()?;
        Ok(Outcome::Returned(0))
    }

    pub(super) fn kill(&mut self, process: usize) -> Result<Outcome, Stuck> {
        if process == 0 || self.dead[process] {
            return Ok(Outcome::Skipped);
        }
        let child = &self.conductor.pool.processes[process].child;
        let child = child.as_ref().expect("it is a child");
        child.kill(Signal::SIGKILL);
        until("a killed process ends", || Child::is_finished(child));
        let rings = &self.conductor.pool.processes[process].rings;
        until("its rings are gone", || has_ended(rings));
        for (actor, _) in self.sleepers(process) {
            self.asleep[actor] = None;
        }
        self.conductor.forget(process);
        (self.dead[process], self.stopped[process]) = (true, false);
        self.conductor.quiet()?;
        Ok(Outcome::Returned(0))
    }

    /// Whether a process was killed.
    pub(super) fn is_dead(&self, process: usize) -> bool {
        self.dead[process]
    }
}

fn is_stopped(pid: Pid) -> bool {
    let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let status = waitid(WaitId::Pid(pid), flags).expect("waitid");
    matches!(status, WaitStatus::Stopped(..))
}

/// Whether nobody can write to a pipe any more, to which nobody has written.
fn has_ended(pipe: &PipeReader) -> bool {
    let mut end = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    poll(&mut end, PollTimeout::ZERO).expect("poll") == 1
}
