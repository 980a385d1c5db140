// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the threads of a lock meet: through which open file, and as which word.
//!
//! A lock knows nothing but its own address. What else is needed to sleep and to
//! wake is found out here, when threads have to sleep or be woken, and nowhere else.

use crate::arena::mapped;
use crate::{Error, PerThread, Rfutex, Table, Word};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The place of one word.
#[derive(Debug, Clone)]
pub enum Place {
    /// In memory of any kind, at this address.
    Memory(&'static Rfutex, u64),
    /// In the arena of this table, at this offset.
    Arena(Arc<Table>, u64),
}

impl Place {
    /// The place of the word at the address `addr`. If only threads of this process meet there,
    /// it is in memory: a word in an arena is never private.
    ///
    /// # Errors
    ///
    /// The place is not in an arena, and the device is not open and cannot be opened.
    pub fn of(addr: usize, private: bool) -> Result<Self, Error> {
        if !private && let Some((table, offset)) = mapped::find(addr) {
            return Ok(Self::Arena(table, offset));
        }
        Ok(Self::Memory(device()?, addr as u64))
    }

    /// The handle to wait and wake through.
    pub fn rfutex(&self) -> &Rfutex {
        match self {
            Self::Memory(rfutex, _) => rfutex,
            Self::Arena(table, _) => table,
        }
    }

    /// The word of `size` bytes, for threads of this process only or for all.
    pub fn word(&self, size: u32, private: bool) -> Word<'static> {
        match *self {
            Self::Memory(_, addr) if private => Word::at(addr, size).private(),
            Self::Memory(_, addr) => Word::at(addr, size),
            Self::Arena(_, offset) => Word::in_arena(offset, size),
        }
    }

    /// Whether waiters can be moved from one place to the other.
    pub fn has_table_of(&self, other: &Self) -> bool {
        match (self, other) {
            // All open files of the device share one table.
            (Self::Memory(..), Self::Memory(..)) => true,
            // Two that are not the same may still have one table. Not to know this is safe.
            (Self::Arena(table, _), Self::Arena(other, _)) => Arc::ptr_eq(table, other),
            _ => false,
        }
    }
}

/// The handles of this process.
enum Device {
    One(Rfutex),
    PerThread(Box<PerThread>),
}

impl Device {
    fn get(&self) -> &Rfutex {
        match self {
            Self::One(rfutex) => rfutex,
            Self::PerThread(rfutex) => rfutex.get(),
        }
    }
}

/// Null, or what was made of a `Box` that is never freed.
///
/// It is not in a `OnceLock`, because a thread may call fork(2) while another is
/// about to open the device: the child would wait for that one forever.
static DEVICE: AtomicPtr<Device> = AtomicPtr::new(ptr::null_mut());

fn opened() -> Option<&'static Device> {
    // SAFETY: It is null or points to a device that is never freed or changed; the
    // acquire goes with the release in `open`.
    unsafe { DEVICE.load(Ordering::Acquire).as_ref() }
}

fn device() -> Result<&'static Rfutex, Error> {
    open(|| Rfutex::open().map(Device::One)).map(Device::get)
}

/// The device as it is open, or else as `open` opens it.
fn open(open: impl FnOnce() -> Result<Device, Error>) -> Result<&'static Device, Error> {
    if let Some(device) = opened() {
        return Ok(device);
    }
    // If another thread was faster, it is closed again.
    drop(publish(open()?));
    Ok(opened().expect("one of them was the first"))
}

/// Makes `device` that of the process, or returns it if there is one already.
fn publish(device: Device) -> Result<(), Device> {
    let new = Box::into_raw(Box::new(device));
    let (success, failure) = (Ordering::Release, Ordering::Relaxed);
    match DEVICE.compare_exchange(ptr::null_mut(), new, success, failure) {
        Ok(_) => Ok(()),
        // SAFETY: It came from a `Box` just now, and nobody else has seen it.
        Err(_) => Err(*unsafe { Box::from_raw(new) }),
    }
}

/// Opens the device now, instead of when a thread has to sleep or to be woken for the
/// first time. It makes no difference if it is open already.
///
/// A program should call this at its start. Where the device cannot be opened, it is
/// told so here; a lock that needs the device can only panic. And a process that is
/// about to give up the right to call open(2) has to call this before. Locks in
/// [arenas](crate::Arena) need no device: they have their table.
///
/// All threads share one handle: see [`init_per_thread`]. A child of fork(2) goes on
/// with the handle of its parent, unless it closes descriptors that it does not know.
/// It opens its own after execve(2).
///
/// # Errors
///
/// Those of [`Rfutex::open`].
///
/// ```no_run
/// fn main() -> Result<(), rfutex::Error> {
///     rfutex::sync::init()?;
///     Ok(())
/// }
/// ```
pub fn init() -> Result<(), Error> {
    open(|| Rfutex::open().map(Device::One)).map(drop)
}

/// Like [`init`], with a handle that the caller has: one that another process has sent, or
/// one with a [resolver](Rfutex::set_resolver) of the caller's choice.
///
/// # Errors
///
/// The handle, if the device is open already.
pub fn init_with(rfutex: Rfutex) -> Result<(), Rfutex> {
    publish(Device::One(rfutex)).map_err(|device| match device {
        Device::One(rfutex) => rfutex,
        Device::PerThread(_) => unreachable!("it comes back as it was given"),
    })
}

/// Like [`init`], but each thread opens the device for itself when it has to sleep or
/// to wake for the first time.
///
/// This is faster where many threads often contend, and costs a descriptor for each of
/// them: see [`PerThread`]. It makes no difference if the device is open already.
///
/// # Errors
///
/// Those of [`Rfutex::open`].
pub fn init_per_thread() -> Result<(), Error> {
    open(|| PerThread::open().map(|rfutex| Device::PerThread(Box::new(rfutex)))).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where these tests run there is no device.
    #[test]
    fn without_a_device() {
        if init().is_ok() {
            return;
        }
        assert!(init_per_thread().is_err());
        assert!(Place::of(8, true).is_err());
        assert!(Place::of(8, false).is_err());
    }
}
