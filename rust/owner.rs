// SPDX-License-Identifier: GPL-2.0

//! Owners: the threads and processes that a wait can name, so that it ends with them.
//!
//! The word of a lock says who has it. Whoever waits for the lock passes this on to the wait, which
//! returns `EOWNERDEAD` if the owner has ended, or ends while the caller sleeps. The module does not
//! touch the word: those who hear of the end settle among themselves who takes over.

#![deny(unsafe_code)]

#[cfg(RFUTEX_KUNIT)]
mod tests;

use crate::{
    bindings as uapi,
    mm::{
        pid::{
            self,
            Pid,
            Thread, //
        },
        version::{
            EDEADLK,
            EOWNERDEAD, //
        },
    },
    trace, //
};
use core::{
    cell::Cell,
    num::NonZero, //
};
use kernel::{
    pid_namespace::PidNamespace,
    prelude::*,
    sync::aref::ARef, //
};

/// What an owner is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A thread, which ends when it exits, and when it executes a program.
    Thread,
    /// A process, which ends when its last thread does.
    Process,
}

/// What a request says of an owner.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    pub(crate) kind: Kind,
    /// The number in the caller's pid namespace.
    pub(crate) number: i32,
    /// The id; `None` if whoever has the number now is meant.
    pub(crate) id: Option<NonZero<u64>>,
}

/// How many bits of a thread's id say how many programs it has executed.
const EXEC_BITS: u32 = 18;

/// How many bits an id has at most.
const ID_BITS: u32 = 62;

/// The id of a process, or that of a thread which has executed so many programs.
///
/// # Errors
///
/// `EOVERFLOW`: the machine has had too many threads. There is not enough time for that.
fn id(pid: &Pid, exec_id: u64) -> Result<u64> {
    let unique = pid.unique();
    if unique >> (ID_BITS - EXEC_BITS) != 0 {
        return Err(EOVERFLOW);
    }
    Ok(unique << EXEC_BITS | exec_id & ((1 << EXEC_BITS) - 1))
}

/// The id of a thread while it runs the program that it runs now.
///
/// # Errors
///
/// `EOVERFLOW`: the machine has had too many threads.
pub(crate) fn thread_id(pid: &Pid, thread: Thread) -> Result<u64> {
    id(pid, thread.exec_id)
}

/// The ids of the current thread and of its process.
///
/// # Errors
///
/// `EOVERFLOW`: the machine has had too many threads.
///
/// # Context
///
/// Process context. Does not sleep.
pub(crate) fn current_ids() -> Result<(u64, u64)> {
    let pid = Pid::current_thread();
    // A task that runs has not ended.
    let thread = pid.thread().ok_or(ESRCH)?;
    Ok((thread_id(&pid, thread)?, id(&Pid::current_process(), 0)?))
}

/// What is known of an owner's life.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Whoever listens is told when it may have ended.
    Goes,
    /// It may end without anybody being told.
    GoesUnheard,
    /// It has ended.
    Ended,
}

impl Kind {
    /// The number that the user interface has for this kind (`RFUTEX_OWNER_*`).
    pub(crate) fn to_uapi(self) -> u32 {
        match self {
            Kind::Thread => uapi::RFUTEX_OWNER_THREAD,
            Kind::Process => uapi::RFUTEX_OWNER_PROCESS,
        }
    }
}

/// A thread or a process that a wait has named.
#[derive(Clone)]
pub(crate) struct Owner {
    kind: Kind,
    /// `None` if it had ended before it was looked up.
    pid: Option<ARef<Pid>>,
    /// How many programs the thread had executed when it was looked up.
    exec_id: u64,
}

