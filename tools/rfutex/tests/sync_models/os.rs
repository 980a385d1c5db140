// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the locks are checked on: loom's atomics, and a model of the device.
//!
//! A wait compares and queues in one step, and a wake counts whom it wakes, as the
//! documentation of the module says. The memory is ordered by no more than it promises: what
//! was written before a wake is visible to those that the wake has counted. A wait that does
//! not sleep orders nothing.
//!
//! loom tries those orders of steps that differ in accesses to the same object. So every call
//! of the model accesses the word that it is about, at the moment at which it has its effect:
//! by adding nothing to it, which sees the latest value and orders nothing.

use loom::sync::atomic;
use loom::thread::{self, Thread};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

pub use std::sync::atomic::Ordering;

/// Spinning would only make more of the same orders.
pub const SPINS: u32 = 0;
pub const ANY: u64 = u64::MAX;

pub trait Scope: 'static {}

pub struct Shared;

impl Scope for Shared {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    Woken,
    Changed,
    TimedOut,
}

/// What a model can be made to do wrong, in order to see whether it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Acquires order nothing.
    NoAcquire,
    /// Releases order nothing.
    NoRelease,
    /// A swap is a load and a store.
    SwapInTwoSteps,
    /// A wake wakes nobody.
    LostWake,
    /// A wait sleeps although the word has changed.
    NoCompare,
    /// A wake of all wakes one.
    OneForAll,
}

struct Waiter {
    addr: usize,
    mask: u64,
    deadline: Option<Deadline>,
    thread: Thread,
    end: Rc<Cell<Option<Waited>>>,
}

impl Waiter {
    fn end(self, waited: Waited) {
        self.end.set(Some(waited));
        self.thread.unpark();
    }
}

struct Kernel {
    queue: Vec<Waiter>,
    expired: Vec<Deadline>,
    fault: Fault,
}

// All threads of a model are run by one thread of the system.
thread_local! {
    static KERNEL: RefCell<Kernel> = const {
        RefCell::new(Kernel { queue: Vec::new(), expired: Vec::new(), fault: Fault::None })
    };
}

fn kernel<R>(f: impl FnOnce(&mut Kernel) -> R) -> R {
    KERNEL.with_borrow_mut(f)
}

/// Before each run of a model.
pub fn reset(fault: Fault) {
    kernel(|kernel| {
        kernel.queue.clear();
        kernel.expired.clear();
        kernel.fault = fault;
    });
}

fn has(fault: Fault) -> bool {
    kernel(|kernel| kernel.fault == fault)
}

/// The order, less what the fault takes away.
fn order(order: Ordering) -> Ordering {
    match (kernel(|kernel| kernel.fault), order) {
        (Fault::NoAcquire, Ordering::Acquire) => Ordering::Relaxed,
        (Fault::NoAcquire, Ordering::AcqRel) => Ordering::Release,
        (Fault::NoRelease, Ordering::Release) => Ordering::Relaxed,
        (Fault::NoRelease, Ordering::AcqRel) => Ordering::Acquire,
        _ => order,
    }
}

pub trait Atomic {
    /// The latest value.
    fn latest(&self) -> u64;

    fn addr(&self) -> usize {
        std::ptr::from_ref(self).cast::<()>().addr()
    }
}

macro_rules! atomics {
    ($($name:ident($value:ty)),*) => {$(
        #[derive(Debug)]
        pub struct $name(atomic::$name);

        #[allow(dead_code, reason = "not all of them are used of each")]
        impl $name {
            pub fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

            pub fn load(&self, load: Ordering) -> $value {
                self.0.load(order(load))
            }

            pub fn swap(&self, value: $value, swap: Ordering) -> $value {
                if has(Fault::SwapInTwoSteps) {
                    let old = self.0.load(Ordering::Relaxed);
                    self.0.store(value, order(swap));
                    return old;
                }
                self.0.swap(value, order(swap))
            }

            pub fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.0.compare_exchange(from, to, order(success), order(failure))
            }

            pub fn compare_exchange_weak(
                &self,
                from: $value,
                to: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(from, to, success, failure)
            }

            pub fn fetch_add(&self, value: $value, add: Ordering) -> $value {
                self.0.fetch_add(value, order(add))
            }

            pub fn fetch_sub(&self, value: $value, sub: Ordering) -> $value {
                self.0.fetch_sub(value, order(sub))
            }

            pub fn fetch_and(&self, value: $value, and: Ordering) -> $value {
                self.0.fetch_and(value, order(and))
            }
        }

        impl Atomic for $name {
            fn latest(&self) -> u64 {
                self.0.fetch_add(0, Ordering::Relaxed).into()
            }
        }
    )*};
}

