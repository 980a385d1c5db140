// SPDX-License-Identifier: GPL-2.0
//! Reading from a listing, and what else one can do to its file.

use super::{ENTRY, all, listing, on};
use crate::harness::command::call;
use crate::harness::{Child, Mapping, PAGE, fx};
use nix::errno::Errno;
use nix::sys::mman::ProtFlags;
use nix::sys::uio::{pread, pwrite};
use nix::unistd::{Whence, lseek, write};
use rfutex::raw::{self, uapi};
use rfutex::{Error, WatchOptions, Watches, Word};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};

trials![
    open_fields,
    short_struct,
    whole_records,
    longer_records,
    one_by_one,
    again,
    two_at_once,
    memory_that_ends,
    inherited,
    other_operations,
    other_files,
    opened_by_its_name;
    lab: lab_copy_fails
];

/// A set with `nr` watches on `word`, whose cookies are 1 and the numbers that follow.
fn watched(word: Word<'_>, nr: u64) -> Watches {
    let set = Watches::nonblocking(fx()).expect("a watch set");
    for cookie in 1..=nr {
        set.add(word, 0, cookie, WatchOptions::default())
            .expect("a watch");
    }
    set
}

/// The cookies of the records in `bytes`, each `size` bytes long, of those that wait on the object of
/// `word`.
fn cookies(bytes: &[u8], size: usize, word: Word<'_>) -> Vec<u64> {
    let object = crate::harness::object_of(word);
    let number = |record: &[u8], at: usize| {
        u64::from_ne_bytes(record[at..at + 8].try_into().expect("eight bytes"))
    };
    assert!(bytes.len().is_multiple_of(size));
    let records = bytes.chunks(size);
    let ours = records.filter(|record| number(record, 24) == object);
    ours.map(|record| number(record, 104)).collect()
}

/// Reads up to `len` bytes.
fn read(file: &File, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0xa5; len];
    let nr = nix::unistd::read(file, &mut bytes)?;
    bytes.truncate(nr);
    Ok(bytes)
}

/// Reads all that is left, as much as fits into `len` bytes at a time.
fn rest(file: &File, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match read(file, len).expect("read") {
            more if more.is_empty() => return bytes,
            more => bytes.extend(more),
        }
    }
}

fn open_fields() {
    let good = uapi::rfutex_list {
        flags: 0,
        entry_size: ENTRY as u32,
    };
    for bit in 0..32 {
        let flags = 1 << bit;
        let result = call(
            fx(),
            uapi::RFUTEX_LIST,
            &mut uapi::rfutex_list { flags, ..good },
        );
        if flags == uapi::RFUTEX_LIST_CLOEXEC {
            nix::unistd::close(result.expect("a listing") as i32).expect("close");
        } else {
            assert_eq!(result, Err(Error::Invalid), "{flags:#x}");
        }
    }
    for entry_size in 0..=4200 {
        let result = listing(fx(), entry_size).map(drop);
        let valid = (ENTRY..=4096).contains(&entry_size) && entry_size.is_multiple_of(8);
        let expected = if valid { Ok(()) } else { Err(Error::Invalid) };
        assert_eq!(result, expected, "{entry_size}");
    }
    assert_eq!(listing(fx(), u32::MAX as usize).err(), Some(Error::Invalid));
    // Whether a program that is executed has the descriptor.
    for flags in [0, uapi::RFUTEX_LIST_CLOEXEC] {
        let mut list = uapi::rfutex_list { flags, ..good };
        let fd = call(fx(), uapi::RFUTEX_LIST, &mut list).expect("a listing") as i32;
        // SAFETY: The descriptor was just opened.
        let got = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        assert_eq!(got, flags as i32 * libc::FD_CLOEXEC);
        nix::unistd::close(fd).expect("close");
    }
}

/// The struct of a program that knows less of it has no size of records.
fn short_struct() {
    for len in 0..8 {
        let mut bytes = vec![0; len];
        // SAFETY: The command writes nothing.
        let result = unsafe { raw::call_bytes(fx().as_fd(), uapi::RFUTEX_LIST, &mut bytes) };
        assert_eq!(result, Err(Error::Invalid), "{len}");
    }
    for (last, expected) in [(0, None), (1, Some(Error::Os(libc::E2BIG)))] {
        let mut bytes = vec![0; 24];
        bytes[4..8].copy_from_slice(&(ENTRY as u32).to_ne_bytes());
        bytes[23] = last;
        // SAFETY: As above.
        let result = unsafe { raw::call_bytes(fx().as_fd(), uapi::RFUTEX_LIST, &mut bytes) };
        assert_eq!(result.err(), expected);
        if let Ok(fd) = result {
            nix::unistd::close(fd as i32).expect("close");
        }
    }
}