impl Name {
    /// Looks the owner up.
    ///
    /// # Errors
    ///
    /// `EDEADLK`: it is the caller. `EINVAL`: a process is named by the number of a thread that is
    /// not its main one.
    ///
    /// # Context
    ///
    /// Process context. Does not sleep.
    #[inline(always)]
    pub(crate) fn find(self) -> Result<Owner> {
        let ended = Owner {
            kind: self.kind,
            pid: None,
            exec_id: 0,
        };
        let Some(pid) = Pid::find(self.number) else {
            return Ok(ended);
        };
        let exec_id = match self.kind {
            Kind::Process => 0,
            Kind::Thread => match pid.thread() {
                Some(thread) => thread.exec_id,
                None => return Ok(ended),
            },
        };
        if self
            .id
            .is_some_and(|named| id(&pid, exec_id) != Ok(named.get()))
        {
            return Ok(ended);
        }
        let is_caller = match self.kind {
            Kind::Thread => pid.is_current_thread(),
            Kind::Process if pid.is_no_process() => return Err(EINVAL),
            Kind::Process => pid.is_current_process(),
        };
        if is_caller {
            return Err(EDEADLK);
        }
        Ok(Owner {
            pid: Some(pid),
            exec_id,
            ..ended
        })
    }
}

impl Owner {
    /// Whether it has ended.
    ///
    /// # Context
    ///
    /// Process context. Does not sleep.
    pub(crate) fn life(&self) -> Life {
        let Some(pid) = &self.pid else {
            return Life::Ended;
        };
        match self.kind {
            Kind::Process if pid.process_has_ended() => Life::Ended,
            Kind::Process => Life::Goes,
            Kind::Thread => match pid.thread() {
                // A main thread may end while others go on, and it ends when one of them executes a
                // program, which then has its id.
                Some(thread) if thread.exec_id == self.exec_id && thread.leads => Life::GoesUnheard,
                Some(thread) if thread.exec_id == self.exec_id => Life::Goes,
                _ => Life::Ended,
            },
        }
    }

    /// Calls `f`, and wakes the current task whenever [`Self::life`] may have become another
    /// meanwhile, unless that was [`Life::GoesUnheard`].
    ///
    /// # Errors
    ///
    /// Those of `f`. `EOWNERDEAD`: the owner had ended before it was looked up. Then `f` is not
    /// called.
    ///
    /// # Context
    ///
    /// Process context. Does not sleep, unless `f` does.
    #[inline]
    pub(crate) fn listening(&self, f: impl FnOnce() -> Result) -> Result {
        let Some(pid) = &self.pid else {
            return Err(EOWNERDEAD);
        };
        pid::listening(pid, f)
    }

    /// What kind of owner it is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Its number in the initial pid namespace; 0 if it had ended before it was looked up.
    #[cfg(CONFIG_TRACEPOINTS)]
    pub(crate) fn global_number(&self) -> u32 {
        self.pid.as_ref().map_or(0, |pid| pid.global_number())
    }

    /// Its id; 0 if it had ended before it was looked up.
    #[cfg(CONFIG_TRACEPOINTS)]
    pub(crate) fn id(&self) -> u64 {
        let id = |pid: &ARef<Pid>| id(pid, self.exec_id).ok();
        self.pid.as_ref().and_then(id).unwrap_or(0)
    }

    /// Its number in the pid namespace `ns`, which is 0 if it has ended, and its id; `None` if it
    /// has no number there.
    pub(crate) fn in_namespace(&self, ns: &PidNamespace) -> Option<(u32, u64)> {
        let pid = self.pid.as_ref()?;
        let number = pid.number_in(ns)?;
        let number = if self.life() == Life::Ended {
            0
        } else {
            number
        };
        Some((number, id(pid, self.exec_id).ok()?))
    }

    /// Whether the two are the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let pid = |owner: &Self| owner.pid.as_ref().map(|pid| core::ptr::from_ref(&**pid));
        (self.kind, pid(self), self.exec_id) == (other.kind, pid(other), other.exec_id)
    }
}

