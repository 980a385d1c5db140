// SPDX-License-Identifier: MIT OR Apache-2.0
//! A mutex that survives the death of whoever has it.

use crate::raw::uapi;
use crate::{Arena, Deadline, Error, WaitOptions, Word};
use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const WAITERS: u64 = uapi::RFUTEX_ROBUST_WAITERS as u64;
const DIED: u64 = uapi::RFUTEX_ROBUST_DIED as u64;
const SHIFT: u32 = uapi::RFUTEX_ROBUST_SHIFT;

/// A thread that has joined the robust words of an [`Arena`]: when it ends, whatever kills it,
/// the locks that it has are given up, and those who wait for them hear of it.
///
/// It stands for the thread that has made it. A child of fork(2) is another thread, and has to
/// join by itself.
#[derive(Debug)]
pub struct Member<'a> {
    arena: &'a Arena,
    id: u64,
    // It is of no use to another thread.
    thread: PhantomData<*const ()>,
}

impl<'a> Member<'a> {
    /// Has the calling thread join. It stays a member until it ends, executes a program, or the
    /// last descriptor and the last mapping of the table are gone.
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`]: the table has no robust words.
    /// - [`Error::Os`] with `ENOSPC`: the user has as many watches and members as are allowed.
    /// - [`Error::Os`] with `ENOMEM`.
    pub fn join(arena: &'a Arena) -> Result<Self, Error> {
        let table = arena.table();
        table.call_addr(uapi::RFUTEX_JOIN, 0)?;
        let id = table.identity()?.thread.id();
        Ok(Self {
            arena,
            id: id.expect("a thread has an id").get(),
            thread: PhantomData,
        })
    }

    /// The arena.
    pub fn arena(&self) -> &'a Arena {
        self.arena
    }
}

/// A mutex in the robust part of an [`Arena`], for threads of any processes that have the table.
///
/// If the thread that has it dies, the next one that takes it is told so
/// ([`RobustGuard::owner_died`]), and can put right what the other has left half done. What the
/// mutex protects lies elsewhere in the arena, and is accessed atomically, as everything
/// there.
///
/// The word is the one of the interface: the id of the thread that has the mutex, shifted by two
/// bits; bit 0 if somebody may be waiting; bit 1 if what is protected may have to be put
/// right. Without contention there is no system call.
///
/// The algorithm is that of a mutex of three states (Drepper, "Futexes are tricky"), with the
/// owner's id beside the states.
///
/// ```no_run
/// use rfutex::sync::{Member, RobustMutex};
/// use rfutex::{Arena, Error, Rfutex, Table, TableOptions};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// fn main() -> Result<(), Error> {
///     let options = TableOptions::new().arena(4096).robust(64);
///     let arena = Arena::map(Table::create(&Rfutex::open()?, options)?)?;
///     // Each thread joins by itself.
///     let member = Member::join(&arena)?;
///     let mutex = RobustMutex::at(&arena, 0).expect("it is in the robust part");
///     // What the mutex protects is not in the robust part.
///     let [sum, number]: &[AtomicU64; 2] = arena.get(64).expect("it is in the arena");
///
///     let mut guard = mutex.lock(&member)?;
///     if guard.owner_died() {
///         // Put right what may have been changed by half.
///         number.store(0, Ordering::Relaxed);
///         sum.store(0, Ordering::Relaxed);
///         guard.mark_consistent();
///     }
///     number.fetch_add(1, Ordering::Relaxed);
///     sum.fetch_add(7, Ordering::Relaxed);
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct RobustMutex<'a> {
    arena: &'a Arena,
    word: &'a AtomicU64,
}

/// A [`RobustMutex`] that the calling thread has. It is given up when this is dropped.
#[derive(Debug)]
#[must_use = "the mutex is given up when this is dropped"]
pub struct RobustGuard<'m> {
    mutex: RobustMutex<'m>,
    died: bool,
    thread: PhantomData<*const ()>,
}

impl<'a> RobustMutex<'a> {
    /// The mutex whose word is at `offset`. `None` if the offset is not a multiple of 8, or does
    /// not lie in the robust part.
    pub fn at(arena: &'a Arena, offset: usize) -> Option<Self> {
        if offset >= arena.robust_len() {
            return None;
        }
        let word = arena.get(offset)?;
        Some(Self { arena, word })
    }

    /// Takes the mutex, and sleeps until that is possible.
    ///
    /// # Errors
    ///
    /// [`Error::Deadlock`]: the calling thread has it.
    pub fn lock<'m>(self, member: &'m Member<'a>) -> Result<RobustGuard<'m>, Error> {
        self.lock_until(member, None)
    }

    /// Does what [`lock`](Self::lock) does, until `deadline` at most.
    ///
    /// # Errors
    ///
    /// [`Error::Deadlock`]: the calling thread has it. [`Error::TimedOut`].
    pub fn lock_until<'m>(
        self,
        member: &'m Member<'a>,
        deadline: Option<Deadline>,
    ) -> Result<RobustGuard<'m>, Error> {
        // Whoever has slept does not know whether others still do.
        let mut waiters = 0;
        loop {
            let now = self.word.load(Relaxed);
            let died = now & DIED;
            if now >> SHIFT == 0 {
                let mine = member.id << SHIFT | died | now & WAITERS | waiters;
                if self.replace(now, mine) {
                    return Ok(self.guard(died));
                }
                continue;
            }
            if now >> SHIFT == member.id {
                return Err(Error::Deadlock);
            }
            if now & WAITERS == 0 && !self.replace(now, now | WAITERS) {
                continue;
            }
            waiters = WAITERS;
            let options = WaitOptions {
                deadline,
                ..WaitOptions::default()
            };
            match self
                .arena
                .table()
                .wait_with(self.name(), now | WAITERS, options)
            {
                Ok(()) | Err(Error::Again | Error::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the mutex if nobody has it.
    pub fn try_lock<'m>(self, member: &'m Member<'a>) -> Option<RobustGuard<'m>> {
        loop {
            let now = self.word.load(Relaxed);
            if now >> SHIFT != 0 {
                return None;
            }
            if self.replace(now, now | member.id << SHIFT) {
                return Some(self.guard(now & DIED));
            }
        }
    }

    /// Whether somebody has the mutex.
    pub fn is_locked(self) -> bool {
        self.word.load(Relaxed) >> SHIFT != 0
    }

    fn guard<'m>(self, died: u64) -> RobustGuard<'m>
    where
        'a: 'm,
    {
        RobustGuard {
            mutex: self,
            died: died != 0,
            thread: PhantomData,
        }
    }

    fn replace(self, now: u64, new: u64) -> bool {
        self.word
            .compare_exchange(now, new, Acquire, Relaxed)
            .is_ok()
    }

    fn name(self) -> Word<'static> {
        self.arena.word(self.word)
    }
}

impl RobustGuard<'_> {
    /// Whether an owner has died with the mutex, and nobody has said since that all is well.
    pub fn owner_died(&self) -> bool {
        self.died
    }

    /// Says that what the mutex protects is as it should be. Otherwise the next one who takes the
    /// mutex is told the same as this one.
    pub fn mark_consistent(&mut self) {
        self.mutex.word.fetch_and(!DIED, Relaxed);
        self.died = false;
    }
}

impl Drop for RobustGuard<'_> {
    fn drop(&mut self) {
        let died = if self.died { DIED } else { 0 };
        let before = self.mutex.word.swap(died, Release);
        if before & WAITERS != 0 {
            let table = self.mutex.arena.table();
            table
                .wake_one(self.mutex.name())
                .expect("the word lies in the arena");
        }
    }
}