fn whole_records() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let _set = watched(word, 5);
    for len in [0, 1, ENTRY - 1] {
        let file = listing(fx(), ENTRY).expect("a listing");
        assert_eq!(read(&file, len), Err(Errno::EINVAL), "{len}");
        // Nothing of it was lost.
        assert_eq!(cookies(&rest(&file, 4096), ENTRY, word), [1, 2, 3, 4, 5]);
        assert_eq!(read(&file, 4096), Ok(vec![]));
        assert_eq!(read(&file, ENTRY - 1), Err(Errno::EINVAL));
    }
    for len in [ENTRY, ENTRY + 1, 2 * ENTRY - 1, 2 * ENTRY, 1 << 20] {
        let file = listing(fx(), ENTRY).expect("a listing");
        let first = read(&file, len).expect("read");
        assert!(first.len() <= len && first.len().is_multiple_of(ENTRY));
        let all = [first, rest(&file, len)].concat();
        assert_eq!(cookies(&all, ENTRY, word), [1, 2, 3, 4, 5], "{len}");
    }
}

/// A program that knows more of the struct gets zeros for it.
fn longer_records() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let _set = watched(word, 3);
    for size in [ENTRY + 8, ENTRY + 64, ENTRY + 72, 1000, 4096] {
        let file = listing(fx(), size).expect("a listing");
        assert_eq!(read(&file, size - 1), Err(Errno::EINVAL));
        let bytes = rest(&file, 3 * size);
        assert_eq!(cookies(&bytes, size, word), [1, 2, 3]);
        for record in bytes.chunks(size) {
            assert!(record[ENTRY..].iter().all(|&byte| byte == 0), "{size}");
        }
    }
}

/// More than one step of the module finds, one at a time.
fn one_by_one() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    for nr in [1, 63, 64, 65, 128, 200] {
        let _set = watched(word, nr);
        let expected: Vec<_> = (1..=nr).collect();
        let file = listing(fx(), ENTRY).expect("a listing");
        assert_eq!(cookies(&rest(&file, ENTRY), ENTRY, word), expected);
        assert_eq!(on(fx(), word).len(), nr as usize);
    }
}

/// From the beginning, at any time.
fn again() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let _set = watched(word, 100);
    let expected: Vec<_> = (1..=100).collect();
    let file = listing(fx(), ENTRY).expect("a listing");
    for nr in [0, 1, 64, 65, 1000] {
        for _ in 0..nr {
            read(&file, ENTRY).expect("read");
        }
        assert_eq!(lseek(&file, 0, Whence::SeekSet), Ok(0));
        assert_eq!(cookies(&rest(&file, 4096), ENTRY, word), expected);
        assert_eq!(lseek(&file, 0, Whence::SeekSet), Ok(0));
    }
    let mut waiters = fx().waiters().expect("a listing");
    for _ in 0..3 {
        let cookies = waiters
            .by_ref()
            .filter_map(|waiter| waiter.expect("read").cookie);
        assert!(cookies.filter(|cookie| expected.contains(cookie)).count() >= 100);
        assert_eq!(waiters.rewind(), Ok(()));
    }
}

/// Two listings in the same bucket, each of which leaves marks there.
fn two_at_once() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let _set = watched(word, 300);
    let expected: Vec<_> = (1..=300).collect();
    let files = [(); 3].map(|()| listing(fx(), ENTRY).expect("a listing"));
    let mut found = [const { Vec::new() }; 3];
    let mut left = true;
    while left {
        left = false;
        for (index, (file, found)) in files.iter().zip(&mut found).enumerate() {
            let bytes = read(file, (7 * index + 1) * ENTRY).expect("read");
            left |= !bytes.is_empty();
            found.extend(cookies(&bytes, ENTRY, word));
        }
        // The marks are not counted, and are nobody who waits.
        assert_eq!(crate::harness::nr_waiters(word), 300);
    }
    for found in found {
        assert_eq!(found, expected);
    }
    assert_eq!(fx().wake_all(word), Ok(300));
}

/// Memory that cannot be written to. Nothing is lost.
fn memory_that_ends() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let _set = watched(word, 50);
    let buffer = Mapping::private(2 * PAGE);
    buffer.protect_part(PAGE, PAGE, ProtFlags::PROT_NONE);
    let file = listing(fx(), ENTRY).expect("a listing");
    let read = |room: usize| {
        let to = buffer.addr() + (PAGE - room) as u64;
        // SAFETY: There are only bytes, which belong to the test.
        let nr = unsafe { libc::read(file.as_raw_fd(), to as *mut libc::c_void, PAGE) };
        Errno::result(nr).map(|nr| nr as usize)
    };
    let mut found = Vec::new();
    for room in [0, 8, ENTRY - 1, ENTRY, 2 * ENTRY + 40, 0, PAGE]
        .into_iter()
        .cycle()
    {
        match read(room) {
            Ok(0) => break,
            Ok(nr) => {
                assert!(nr.is_multiple_of(ENTRY) && nr <= room);
                found.extend(cookies(&buffer.read(PAGE - room, nr), ENTRY, word));
            }
            Err(error) => {
                assert_eq!(error, Errno::EFAULT);
                assert!(room < ENTRY);
            }
        }
    }
    assert_eq!(found, (1..=50).collect::<Vec<_>>());
}