/// The owners of the words of a call, each once.
pub(crate) struct Owners {
    owners: KVec<Owner>,
    /// For each of them, the index of the first word that has it.
    indices: [u32; MAX_OWNERS],
    /// The owners of the words with lower indices than this are known. If such a word has one, what
    /// is here under its index is the place of the owner among all.
    of_words: KVec<u8>,
    /// The index of a word whose owner has ended.
    ended: Cell<Option<u32>>,
}

/// How many owners the words of a call can have.
const MAX_OWNERS: usize = uapi::RFUTEX_WAITV_OWNERS as usize;

impl Owners {
    /// No owners. Allocates nothing.
    pub(crate) fn new() -> Self {
        Self {
            owners: KVec::new(),
            indices: [0; MAX_OWNERS],
            of_words: KVec::new(),
            ended: Cell::new(None),
        }
    }

    /// Adds the owner of the word with this `index`, unless another word has it, or a word with this
    /// index or a higher one had an owner before.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there are too many. `ENOMEM`: there is no memory. Others as [`Name::find`].
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    #[cold]
    pub(crate) fn add(&mut self, name: Name, index: usize) -> Result {
        if index < self.of_words.len() {
            return Ok(());
        }
        let owner = name.find()?;
        let known = self.owners.iter().position(|known| known.is(&owner));
        let place = match known {
            Some(place) => place,
            None => {
                let place = self.owners.len();
                *self.indices.get_mut(place).ok_or(EINVAL)? = index as u32;
                self.owners.push(owner, GFP_KERNEL)?;
                place
            }
        };
        // The words in between have no owners.
        let nr = index - self.of_words.len();
        self.of_words.extend_with(nr, u8::MAX, GFP_KERNEL)?;
        self.of_words.push(place as u8, GFP_KERNEL)?;
        Ok(())
    }

    /// The owner of the word with this `index`, which must have one that was added.
    #[cold]
    pub(crate) fn of(&self, index: usize) -> Option<&Owner> {
        self.owners.get(usize::from(*self.of_words.get(index)?))
    }

    /// Whether there are none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Calls `f`, as [`Owner::listening`] does, for all of them. `f` is given what tells of their
    /// lives.
    ///
    /// # Errors
    ///
    /// As [`Owner::listening`].
    #[cold]
    pub(crate) fn listening(&self, f: impl FnOnce(&dyn Fn() -> Life) -> Result) -> Result {
        // Of one that had ended before it was looked up, the index has to be noted.
        if self.life() == Life::Ended {
            return Err(EOWNERDEAD);
        }
        let mut f = Some(f);
        listening_to_all(&self.owners, &mut || match f.take() {
            Some(f) => f(&|| self.life()),
            None => Ok(()),
        })
    }

    /// What is known of the life of the one of which least will be heard.
    fn life(&self) -> Life {
        let mut all = Life::Goes;
        for (owner, &index) in self.owners.iter().zip(&self.indices) {
            match owner.life() {
                Life::Goes => {}
                Life::GoesUnheard => all = Life::GoesUnheard,
                Life::Ended => {
                    self.ended.set(Some(index));
                    return Life::Ended;
                }
            }
        }
        all
    }

    /// The index of a word whose owner was seen to have ended, and `RFUTEX_WAITV_OWNERDEAD`; `None`
    /// if all lived.
    ///
    /// This is not looked up anew: while a thread executes a program, its main thread has ended, but
    /// for a moment the task that has the id then does not show it.
    pub(crate) fn ended(&self) -> Option<u32> {
        let index = self.ended.get()?;
        let mut all = self.owners.iter().zip(&self.indices);
        if let Some((owner, _)) = all.find(|(_, first)| **first == index) {
            trace::owner_has_ended(owner);
        }
        Some(index | uapi::RFUTEX_WAITV_OWNERDEAD)
    }
}

/// Calls `f`, as [`Owner::listening`] does, for all `owners`.
fn listening_to_all(owners: &[Owner], f: &mut dyn FnMut() -> Result) -> Result {
    match owners {
        [] => f(),
        [owner, others @ ..] => owner.listening(|| listening_to_all(others, f)),
    }
}
