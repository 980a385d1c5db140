// SPDX-License-Identifier: GPL-2.0
//! Owners whose end the scenarios do not see: a wait that names one is as any other.

use crate::harness::fx;
use nix::unistd::Pid;
use rfutex::raw::uapi;
use serde::{Deserialize, Serialize};
use std::sync::mpsc;
use std::thread;

/// Whom the waits of an actor's thread name as an owner on rfutex. A watch or a request cannot name
/// one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// Nobody.
    #[default]
    None,
    /// A thread, by its number and its id.
    Thread,
    /// A process, by its number.
    Process,
}

/// An owner as a call names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// `RFUTEX_OWNER_*`
    pub kind: u32,
    /// Its number.
    pub number: u32,
    /// Its id; 0 if the number alone has to do.
    pub id: u64,
}

/// A thread and a process that do not end as long as there are scenarios, and are in none.
#[derive(Debug)]
pub struct Owners {
    thread: Named,
    process: Named,
}

impl Owners {
    /// Starts the thread. The process is `process`.
    pub fn new(process: Pid) -> Self {
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let identity = fx().identity().expect("the module knows owners");
            tell.send(identity.thread).expect("somebody listens");
            loop {
                thread::park();
            }
        });
        let owner = told.recv().expect("a thread begins");
        Self {
            thread: Named {
                kind: uapi::RFUTEX_OWNER_THREAD,
                number: owner.number(),
                id: owner.id().map_or(0, u64::from),
            },
            process: Named {
                kind: uapi::RFUTEX_OWNER_PROCESS,
                number: process.as_raw() as u32,
                id: 0,
            },
        }
    }

    /// How a call names an owner.
    pub fn name(&self, owner: Owner) -> Named {
        match owner {
            Owner::None => Named::default(),
            Owner::Thread => self.thread,
            Owner::Process => self.process,
        }
    }
}