/// A child goes on where its parent has stopped.
fn inherited() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let _set = watched(word, 70);
    let file = listing(fx(), ENTRY).expect("a listing");
    let mut found = Vec::new();
    while found.len() < 30 {
        found.extend(cookies(&read(&file, ENTRY).expect("read"), ENTRY, word));
    }
    Child::run(|| {
        let mut theirs = Vec::new();
        while theirs.len() < 30 {
            theirs.extend(cookies(&read(&file, ENTRY).expect("read"), ENTRY, word));
        }
        assert_eq!(theirs, (31..=60).collect::<Vec<_>>());
    })
    .join();
    found.extend(cookies(&rest(&file, 4096), ENTRY, word));
    assert_eq!(found, (1..=30).chain(61..=70).collect::<Vec<_>>());
}

fn other_operations() {
    let file = listing(fx(), ENTRY).expect("a listing");
    let mut bytes = [0; ENTRY];
    assert_eq!(write(&file, &bytes), Err(Errno::EBADF));
    assert_eq!(pwrite(&file, &bytes, 0), Err(Errno::ESPIPE));
    assert_eq!(pread(&file, &mut bytes, 0), Err(Errno::ESPIPE));
    for (offset, whence) in [
        (1, Whence::SeekSet),
        (-1, Whence::SeekSet),
        (0, Whence::SeekCur),
        (0, Whence::SeekEnd),
        (0, Whence::SeekData),
    ] {
        assert_eq!(lseek(&file, offset, whence), Err(Errno::EINVAL));
    }
    let name = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    assert_eq!(
        name.expect("a name").to_str(),
        Some("anon_inode:[rfutex-list]")
    );
    // A vector of buffers is filled in order.
    let map = Mapping::shared(PAGE);
    let _set = watched(map.word(0), 3);
    let (mut one, mut other) = (vec![0; ENTRY / 2], vec![0; 4 * ENTRY]);
    let mut slices = [&mut one[..], &mut other[..]].map(std::io::IoSliceMut::new);
    let nr = (&file).read_vectored(&mut slices).expect("readv");
    assert!(nr >= 3 * ENTRY);
    let all = [one, other].concat();
    assert_eq!(cookies(&all[..nr], ENTRY, map.word(0)), [1, 2, 3]);
}

/// Only a device file gives listings, and a listing knows no commands.
fn other_files() {
    let good = || uapi::rfutex_list {
        flags: 0,
        entry_size: ENTRY as u32,
    };
    let set = Watches::nonblocking(fx()).expect("a watch set");
    let file = listing(fx(), ENTRY).expect("a listing");
    for fd in [set.as_fd(), file.as_fd()] {
        // SAFETY: The command writes nothing, and other files do not know it.
        let result = unsafe { raw::call(fd, uapi::RFUTEX_LIST, &mut good()) };
        assert_eq!(result, Err(Error::Unsupported));
    }
    // SAFETY: A query writes to its struct only.
    let result = unsafe {
        raw::call(
            file.as_fd(),
            uapi::RFUTEX_QUERY,
            &mut uapi::rfutex_query::default(),
        )
    };
    assert_eq!(result, Err(Error::Unsupported));
}

fn opened_by_its_name() {
    let file = listing(fx(), ENTRY).expect("a listing");
    let result = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()));
    assert_eq!(
        result.err().and_then(|error| error.raw_os_error()),
        Some(libc::ENXIO)
    );
    assert!(!all(fx()).iter().any(|waiter| waiter.size == 0));
}

/// Copying a record fails. It is read the next time.
fn lab_copy_fails() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let _set = watched(word, 5);
    let file = listing(fx(), ENTRY).expect("a listing");
    let mut found = Vec::new();
    for _ in 0..5 {
        let fault = crate::harness::Fault::arm("copy-out", 1);
        assert_eq!(read(&file, 4096), Err(Errno::EFAULT));
        assert_eq!(fault.left(), 0);
        while cookies(&read_some(&file, &mut found, word), ENTRY, word).is_empty() {}
    }
    assert_eq!(found, [1, 2, 3, 4, 5]);
}

/// Reads one record, and notes its cookie if it is one of those that wait on the object of `word`.
fn read_some(file: &File, found: &mut Vec<u64>, word: Word<'_>) -> Vec<u8> {
    let bytes = read(file, ENTRY).expect("read");
    assert!(!bytes.is_empty(), "there is one left");
    found.extend(cookies(&bytes, ENTRY, word));
    bytes
}
