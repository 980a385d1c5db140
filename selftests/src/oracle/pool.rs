// SPDX-License-Identifier: GPL-2.0
//! Threads and processes that wait for orders: the same ones for all scenarios.

use super::backend;
use super::mailbox::Mailbox;
use super::memory::{Bases, Common, Views};
use super::owner::{Named, Owners};
use super::probe::Probe;
use super::script::{Handler, Owner};
use super::tracer::Tracer;
use crate::harness::{self, Child, LIMIT};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SaFlags, Signal};
use nix::unistd::{Pid, getpid, gettid, pause};
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, PipeReader};
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;
use std::thread;

/// How many actors each process has for scenarios.
pub const ACTORS: [usize; 3] = [7, 4, 3];

/// The signal whose handler is installed without `SA_RESTART`.
const PLAIN: Signal = Signal::SIGUSR1;
/// With it.
const RESTART: Signal = Signal::SIGUSR2;

/// A thread of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id {
    /// The number of its process.
    pub process: usize,
    /// Its own number there.
    pub thread: usize,
}

/// What a process tells when it is ready.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    /// The ids of its threads.
    tids: Vec<i32>,
    /// Where its memory is.
    bases: Bases,
}

/// Starts a thread that carries out orders for ever. Returns its id.
fn serve(mailbox: Mailbox) -> i32 {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        // Whatever the conductor is.
        backend::set_priority(0).expect("a normal thread");
        tell.send(gettid().as_raw()).expect("somebody listens");
        loop {
            let order = mailbox.wait();
            mailbox.done(backend::carry_out(&order));
        }
    });
    told.recv().expect("a thread begins")
}

/// A thread that takes orders.
#[derive(Debug)]
pub struct Thread {
    /// Where it takes them from.
    pub mailbox: Mailbox,
    /// Its thread id.
    pub tid: Pid,
    /// How its state is looked at.
    pub probe: Probe,
}

/// A process with its actors, and, but for the conductor's own, one more thread that helps.
#[derive(Debug)]
pub struct Process {
    /// Its process id.
    pub pid: Pid,
    /// Where its memory is.
    pub bases: Bases,
    /// The memory itself.
    pub memory: File,
    /// Its threads.
    pub threads: Vec<Thread>,
    /// Where it gets tables from.
    pub socket: UnixDatagram,
    /// At its end when the process and all its rings are gone.
    pub rings: PipeReader,
    /// `None` for the conductor's own.
    pub child: Option<Child>,
}

/// All of them.
#[derive(Debug)]
pub struct Pool {
    /// The processes. The conductor is a thread of the first one.
    pub processes: Vec<Process>,
    /// What they have in common.
    pub common: Common,
    views: Views,
    tracer: Tracer,
    owners: OnceCell<Owners>,
    _handlers: [harness::Handler; 2],
}

extern "C" fn do_nothing(_signal: i32) {}

impl Pool {
    /// Starts them.
    pub fn new() -> Self {
        let common = Common::new();
        let views = Views::new(&common);
        views.keep();
        let mut pool = Self {
            processes: Vec::new(),
            common,
            views,
            tracer: Tracer::new(),
            owners: OnceCell::new(),
            _handlers: [
                harness::Handler::new(PLAIN, do_nothing, SaFlags::empty()),
                harness::Handler::new(RESTART, do_nothing, SaFlags::SA_RESTART),
            ],
        };
        for number in 0..ACTORS.len() {
            let process = pool.start(number);
            pool.processes.push(process);
        }
        pool
    }

    /// The thread of a process that is in no scenario; `None` where it is the conductor's own.
    pub fn helper(process: usize) -> Option<Id> {
        let thread = ACTORS[process];
        (process != 0).then_some(Id { process, thread })
    }

    fn start(&self, process: usize) -> Process {
        let mailboxes: Vec<_> = (0..ACTORS[process] + usize::from(process != 0))
            .map(|_| Mailbox::new())
            .collect();
        let (rings, tether) = io::pipe().expect("a pipe");
        let (ours, theirs) = UnixDatagram::pair().expect("a pair of sockets");
        let begin = |bases: Bases| {
            let tids = mailboxes.iter().cloned().map(serve).collect();
            let hello = postcard::to_allocvec(&Hello { tids, bases });
            theirs
                .send(&hello.expect("it can be encoded"))
                .expect("send");
        };
        let child = if process == 0 {
            begin(self.views.bases().clone());
            None
        } else {
            Some(Child::run(|| {
                prctl::set_pdeathsig(Signal::SIGKILL).expect("prctl");
                backend::begin(
                    tether.try_clone().expect("a descriptor"),
                    theirs.try_clone().expect("a descriptor"),
                );
                let views = Views::new(&self.common);
                begin(views.bases().clone());
                loop {
                    pause();
                }
            }))
        };
        let pid = child.as_ref().map_or(getpid(), Child::pid);
        ours.set_read_timeout(Some(LIMIT)).expect("a time limit");
        let mut hello = [0; 4096];
        let len = ours.recv(&mut hello).expect("a process begins");
        let Hello { tids, bases } = postcard::from_bytes(&hello[..len]).expect("a greeting");
        let threads = mailboxes.into_iter().zip(tids).map(|(mailbox, tid)| {
            let tid = Pid::from_raw(tid);
            Thread {
                mailbox,
                tid,
                probe: Probe::new(pid, tid),
            }
        });
        let path = format!("/proc/{pid}/mem");
        let memory = File::options().read(true).write(true).open(&path);
        Process {
            pid,
            bases,
            memory: memory.unwrap_or_else(|error| panic!("{path}: {error}")),
            threads: threads.collect(),
            socket: ours,
            rings,
            child,
        }
    }

    /// Starts a killed process again.
    pub fn revive(&mut self, process: usize) {
        self.processes[process] = self.start(process);
    }

    /// How waits name an owner that does not end: for machines with rfutex.
    pub fn owner(&self, owner: Owner) -> Named {
        let owners = || Owners::new(self.tracer.pid());
        self.owners.get_or_init(owners).name(owner)
    }

    /// A thread.
    pub fn thread(&self, id: Id) -> &Thread {
        &self.processes[id.process].threads[id.thread]
    }

    /// Interrupts what a thread does.
    pub fn interrupt(&self, id: Id, handler: Handler) {
        match handler {
            Handler::Plain => self.signal(id, PLAIN),
            Handler::Restart => self.signal(id, RESTART),
            Handler::None => self.tracer.interrupt(self.thread(id).tid),
        }
    }

    fn signal(&self, id: Id, signal: Signal) {
        let pid = self.processes[id.process].pid.as_raw();
        let tid = self.thread(id).tid.as_raw();
        // SAFETY: The call takes numbers.
        let result = unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal as i32) };
        Errno::result(result).expect("tgkill");
    }
}
