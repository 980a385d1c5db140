// SPDX-License-Identifier: GPL-2.0

//! Robust words: words of an arena that carry the id of a thread, and are marked when it ends.
//!
//! A thread that has joined has each word that carries its id marked when it has ended, and those
//! who wait there woken. There is no list of the words that a thread has: the words themselves are
//! looked through. So nothing that a thread leaves half done, wherever it is killed, makes a word
//! be overlooked.
//!
//! A thread may also be killed when it has given up a word, before it wakes the next; or when it
//! was woken, before it takes the word. Then no word carries its id, and those who wait would sleep
//! on. So the end of any thread also wakes one of those who wait on a word that nobody has, or in
//! which its owner does not see that somebody waits.

#![deny(unsafe_code)]

#[cfg(RFUTEX_KUNIT)]
mod tests;

use crate::{
    account::{
        Charge,
        Handle, //
    },
    arena::Arena,
    bindings as uapi,
    context::Context,
    key::Resolver,
    mm::{
        delayed_work::{
            self,
            DelayedWork,
            Work, //
        },
        pid::{
            Hears,
            Notice,
            Pid, //
        },
        task, //
    },
    op::wake::wake,
    owner,
    table::Table,
    trace,
    word::{
        Location,
        Size,
        Word, //
    }, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
};

/// How many times the change of a word is tried anew when others change it all the time. Only those
/// who have the arena can do that, and it is their own word.
const MARK_TRIES: u32 = 16;

/// The robust words of a table, and the threads that have joined.
#[pin_data]
pub(crate) struct Robust {
    table: Arc<Table>,
    /// How many words there are, from the beginning of the arena.
    nr_words: usize,
    #[pin]
    members: Mutex<KVec<Joined>>,
    /// Whether somebody was told of an end since the words were last looked through.
    told: Atomic<bool>,
}

/// A member, which is told when its thread may have ended.
type Joined = Pin<KBox<Notice<Member>>>;

/// A thread that has joined.
pub(crate) struct Member {
    /// Its id, which it writes into the words that it has.
    id: u64,
    /// How many words were marked because its thread has ended.
    marked: Atomic<u32>,
    robust: Arc<DelayedWork<Robust>>,
    _charge: Charge,
}

impl Hears for Member {
    fn hear(&self) {
        // Those of a process mostly end together, and one walk through the words does for all of
        // them. So whoever makes threads end again and again also pays for most of the time. The
        // first one says when it is; those who end until then do not put it off.
        if !self.robust.told.xchg(true, Full) {
            self.robust.run_after(1);
        }
    }
}

impl Robust {
    /// The first `size` bytes of the arena of `table` as robust words, with no members. `size` must
    /// be a multiple of the size of a word, and not larger than the arena.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no memory.
    pub(crate) fn new(table: Arc<Table>, size: usize) -> Result<Arc<DelayedWork<Self>>> {
        let robust = pin_init!(Self {
            table,
            nr_words: size / Size::U64.bytes(),
            members <- new_mutex!(KVec::new(), "rfutex_members"),
            told: Atomic::new(false),
        });
        Arc::pin_init(DelayedWork::new(robust), GFP_KERNEL_ACCOUNT)
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.nr_words * Size::U64.bytes()
    }

    /// Makes the current thread a member, until it ends or [`Self::close`] is called.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: the user has as many members, watches and requests as are allowed. `ENOMEM`: there
    /// is no memory. Others as [`owner::current_ids`].
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    pub(crate) fn join(this: &Arc<DelayedWork<Self>>) -> Result {
        let (id, _) = owner::current_ids()?;
        // Nobody but the caller itself can make it a member.
        if this.members.lock().iter().any(|member| member.id == id) {
            return Ok(());
        }
        let member = Member {
            id,
            marked: Atomic::new(0),
            robust: this.clone(),
            _charge: Handle::of_current()?.charge()?,
        };
        let joined = KBox::pin_init(
            Notice::new(Pid::current_thread(), member),
            GFP_KERNEL_ACCOUNT,
        )?;
        let mut members = this.members.lock();
        // The caller may be what has become of another member, by executing this program. What that
        // one has left behind is dealt with before the caller uses any word.
        let leads = this.bury(&mut members) | joined.living().is_some_and(|caller| caller.leads);
        members.push(joined, GFP_KERNEL_ACCOUNT)?;
        drop(members);
        if leads {
            this.run_within(delayed_work::about_a_second());
        }
        Ok(())
    }

