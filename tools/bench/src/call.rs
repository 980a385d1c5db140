// SPDX-License-Identifier: GPL-2.0
//! The calls that are measured, made ready before: what is counted is the
//! call, through the C library's function as a program makes it, and no more.

use nix::errno::Errno;
use rfutex::raw::{self, Struct};
use rfutex::{Rfutex, Word};
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// A command of the device, or of a watch set, with its struct. It writes to this struct, and
/// where the struct says that there are atomics for it to write to.
#[derive(Debug)]
pub struct Ioctl<T> {
    fd: RawFd,
    request: libc::Ioctl,
    /// The struct.
    pub arg: T,
}

impl<T: Struct> Ioctl<T> {
    /// Makes `request` ready.
    pub fn new(file: &'static impl AsFd, request: u32, arg: T) -> Self {
        assert_eq!(raw::size(request), size_of::<T>());
        Self {
            fd: file.as_fd().as_raw_fd(),
            request: request.into(),
            arg,
        }
    }

    /// Makes the call. What it returns, -1 for an error.
    #[inline]
    pub fn call(&mut self) -> i64 {
        // SAFETY: To the struct, the kernel writes at most the size of `T`, of which any bytes are a
        // value. What else it writes to is atomics.
        unsafe { libc::ioctl(self.fd, self.request, &raw mut self.arg) }.into()
    }
}

/// A wake whose argument is the address, or the offset in the arena.
#[derive(Clone, Copy, Debug)]
pub struct WakeOne {
    fd: RawFd,
    request: libc::Ioctl,
    addr: u64,
}

impl WakeOne {
    /// Of one waiter on `word`.
    pub fn new(device: &'static Rfutex, word: Word<'static>) -> Self {
        Self {
            fd: device.as_fd().as_raw_fd(),
            request: raw::wake_one(word).into(),
            addr: word.addr(),
        }
    }

    /// Makes the call. What it returns, -1 for an error.
    #[inline]
    pub fn call(&self) -> i64 {
        // SAFETY: The kernel writes nothing.
        unsafe { libc::ioctl(self.fd, self.request, self.addr) }.into()
    }
}

/// A call of futex(2) that changes no memory: a wait, a wake or a requeue.
#[derive(Clone, Copy, Debug)]
pub struct Futex {
    addr: u64,
    operation: i32,
    val: u32,
    val2: u64,
    addr2: u64,
    val3: u32,
}

impl Futex {
    fn new(command: i32, word: Word<'static>, val: u32) -> Self {
        let private = if word.is_private() {
            libc::FUTEX_PRIVATE_FLAG
        } else {
            0
        };
        Self {
            addr: word.addr(),
            operation: command | private,
            val,
            val2: 0,
            addr2: 0,
            val3: 0,
        }
    }

    /// A wake of up to `nr` on `word`.
    pub fn wake(word: Word<'static>, nr: u32) -> Self {
        Self::new(libc::FUTEX_WAKE, word, nr)
    }

    /// A wait on `word` while it is `val`.
    pub fn wait(word: Word<'static>, val: u32) -> Self {
        Self::new(libc::FUTEX_WAIT, word, val)
    }

    /// Moves up to `nr` from `from` to `to`, while `from` is `val`.
    pub fn requeue(from: Word<'static>, val: u32, to: Word<'static>, nr: u32) -> Self {
        Self {
            val2: nr.into(),
            addr2: to.addr(),
            val3: val,
            ..Self::new(libc::FUTEX_CMP_REQUEUE, from, 0)
        }
    }

    /// Makes the call. What it returns, -1 for an error.
    #[inline]
    pub fn call(&self) -> i64 {
        // SAFETY: These commands only read the words, and the fourth argument is a number or no
        // time at all.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.addr,
                self.operation,
                self.val,
                self.val2,
                self.addr2,
                self.val3,
            )
        }
    }
}

/// Some 64-bit numbers, and a file that they are read from or written to.
#[derive(Debug)]
pub struct Numbers<const N: usize> {
    fd: RawFd,
    numbers: [u64; N],
}

impl<const N: usize> Numbers<N> {
    /// All of them one, and this file.
    pub fn new(file: &'static impl AsFd) -> Self {
        Self {
            fd: file.as_fd().as_raw_fd(),
            numbers: [1; N],
        }
    }

    /// Writes all of them. How many bytes that was, -1 for an error.
    #[inline]
    pub fn write(&self) -> isize {
        let bytes = size_of_val(&self.numbers);
        // SAFETY: So many bytes are there.
        unsafe { libc::write(self.fd, self.numbers.as_ptr().cast(), bytes) }
    }

    /// Reads as many as there are. How many bytes that was, -1 for an error.
    #[inline]
    pub fn read(&mut self) -> isize {
        let bytes = size_of_val(&self.numbers);
        // SAFETY: The kernel writes at most so many bytes, and any bytes are numbers.
        unsafe { libc::read(self.fd, self.numbers.as_mut_ptr().cast(), bytes) }
    }
}

/// Fails unless the call that was made just now returned -1 for this reason.
#[track_caller]
pub fn assert_errno(result: i64, expected: Errno) {
    assert_eq!((result, Errno::last()), (-1, expected));
}
