// SPDX-License-Identifier: GPL-2.0
//! Numbers that are no command, and what else one can do to the device.

use super::{
    ADDR_COMMANDS, WORD_COMMANDS, bytes_of, entry_at, info_at, wait_at, waitv_of, word_at,
};
use crate::harness::{Mapping, PAGE, Waiter, command, fx, nr_waiters};
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use rfutex::raw::{self, uapi::*};
use rfutex::{Error, Rfutex};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

trials![
    unknown_numbers,
    numbers_of_version_1,
    wrong_magic,
    wrong_direction,
    size_where_there_is_none,
    closed_fd,
    fd_of_something_else,
    other_operations,
];

/// An ioctl number, as `_IOC` makes it.
fn ioc(direction: u32, magic: u32, nr: u32, size: u32) -> u32 {
    direction << 30 | size << 16 | magic << 8 | nr
}

/// Calls `request` with an argument that every command could use.
fn call(request: u32, buffer: &Mapping) -> Result<u32, Error> {
    // SAFETY: The buffer is larger than any struct, and has atomics only.
    unsafe { raw::ioctl(fx().as_fd(), request, buffer.addr()) }
}

/// 16 KiB that begin with a question for the key of their first word.
fn buffer() -> Mapping {
    let buffer = Mapping::private(4 * PAGE);
    buffer.write(0, bytes_of(&info_at(buffer.addr())));
    buffer
}

fn commands() -> impl Iterator<Item = u32> {
    [
        RFUTEX_QUERY,
        RFUTEX_WAITV,
        RFUTEX_WAKEV,
        RFUTEX_WATCHES_CREATE,
        RFUTEX_TABLE_CREATE,
        RFUTEX_OWNER_ID,
        RFUTEX_LIST,
        RFUTEX_JOIN,
        RFUTEX_WAKE_ONE_ARENA,
        RFUTEX_WAKE_ALL_ARENA,
        RFUTEX_SET_RESOLVER,
    ]
    .into_iter()
    .chain(WORD_COMMANDS)
    .chain(ADDR_COMMANDS)
}

fn unknown_numbers() {
    let buffer = buffer();
    for nr in (0..=255).filter(|nr| commands().all(|command| command & 0xff != *nr)) {
        for direction in 0..4 {
            for size in [0, 4, 16, 24, 32, 48, 64, 80, 16383] {
                let request = ioc(direction, RFUTEX_IOC_MAGIC, nr, size);
                assert_eq!(
                    call(request, &buffer),
                    Err(Error::Unsupported),
                    "{request:#x}"
                );
            }
        }
    }
}

/// WAIT, WAITV and SWAP of version 1, with what would have been right: nothing is compared, nobody
/// is queued, and nobody woken.
fn numbers_of_version_1() {
    let map = Mapping::shared(PAGE);
    let (word, wake) = (map.word(0), map.word(64));
    let waiter = Waiter::start(wake, 0);
    // Their structs were those of today, without what is reserved.
    let wait = wait_at(word.addr());
    let swap = wait.swap(word_at(wake.addr()));
    let swap = [&bytes_of(&swap)[..48], &bytes_of(&swap)[56..]].concat();
    let wait = bytes_of(&wait)[..48].to_vec();
    let entries = [entry_at(word.addr())];
    let waitv = rfutex_waitv {
        entry_size: 32,
        ..waitv_of(&entries)
    };
    let waitv = bytes_of(&waitv).to_vec();
    for (nr, mut bytes) in [(1, wait), (6, waitv), (7, swap)] {
        let request = ioc(1, RFUTEX_IOC_MAGIC, nr, bytes.len() as u32);
        let result = command::call_bytes(fx(), request, &mut bytes);
        assert_eq!(result, Err(Error::Unsupported), "{request:#x}");
        assert_eq!([nr_waiters(word), nr_waiters(wake)], [0, 1]);
    }
    assert_eq!(fx().wake_one(wake), Ok(1));
    waiter.woken();
}

fn wrong_magic() {
    let buffer = buffer();
    for command in commands() {
        for magic in (0..=255).filter(|magic| *magic != RFUTEX_IOC_MAGIC) {
            let request = command & !0xff00 | magic << 8;
            assert_eq!(
                call(request, &buffer),
                Err(Error::Unsupported),
                "{request:#x}"
            );
        }
    }
}

fn wrong_direction() {
    let buffer = buffer();
    for command in commands() {
        for direction in (0..4).filter(|direction| *direction != command >> 30) {
            let request = command & !(3 << 30) | direction << 30;
            assert_eq!(
                call(request, &buffer),
                Err(Error::Unsupported),
                "{request:#x}"
            );
        }
    }
}

fn size_where_there_is_none() {
    let buffer = buffer();
    for command in ADDR_COMMANDS {
        for size in [1, 4, 8, 16, 16383] {
            let request = raw::with_size(command, size);
            assert_eq!(
                call(request, &buffer),
                Err(Error::Unsupported),
                "{request:#x}"
            );
        }
    }
}

fn closed_fd() {
    let fd = fx().as_fd().try_clone_to_owned().expect("dup");
    let number = fd.as_raw_fd();
    drop(fd);
    // SAFETY: It is borrowed for one call that says that it is closed.
    let closed = unsafe { BorrowedFd::borrow_raw(number) };
    let mut wait = wait_at(0);
    // SAFETY: There is no file to write anything.
    let result = unsafe { raw::call(closed, RFUTEX_WAIT, &mut wait) };
    assert_eq!(result, Err(Error::Os(libc::EBADF)));
}

fn fd_of_something_else() {
    let null = std::fs::File::open("/dev/null").expect("/dev/null");
    let mut wait = wait_at(0);
    // SAFETY: It takes no command at all.
    let result = unsafe { raw::call(null.as_fd(), RFUTEX_WAIT, &mut wait) };
    assert_eq!(result, Err(Error::Unsupported));
    let taken = Rfutex::try_from(OwnedFd::from(null));
    assert_eq!(taken.err(), Some(Error::Unsupported));
}

fn other_operations() {
    let device = fx().as_fd();
    assert_eq!(nix::unistd::read(device, &mut [0; 8]), Err(Errno::EINVAL));
    assert_eq!(nix::unistd::write(device, &[0; 8]), Err(Errno::EINVAL));
    let length = NonZeroUsize::new(PAGE).expect("not zero");
    for flags in [MapFlags::MAP_SHARED, MapFlags::MAP_PRIVATE] {
        // SAFETY: Nothing is replaced, as there is no address.
        let result = unsafe { mmap(None, length, ProtFlags::PROT_READ, flags, device, 0) };
        assert_eq!(result, Err(Errno::ENODEV));
    }
}
