// SPDX-License-Identifier: GPL-2.0
//! That no wake is lost, tried by many threads. A lost wake leaves a thread
//! asleep, which the bounded join finds.

use crate::harness::{AnyAtomic, Child, Mapping, PAGE, Task, effort, fx, nr_waiters};
use rfutex::{Error, Word};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

trials![
    ping_pong_private,
    ping_pong_shared,
    ping_pong_processes,
    mutex_of_every_size,
    mutex_between_processes,
    counted_wakes,
];

/// Waits until the word is no more `val`.
fn wait_while(word: Word<'static>, atomic: &AtomicU32, val: u32) {
    while atomic.load(Ordering::SeqCst) == val {
        match fx().wait(word, val.into()) {
            Ok(()) | Err(Error::Again) => {}
            Err(error) => panic!("wait: {error}"),
        }
    }
}

/// One side: its turn is when the word has its number.
fn play(map: &Mapping, word: Word<'static>, side: u32, rounds: u32) {
    let atomic = map.atomic::<AtomicU32>(0);
    for _ in 0..rounds {
        wait_while(word, atomic, 1 - side);
        atomic.store(1 - side, Ordering::SeqCst);
        fx().wake_one(word).expect("wake");
    }
}

fn ping_pong(map: Mapping, word: Word<'static>) {
    let rounds = effort(1500);
    let map = Arc::new(map);
    let sides = [0, 1].map(|side| {
        let map = map.clone();
        Task::spawn(move || play(&map, word, side, rounds))
    });
    sides.into_iter().for_each(Task::join);
    assert_eq!(nr_waiters(word), 0);
}

fn ping_pong_private() {
    let map = Mapping::private(PAGE);
    let word = map.word(0).private();
    ping_pong(map, word);
}

fn ping_pong_shared() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    ping_pong(map, word);
}

fn ping_pong_processes() {
    let rounds = effort(1500);
    let map = Mapping::shared(PAGE);
    let sides = [0, 1].map(|side| Child::run(|| play(&map, map.word(0), side, rounds)));
    sides.into_iter().for_each(Child::join);
}

/// The operations that a lock needs, of a word of any size.
trait Lock: AnyAtomic + Send + Sync + 'static {
    fn change(&self, from: u8, to: u8) -> Result<u8, u8>;
    fn replace(&self, to: u8) -> u8;
}

macro_rules! locks {
    ($($atomic:ty: $int:ty),*) => {$(
        impl Lock for $atomic {
            fn change(&self, from: u8, to: u8) -> Result<u8, u8> {
                self.compare_exchange(from.into(), to.into(), Ordering::Acquire, Ordering::Relaxed)
                    .map(|was| was as u8)
                    .map_err(|was| was as u8)
            }

            fn replace(&self, to: u8) -> u8 {
                self.swap(to.into(), Ordering::AcqRel) as u8
            }
        }
    )*};
}

locks!(AtomicU8: u8, AtomicU16: u16, AtomicU32: u32, AtomicU64: u64);

const FREE: u8 = 0;
const HELD: u8 = 1;
const CONTENDED: u8 = 2;

fn lock<T: Lock>(atomic: &T, word: Word<'static>) {
    if atomic.change(FREE, HELD).is_ok() {
        return;
    }
    while atomic.replace(CONTENDED) != FREE {
        match fx().wait(word, CONTENDED.into()) {
            Ok(()) | Err(Error::Again) => {}
            Err(error) => panic!("wait: {error}"),
        }
    }
}

fn unlock<T: Lock>(atomic: &T, word: Word<'static>) {
    if atomic.replace(FREE) == CONTENDED {
        fx().wake_one(word).expect("wake");
    }
}

/// Adds to a counter under the lock, not atomically, `rounds` times.
fn count<T: Lock>(map: &Mapping, word: Word<'static>, rounds: u32) {
    let (atomic, counter) = (map.atomic::<T>(0), map.atomic::<AtomicU64>(64));
    for _ in 0..rounds {
        lock(atomic, word);
        let seen = counter.load(Ordering::Relaxed);
        // Give others a chance to come and sleep.
        std::thread::yield_now();
        counter.store(seen + 1, Ordering::Relaxed);
        unlock(atomic, word);
    }
}

fn mutex<T: Lock>(private: bool) {
    const THREADS: u32 = 4;
    let rounds = effort(150);
    let map = Arc::new(Mapping::shared(PAGE));
    let word = map.sized_word(0, size_of::<T>() as u32);
    let word = if private { word.private() } else { word };
    let tasks: Vec<_> = (0..THREADS)
        .map(|_| {
            let map = map.clone();
            Task::spawn(move || count::<T>(&map, word, rounds))
        })
        .collect();
    tasks.into_iter().for_each(Task::join);
    let counter = map.atomic::<AtomicU64>(64).load(Ordering::Relaxed);
    assert_eq!(
        counter,
        u64::from(THREADS * rounds),
        "two threads had the lock"
    );
    assert_eq!(nr_waiters(word), 0);
}

fn mutex_of_every_size() {
    for private in [false, true] {
        mutex::<AtomicU8>(private);
        mutex::<AtomicU16>(private);
        mutex::<AtomicU32>(private);
        mutex::<AtomicU64>(private);
    }
}

fn mutex_between_processes() {
    const CHILDREN: u32 = 4;
    let rounds = effort(300);
    let map = Mapping::shared(PAGE);
    let children: Vec<_> = (0..CHILDREN)
        .map(|_| Child::run(|| count::<AtomicU32>(&map, map.word(0), rounds)))
        .collect();
    children.into_iter().for_each(Child::join);
    let counter = map.atomic::<AtomicU64>(64).load(Ordering::Relaxed);
    assert_eq!(
        counter,
        u64::from(CHILDREN * rounds),
        "two children had the lock"
    );
}

/// Each wake that was counted by a waker was seen by exactly one waiter.
fn counted_wakes() {
    const WAITERS: u32 = 4;
    const WAKES: u32 = 1500;
    let map = Arc::new(Mapping::private(PAGE));
    let word = map.word(0);
    let tasks: Vec<_> = (0..WAITERS)
        .map(|_| {
            let map = map.clone();
            Task::spawn(move || {
                let mut woken = 0;
                loop {
                    match fx().wait(word, 0) {
                        Ok(()) => woken += 1,
                        Err(Error::Again) => break woken,
                        Err(error) => panic!("wait: {error}"),
                    }
                    if map.atomic::<AtomicU32>(0).load(Ordering::SeqCst) != 0 {
                        break woken;
                    }
                }
            })
        })
        .collect();
    let mut counted = 0;
    while counted < effort(WAKES) {
        counted += fx().wake(word, 2, !0).expect("wake");
    }
    map.atomic::<AtomicU32>(0).store(1, Ordering::SeqCst);
    counted += fx().wake_all(word).expect("wake");
    let woken: u32 = tasks.into_iter().map(Task::join).sum();
    assert_eq!(woken, counted);
}
