// SPDX-License-Identifier: GPL-2.0
//! The end of a thread that has joined robust words.

use crate::measure::Batch;
use crate::memory::Memory;
use crate::scheduling::{self, Policy};
use crate::side::Side;
use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{getpid, gettid};
use rfutex::raw::uapi;
use rfutex::sync::Member;
use rfutex::{Arena, Rfutex, Table, TableOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::thread::{JoinHandle, park, spawn, yield_now};

/// How many robust words there are: 64 KiB of them.
pub const WORDS: u32 = 8192;

/// What the words contain, except for the one of the thread that ends.
#[derive(Clone, Copy)]
enum Others {
    /// Nothing: nobody has them.
    Free,
    /// The id of a thread that does not end.
    Held,
}

/// A thread ends, and has the last of the words. Nobody has the others.
pub fn free(side: Side, _: Memory) -> Batch {
    ends(side, Others::Free)
}

/// The same, but another thread has the others.
pub fn held(side: Side, _: Memory) -> Batch {
    ends(side, Others::Held)
}

/// The contender is the end of a thread that has not joined.
fn ends(side: Side, others: Others) -> Batch {
    // Woken threads do not preempt this one: it reads the clocks before they run.
    scheduling::set(Policy::Batch);
    let arena = match side {
        Side::Native => None,
        Side::Ours(device, _) => Some(Arc::new(arena(device, others))),
    };
    Box::new(move |nr| (0..nr).map(|_| Mortal::begin(arena.clone()).end()).sum())
}

/// An arena of which all is robust.
fn arena(device: &Rfutex, others: Others) -> Arena {
    let size = u64::from(WORDS) * 8;
    let options = TableOptions::new().arena(size).robust(size);
    let table = Table::create(device, options).expect("a table");
    let arena = Arena::map(table).expect("the arena is mapped");
    if let Others::Held = others {
        let own = id(&arena);
        for nr in 0..WORDS {
            word(&arena, nr).store(own, Ordering::Relaxed);
        }
    }
    arena
}

fn word(arena: &Arena, nr: u32) -> &AtomicU64 {
    arena.get(nr as usize * 8).expect("it is in the arena")
}

/// What the calling thread writes into the words that it has.
fn id(arena: &Arena) -> u64 {
    let identity = arena.table().identity().expect("an identity");
    identity.thread.id().expect("an id").get() << uapi::RFUTEX_ROBUST_SHIFT
}

/// A thread that ends when it is told to.
struct Mortal {
    arena: Option<Arc<Arena>>,
    thread: JoinHandle<()>,
    tid: i32,
    end: Arc<AtomicBool>,
}

impl Mortal {
    /// Starts one. With an `arena`, it joins, and takes the last word.
    fn begin(arena: Option<Arc<Arena>>) -> Self {
        let (told, end) = <(Arc<AtomicI32>, Arc<AtomicBool>)>::default();
        let (tell, theirs, stop) = (told.clone(), arena.clone(), end.clone());
        let thread = spawn(move || {
            if let Some(arena) = &theirs {
                Member::join(arena).expect("it joins");
                word(arena, WORDS - 1).store(id(arena), Ordering::Relaxed);
            }
            tell.store(gettid().as_raw(), Ordering::Release);
            while !stop.load(Ordering::Acquire) {
                park();
            }
        });
        while told.load(Ordering::Acquire) == 0 {
            yield_now();
        }
        let tid = told.load(Ordering::Relaxed);
        Self {
            arena,
            thread,
            tid,
            end,
        }
    }

    /// Has it end. Returns for how long others than the caller have run until it had ended, and
    /// its word was marked.
    ///
    /// The caller does not sleep meanwhile, because the processor would be idle then: the words
    /// are looked through when the next tick has come.
    fn end(self) -> i64 {
        self.end.store(true, Ordering::Release);
        let ns = time_of_others(|| {
            self.thread.thread().unpark();
            while !(self.has_ended() && self.is_marked()) {}
        });
        self.thread.join().expect("the thread's end");
        ns
    }

    fn has_ended(&self) -> bool {
        // SAFETY: It only asks whether the thread is there.
        let result = unsafe { libc::syscall(libc::SYS_tgkill, getpid().as_raw(), self.tid, 0) };
        Errno::result(result) == Err(Errno::ESRCH)
    }

    fn is_marked(&self) -> bool {
        let is_marked = |arena: &Arc<Arena>| {
            let value = word(arena, WORDS - 1).load(Ordering::Acquire);
            value == u64::from(uapi::RFUTEX_ROBUST_DIED)
        };
        self.arena.as_ref().is_none_or(is_marked)
    }
}

/// For how long others have had the one processor while the calling thread did `run`, and would
/// have had it, too.
fn time_of_others(run: impl FnOnce()) -> i64 {
    let read = |clock| {
        let time = clock_gettime(clock).expect("a clock");
        time.tv_sec() * 1_000_000_000 + time.tv_nsec()
    };
    let clocks = || [ClockId::CLOCK_MONOTONIC, ClockId::CLOCK_THREAD_CPUTIME_ID].map(read);
    let before = clocks();
    run();
    let after = clocks();
    let [all, own] = [after[0] - before[0], after[1] - before[1]];
    all - own
}