    /// Ends the membership of all threads. Nobody may join any more.
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    pub(crate) fn close(this: &DelayedWork<Self>) {
        this.disable();
        let members = core::mem::take(&mut *this.members.lock());
        drop(members);
    }

    /// Deals with the members that have ended. Returns whether one of the others is the main thread
    /// of its process, of whose end nobody may be told.
    fn bury(&self, members: &mut KVec<Joined>) -> bool {
        let mut leads = false;
        // Those who live come first.
        let mut nr_living = 0;
        for index in 0..members.len() {
            if let Some(thread) = members[index].living() {
                leads |= thread.leads;
                members.swap(index, nr_living);
                nr_living += 1;
            }
        }
        let ended = &mut members[nr_living..];
        if !ended.is_empty() {
            ended.sort_unstable_by_key(|member| member.id);
            self.mark(ended);
            for member in &*ended {
                trace::member_has_ended(member.pid(), member.id, member.marked.load(Relaxed));
            }
            self.wake_the_forgotten();
        }
        members.truncate(nr_living);
        leads
    }

    /// Marks all words that carry the id of one of the `ended`, which are sorted, and wakes all who
    /// wait there.
    fn mark(&self, ended: &[Joined]) {
        let Some(arena) = self.table.arena() else {
            return;
        };
        arena.for_each_used(self.nr_words, uapi::RFUTEX_ROBUST_SHIFT, |index, id| {
            if let Ok(member) = ended.binary_search_by_key(&id, |member| member.id) {
                if self.mark_one(arena, index, id) {
                    ended[member].marked.fetch_add(1, Relaxed);
                }
            }
        });
    }

    /// Marks the word with this `index` if it carries the `id`, and wakes all who wait there. Returns
    /// whether it was marked.
    #[cold]
    fn mark_one(&self, arena: &Arena, index: usize, id: u64) -> bool {
        let Ok(word) = word(index) else {
            return false;
        };
        let mut marked = false;
        for _ in 0..MARK_TRIES {
            let old = arena.update(word, |old| {
                if old >> uapi::RFUTEX_ROBUST_SHIFT == id {
                    old & u64::from(uapi::RFUTEX_ROBUST_WAITERS)
                        | u64::from(uapi::RFUTEX_ROBUST_DIED)
                } else {
                    old
                }
            });
            if old != Err(EAGAIN) {
                marked = old.is_ok_and(|old| old >> uapi::RFUTEX_ROBUST_SHIFT == id);
                break;
            }
        }
        // The update was a full barrier, so that whoever is not met here has seen the new value.
        let _ = wake(self.context(), word, u64::MAX, u32::MAX);
        marked
    }

    /// Wakes one of those who wait on a word that nobody has, or whose owner would not wake them.
    fn wake_the_forgotten(&self) {
        if !self.table.anybody_waits() {
            return;
        }
        for index in 0..self.nr_words {
            let Ok(word) = word(index) else {
                return;
            };
            if index % 1024 == 0 {
                task::cond_resched();
            }
            let forgotten = self.table.arena().is_some_and(|arena| {
                arena.load(word).is_some_and(|value| {
                    value >> uapi::RFUTEX_ROBUST_SHIFT == 0
                        || value & u64::from(uapi::RFUTEX_ROBUST_WAITERS) == 0
                })
            });
            if forgotten {
                let _ = wake(self.context(), word, u64::MAX, 1);
            }
        }
    }

    fn context(&self) -> Context<'_> {
        // No resolver is needed for a word in an arena.
        Context::new(&self.table, Resolver::Page)
    }
}

impl Notice<Member> {
    /// The thread, if it has not ended.
    fn living(&self) -> Option<crate::mm::pid::Thread> {
        let thread = self.pid().thread()?;
        (owner::thread_id(self.pid(), thread) == Ok(self.id)).then_some(thread)
    }
}

impl Work for Robust {
    fn run(this: &DelayedWork<Self>) {
        // (This has to read what `hear` has written, so that an end that was told of before is seen
        // below.)
        this.told.xchg(false, Full);
        let leads = this.bury(&mut this.members.lock());
        if leads {
            this.run_within(delayed_work::about_a_second());
        }
    }
}

/// The word with this index.
fn word(index: usize) -> Result<Word> {
    let size = Size::U64;
    Word::new((index * size.bytes()) as u64, size, Location::Arena)
}
