// SPDX-License-Identifier: GPL-2.0
//! Carries out calls in an actor.

mod device;
mod futex;
mod race;

use super::call::{Backend, Call, Means, Order};
use super::script::Size;
use super::wrong;
use crate::harness::PAGE;
use nix::errno::Errno;
use std::sync::atomic::{AtomicU64, Ordering};

/// The length of the memory that a word has for itself, in bytes.
pub const SLOT: usize = 8;

/// Carries out an order. Returns what its call returns: a number, or a negative errno.
pub fn carry_out(order: &Order) -> i64 {
    let means = order.means;
    let result = match &order.call {
        Call::Store { addr, value } => {
            store(*addr, encode(means.backend, means.size, *value));
            Ok(())
        }
        Call::Forget { addr } => advise(*addr, libc::MADV_DONTNEED),
        Call::Punch { addr } => advise(*addr, libc::MADV_REMOVE),
        Call::Priority { priority } => set_priority(*priority),
        Call::Count { words } => return device::count(words, means),
        Call::Race(race) => return race::carry_out(means, race),
        call => return synchronise(means, call),
    };
    result.map_or_else(|errno| -(errno as i64), |()| 0)
}

/// Carries out one of the operations that both have.
fn synchronise(means: Means, call: &Call) -> i64 {
    match means.backend {
        Backend::Futex => futex::call(call),
        Backend::Rfutex => device::call(call, means),
        Backend::Wrong(_, fault) => wrong::call(fault, call, &|call| {
            let backend = means.backend.right();
            synchronise(Means { backend, ..means }, call)
        }),
    }
}

/// A result of libc, as an order returns it.
fn result(result: i64) -> i64 {
    if result == -1 {
        -(Errno::last_raw() as i64)
    } else {
        result
    }
}

/// A word's bytes in memory.
pub fn encode(backend: Backend, size: Size, value: u32) -> [u8; SLOT] {
    if backend.is_futex() {
        u64::from(value).to_le_bytes()
    } else {
        size.widen(value).to_le_bytes()
    }
}

/// What [`encode`] made these bytes from; `None` if nothing.
pub fn decode(backend: Backend, size: Size, bytes: [u8; SLOT]) -> Option<u32> {
    let value = u64::from_le_bytes(bytes);
    if backend.is_futex() {
        value.try_into().ok()
    } else {
        size.narrow(value)
    }
}

fn slot(addr: u64) -> &'static AtomicU64 {
    assert_eq!(addr % SLOT as u64, 0);
    // SAFETY: The conductor gives addresses of words, in memory that is mapped for good and that no
    // Rust object overlaps. A stray one would kill this process, which the conductor sees.
    unsafe { AtomicU64::from_ptr(std::ptr::with_exposed_provenance_mut(addr as usize)) }
}

/// Writes a word of this process.
pub fn store(addr: u64, bytes: [u8; SLOT]) {
    slot(addr).store(u64::from_le_bytes(bytes), Ordering::SeqCst);
}

/// Reads a word of this process.
pub fn load(addr: u64) -> [u8; SLOT] {
    slot(addr).load(Ordering::SeqCst).to_le_bytes()
}

fn advise(addr: u64, advice: i32) -> Result<(), Errno> {
    let page = addr as usize & !(PAGE - 1);
    let pointer = std::ptr::with_exposed_provenance_mut(page);
    // SAFETY: It is a page with nothing but words.
    Errno::result(unsafe { libc::madvise(pointer, PAGE, advice) }).map(drop)
}

/// Makes the calling thread a real-time one, or a normal one with 0.
///
/// # Errors
///
/// Those of sched_setscheduler(2).
pub fn set_priority(priority: u8) -> Result<(), Errno> {
    let policy = if priority == 0 {
        libc::SCHED_OTHER
    } else {
        libc::SCHED_FIFO
    };
    let param = libc::sched_param {
        sched_priority: priority.into(),
    };
    // SAFETY: `param` is valid.
    Errno::result(unsafe { libc::sched_setscheduler(0, policy, &param) }).map(drop)
}