atomics!(AtomicU8(u8), AtomicU32(u32), AtomicU64(u64));

/// A deadline that passes when the model says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(pub u32);

impl Deadline {
    /// It passes, also for a thread that sleeps on `word`.
    pub fn pass<A: Atomic>(self, word: &A) {
        word.latest();
        kernel(|kernel| {
            kernel.expired.push(self);
            for waiter in take(kernel, u32::MAX, |waiter| waiter.deadline == Some(self)) {
                waiter.end(Waited::TimedOut);
            }
        });
    }
}

/// Takes the first `nr` of these out of the queue.
fn take(kernel: &mut Kernel, nr: u32, which: impl Fn(&Waiter) -> bool) -> Vec<Waiter> {
    let mut left = nr;
    let mut next = |waiter: &mut Waiter| {
        let taken = left > 0 && which(waiter);
        left -= u32::from(taken);
        taken
    };
    kernel.queue.extract_if(.., &mut next).collect()
}

pub fn wait<S: Scope, A: Atomic>(
    atomic: &A,
    val: u64,
    mask: u64,
    deadline: Option<Deadline>,
) -> Waited {
    let latest = atomic.latest();
    // In the same step: there is nothing of loom's from here until the thread sleeps.
    let end = Rc::new(Cell::new(None));
    let sleeps = kernel(|kernel| {
        if latest != val && kernel.fault != Fault::NoCompare {
            return Err(Waited::Changed);
        }
        if deadline.is_some_and(|deadline| kernel.expired.contains(&deadline)) {
            return Err(Waited::TimedOut);
        }
        kernel.queue.push(Waiter {
            addr: atomic.addr(),
            mask,
            deadline,
            thread: thread::current(),
            end: end.clone(),
        });
        Ok(())
    });
    if let Err(waited) = sleeps {
        return waited;
    }
    loop {
        thread::park();
        if let Some(waited) = end.get() {
            return waited;
        }
    }
}

pub fn wake<S: Scope, A: Atomic>(atomic: &A, nr: u32, mask: u64) -> u32 {
    atomic.latest();
    kernel(|kernel| {
        let nr = match kernel.fault {
            Fault::LostWake => return 0,
            Fault::OneForAll => nr.min(1),
            _ => nr,
        };
        let addr = atomic.addr();
        let woken = take(kernel, nr, |waiter| {
            waiter.addr == addr && waiter.mask & mask != 0
        });
        let count = woken.len() as u32;
        woken
            .into_iter()
            .for_each(|waiter| waiter.end(Waited::Woken));
        count
    })
}

pub fn requeue<S: Scope, A: Atomic, B: Atomic>(from: &A, to: &B) -> bool {
    to.latest();
    from.latest();
    kernel(|kernel| {
        let moved = take(kernel, u32::MAX, |waiter| waiter.addr == from.addr());
        kernel.queue.extend(moved.into_iter().map(|waiter| Waiter {
            addr: to.addr(),
            ..waiter
        }));
    });
    true
}

/// How many sleep on `atomic`.
pub fn sleepers<A: Atomic>(atomic: &A) -> usize {
    atomic.latest();
    let addr = atomic.addr();
    kernel(|kernel| kernel.queue.iter().filter(|w| w.addr == addr).count())
}

pub fn need_place<S: Scope, A: Atomic>(_: &A) {}

/// The panic that ends a model must not end the others.
pub fn abort() {}

pub fn spin_loop() {
    unreachable!("it does not spin");
}
