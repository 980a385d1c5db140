// SPDX-License-Identifier: GPL-2.0
//! Waits and wakes as commands of io_uring.

mod cancel;
mod command;
mod end;
mod module;
mod process;
mod queue;
mod storm;
mod worker;

use crate::harness::LIMIT;
use io_uring::{IoUring, opcode, squeue, types};
use rfutex::raw::uapi::*;
use rfutex::{Rfutex, Word};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

/// The tests of these commands.
pub fn trials() -> Vec<libtest_mimic::Trial> {
    let all = [
        command::trials(),
        queue::trials(),
        cancel::trials(),
        worker::trials(),
        end::trials(),
        process::trials(),
        module::trials(),
        storm::trials(),
    ];
    all.into_iter().flatten().collect()
}

/// A ring, with the device that its commands are for.
struct Ring<D = Rfutex> {
    ring: IoUring,
    device: D,
}

impl Ring {
    fn new() -> Self {
        Self::of(IoUring::new(256).expect("io_uring"))
    }

    fn of(ring: IoUring) -> Self {
        let device = Rfutex::open().expect("the device");
        Self { ring, device }
    }
}

impl<D: AsFd> Ring<D> {
    /// A ring whose commands are for `device`.
    fn on(device: D) -> Self {
        let ring = IoUring::new(256).expect("io_uring");
        Self { ring, device }
    }

    fn entry(&self, op: u32, arg: u64, user_data: u64) -> squeue::Entry {
        let mut command = [0; 16];
        command[..8].copy_from_slice(&arg.to_ne_bytes());
        opcode::UringCmd16::new(types::Fd(self.device.as_fd().as_raw_fd()), op)
            .cmd(command)
            .build()
            .user_data(user_data)
    }

    /// Submits an entry. What it refers to must be valid until this returns, or longer if the
    /// entry is not issued at once.
    fn submit(&mut self, entry: &squeue::Entry) {
        // SAFETY: The tests keep what their entries refer to.
        unsafe { self.ring.submission().push(entry) }.expect("there is room");
        self.ring.submit().expect("it is submitted");
    }

    /// Submits a wait on `word` while that is 0.
    fn wait(&mut self, word: Word<'_>, user_data: u64) {
        let wait = wait_on(word);
        let entry = self.entry(RFUTEX_WAIT, addr_of(&wait), user_data);
        self.submit(&entry);
    }

    /// The completions that there are.
    fn done(&mut self) -> Vec<(u64, i32)> {
        self.ring
            .completion()
            .map(|entry| (entry.user_data(), entry.result()))
            .collect()
    }

    /// The next completion.
    #[track_caller]
    fn next(&mut self) -> (u64, i32) {
        let begun = Instant::now();
        loop {
            if let Some(entry) = self.ring.completion().next() {
                return (entry.user_data(), entry.result());
            }
            assert!(begun.elapsed() < LIMIT, "nothing is completed");
            let timeout = types::Timespec::new().nsec(10_000_000);
            let args = types::SubmitArgs::new().timespec(&timeout);
            let _ = self.ring.submitter().submit_with_args(1, &args);
        }
    }

    /// Submits an entry that is completed at once. Returns its result.
    #[track_caller]
    fn call(&mut self, op: u32, arg: u64) -> i32 {
        let entry = self.entry(op, arg, u64::MAX);
        self.submit(&entry);
        let (user_data, result) = self.next();
        assert_eq!(user_data, u64::MAX);
        result
    }
}

fn wait_on(word: Word<'_>) -> rfutex_wait {
    rfutex_wait {
        word: word.into(),
        mask: RFUTEX_MASK_ANY,
        ..Default::default()
    }
}

fn addr_of<T>(value: &T) -> u64 {
    std::ptr::from_ref(value).expose_provenance() as u64
}
