// SPDX-License-Identifier: GPL-2.0
//! Listings: who waits where.

mod faults;
mod fdinfo;
mod fields;
mod lifetime;
mod limits;
mod reading;
mod scale;
mod see;
mod standing;
mod storm;

use crate::harness::{Task, fx, until};
use rfutex::raw::{self, uapi};
use rfutex::{Error, Key, KeyInfo, Position, Rfutex, Waiter, Word};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, FromRawFd};
use std::sync::Arc;

/// The tests of listings.
pub fn trials() -> Vec<libtest_mimic::Trial> {
    let all = [
        fields::trials(),
        reading::trials(),
        see::trials(),
        lifetime::trials(),
        limits::trials(),
        fdinfo::trials(),
        faults::trials(),
        scale::trials(),
        standing::trials(),
        storm::trials(),
    ];
    all.into_iter().flatten().collect()
}

/// All waiters that a listing of the table of `device` shows.
#[track_caller]
fn all(device: &Rfutex) -> Vec<Waiter> {
    let waiters = device.waiters().expect("a listing");
    waiters.collect::<Result<_, _>>().expect("it is read")
}

/// Those that wait on `word`.
#[track_caller]
fn on(device: &Rfutex, word: Word<'_>) -> Vec<Waiter> {
    let info = device.key_info(word).expect("key of a word");
    let mut all = all(device);
    all.retain(|waiter| waiter.object == info.object && waiter.position == Some(position(&info)));
    all
}

/// The one that waits on `word`.
#[track_caller]
fn one(device: &Rfutex, word: Word<'_>) -> Waiter {
    let waiters = on(device, word);
    assert_eq!(waiters.len(), 1, "{waiters:?}");
    waiters.into_iter().next().expect("one")
}

/// Where the word lies, as `RFUTEX_KEY_INFO` tells it.
fn position(info: &KeyInfo) -> Position {
    let (index, offset) = match info.key {
        Key::Private { index, offset }
        | Key::Mm { index, offset }
        | Key::Inode { index, offset, .. }
        | Key::Arena { index, offset } => (index, offset),
        other => panic!("{other:?} is a kind that is not known"),
    };
    Position { index, offset }
}

/// How many wait on `word`, as `RFUTEX_KEY_INFO` tells it.
#[track_caller]
fn nr_waiters(device: &Rfutex, word: Word<'_>) -> u32 {
    device.key_info(word).expect("key of a word").nr_waiters
}

/// A thread that does `wait` on the table of `device`, which queues it on `word`. Returns when it is
/// queued.
#[track_caller]
fn waiting<D>(
    device: &Arc<D>,
    word: Word<'static>,
    wait: impl FnOnce(&Rfutex) -> Result<(), Error> + Send + 'static,
) -> Task<Result<(), Error>>
where
    D: std::ops::Deref<Target = Rfutex> + Send + Sync + 'static,
{
    let before = nr_waiters(device, word);
    let theirs = Arc::clone(device);
    let task = Task::spawn(move || wait(&theirs));
    until("a waiter is queued, or has failed", || {
        task.is_finished() || nr_waiters(device, word) == before + 1
    });
    task
}

/// The device, as a table.
struct Shared;

impl std::ops::Deref for Shared {
    type Target = Rfutex;

    fn deref(&self) -> &Rfutex {
        fx()
    }
}

/// Opens a listing whose records have `entry_size` bytes.
fn listing(device: &Rfutex, entry_size: usize) -> Result<File, Error> {
    let mut list = uapi::rfutex_list {
        flags: uapi::RFUTEX_LIST_CLOEXEC,
        entry_size: entry_size as u32,
    };
    // SAFETY: The command writes nothing.
    let fd = unsafe { raw::call(device.as_fd(), uapi::RFUTEX_LIST, &mut list) }?;
    // SAFETY: The descriptor was just opened, and nobody else knows it.
    Ok(unsafe { File::from_raw_fd(fd as i32) })
}

/// Reads all that is left, up to 64 records at a time.
#[track_caller]
pub fn rest(mut file: &File) -> Vec<u8> {
    let mut all = Vec::new();
    let mut some = [0; 64 * ENTRY];
    loop {
        match file.read(&mut some).expect("read") {
            0 => return all,
            nr => all.extend_from_slice(&some[..nr]),
        }
    }
}

/// The size of a record in bytes.
const ENTRY: usize = size_of::<uapi::rfutex_waiter>();
