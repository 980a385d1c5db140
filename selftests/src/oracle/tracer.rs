// SPDX-License-Identifier: GPL-2.0
//! Interrupts calls with no signal handler: as a debugger does, from a process of its own, since
//! none can trace its own threads.
//!
//! A signal that does nothing would not do: it is dropped when it is sent, and nobody notices.

use crate::harness::{Child, LIMIT, stop_and_go};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::os::unix::net::UnixDatagram;

/// The process.
#[derive(Debug)]
pub struct Tracer {
    socket: UnixDatagram,
    child: Child,
}

impl Tracer {
    /// Starts it.
    pub fn new() -> Self {
        let (ours, theirs) = UnixDatagram::pair().expect("a pair of sockets");
        let child = Child::run(|| {
            prctl::set_pdeathsig(Signal::SIGKILL).expect("prctl");
            loop {
                let mut tid = [0; size_of::<i32>()];
                theirs.recv(&mut tid).expect("recv");
                stop_and_go(Pid::from_raw(i32::from_ne_bytes(tid)));
                theirs.send(&[0]).expect("send");
            }
        });
        ours.set_read_timeout(Some(LIMIT)).expect("a time limit");
        Self {
            socket: ours,
            child,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// Stops a thread, which leaves its call in the kernel, and lets it go on. It is on its way when
    /// this returns.
    pub fn interrupt(&self, tid: Pid) {
        let sent = self.socket.send(&tid.as_raw().to_ne_bytes());
        sent.expect("send");
        self.socket.recv(&mut [0]).expect("a thread is interrupted");
    }
}
