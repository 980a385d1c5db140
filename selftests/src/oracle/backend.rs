// SPDX-License-Identifier: GPL-2.0
//! Carries out calls in an actor.

mod armed;
mod device;
mod futex;
mod own;
mod race;
mod ring;

pub use armed::CANCELED;

use super::call::{Backend, Call, Means, Order};
use super::script::Size;
use super::wrong;
use crate::harness::PAGE;
use nix::errno::Errno;
use std::io::PipeWriter;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU64, Ordering};

/// The length of the memory that a word has for itself, in bytes.
pub const SLOT: usize = 8;

/// For a new process: what its rings hold one end of, and where tables are sent to.
pub fn begin(end: PipeWriter, socket: UnixDatagram) {
    ring::begin(end);
    own::begin(socket);
}

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
        Call::Remap { addr, how } => {
            if !means.backend.is_futex() {
                own::remap(*addr, *how);
            }
            Ok(())
        }
        Call::Adopt { number } => return own::adopt(*number),
        Call::Priority { priority } => set_priority(*priority),
        Call::Count { words } => return device::count(words, means),
        Call::Ask => return armed::ask(),
        Call::Close => return armed::close(),
        Call::Race(race) => return race::carry_out(means, race),
        call => return synchronise(means, call),
    };
    result.map_or_else(|errno| -(errno as i64), |()| 0)
}

/// Carries out one of the operations that both have.
fn synchronise(means: Means, call: &Call) -> i64 {
    match (means.backend, call) {
        (Backend::Futex | Backend::Rfutex, Call::Arm { wait, waiter }) => {
            armed::arm(wait, *waiter, means)
        }
        (Backend::Futex | Backend::Rfutex, Call::Remove) => armed::remove(),
        (Backend::Futex, _) => futex::call(call),
        (Backend::Rfutex, _) => device::call(call, means),
        (Backend::Wrong(_, fault), _) => wrong::call(fault, call, &|call| {
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

/// The real-time priority of the calling thread; 0 if it is a normal one.
pub fn priority() -> u8 {
    let mut param = libc::sched_param { sched_priority: 0 };
    // SAFETY: `param` can be written to.
    let result = unsafe { libc::sched_getparam(0, &mut param) };
    assert_eq!(result, 0, "sched_getparam");
    param.sched_priority as u8
}
