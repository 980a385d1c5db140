// SPDX-License-Identifier: GPL-2.0
//! The mutex of the crate, beside those that programs have without it.

use crate::measure::{Batch, batch};
use crate::memory::Memory;
use crate::scheduling::{self, Policy};
use crate::side::Side;
use rfutex::Rfutex;
use rfutex::sync::lock_api::RawMutex as _;
use rfutex::sync::{self, RawMutex};
use rfutex_selftests::harness::{Child, Mapping, PAGE};
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::yield_now;

/// The locks of this process use `device` from now on.
fn use_device(device: &'static Rfutex) {
    let file = device.as_fd().try_clone_to_owned().expect("a descriptor");
    let same = Rfutex::try_from(file).expect("it is the device");
    assert!(sync::init_with(same).is_ok(), "no lock has opened another");
}

fn forever<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// Locked and unlocked again by the only thread.
pub fn free(side: Side, _: Memory) -> Batch {
    match side {
        Side::Native => {
            let mutex = forever(parking_lot::Mutex::new(0));
            batch(move || *black_box(mutex).lock() += 1)
        }
        Side::Ours(..) => {
            let mutex = forever(sync::PrivateMutex::new(0));
            batch(move || *black_box(mutex).lock() += 1)
        }
    }
}

/// Answers each number with a byte, when it has done `turn` so often, until nobody is there.
fn partner(mut stream: UnixStream, turn: impl Fn()) {
    scheduling::set(Policy::Batch);
    let mut nr = [0; 4];
    while stream.read_exact(&mut nr).is_ok() {
        (0..u32::from_ne_bytes(nr)).for_each(|_| turn());
        if stream.write_all(&[0]).is_err() {
            break;
        }
    }
}

/// A batch is so many turns, while the partner behind `stream` does as many.
fn with_partner(mut stream: UnixStream, turn: impl Fn() + 'static) -> Batch {
    scheduling::set(Policy::Batch);
    let mut turns = batch(turn);
    Box::new(move |nr| {
        stream.write_all(&nr.to_ne_bytes()).expect("the partner");
        let ns = turns(nr);
        stream.read_exact(&mut [0]).expect("the partner's answer");
        ns
    })
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("a pair of sockets")
}

fn two_threads(turn: impl Fn() + Clone + Send + 'static) -> Batch {
    let (ours, theirs) = pair();
    let their_turn = turn.clone();
    std::thread::spawn(move || partner(theirs, their_turn));
    with_partner(ours, turn)
}

/// Each of two threads has the mutex when the other comes, which sleeps and is woken.
pub fn threads(side: Side, _: Memory) -> Batch {
    match side {
        Side::Native => {
            let mutex = forever(std::sync::Mutex::new(()));
            two_threads(|| {
                let guard = mutex.lock();
                yield_now();
                drop(guard);
                yield_now();
            })
        }
        Side::Ours(device, _) => {
            use_device(device);
            let mutex = forever(sync::PrivateMutex::new(()));
            two_threads(|| {
                let guard = mutex.lock();
                yield_now();
                drop(guard);
                yield_now();
            })
        }
    }
}

fn two_processes(turn: impl Fn() + 'static) -> Batch {
    let (ours, theirs) = pair();
    let child = Child::run(|| partner(theirs.try_clone().expect("a descriptor"), &turn));
    drop(theirs);
    let mut turns = with_partner(ours, turn);
    Box::new(move |nr| {
        // It is killed when the batch goes.
        let _partner = &child;
        turns(nr)
    })
}

/// The same with two processes.
pub fn processes(side: Side, memory: Memory) -> Batch {
    match side {
        Side::Native => {
            let mutex = PthreadMutex::new();
            two_processes(move || {
                mutex.lock();
                yield_now();
                mutex.unlock();
                yield_now();
            })
        }
        Side::Ours(device, _) => {
            use_device(device);
            let [word] = memory.words();
            let addr = std::ptr::with_exposed_provenance::<RawMutex>(word.addr() as usize);
            // SAFETY: The word is zero, which is a free lock, and stays for good.
            let mutex = unsafe { &*addr };
            two_processes(move || {
                mutex.lock();
                yield_now();
                // SAFETY: It was locked above.
                unsafe { mutex.unlock() };
                yield_now();
            })
        }
    }
}

/// One that processes share, in memory that stays for good.
struct PthreadMutex(*mut libc::pthread_mutex_t);

impl PthreadMutex {
    fn new() -> Self {
        let mapping = forever(Mapping::shared(PAGE));
        let mutex = std::ptr::with_exposed_provenance_mut(mapping.addr() as usize);
        let mut attr = std::mem::MaybeUninit::uninit();
        // SAFETY: The attributes are initialized first, and the mutex is in memory of its own
        // that is large enough.
        let results = unsafe {
            [
                libc::pthread_mutexattr_init(attr.as_mut_ptr()),
                libc::pthread_mutexattr_setpshared(attr.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED),
                libc::pthread_mutex_init(mutex, attr.as_ptr()),
            ]
        };
        assert_eq!(results, [0; 3]);
        Self(mutex)
    }

    fn lock(&self) {
        // SAFETY: It was initialized.
        assert_eq!(unsafe { libc::pthread_mutex_lock(self.0) }, 0);
    }

    fn unlock(&self) {
        // SAFETY: It was initialized, and the caller has it.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(self.0) }, 0);
    }
}
