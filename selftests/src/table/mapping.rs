// SPDX-License-Identifier: GPL-2.0
//! Mappings of an arena, and what can be done to them.

use super::{arena, nr_waiters, table, waiter, with_arena, word};
use crate::harness::{Child, Mapping, PAGE, fx};
use nix::errno::Errno;
use nix::sys::mman::{MRemapFlags, MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mremap};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use rfutex::{Error, Table, Word};
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

trials![
    memory_is_shared,
    zero_at_first,
    refused,
    any_part,
    beyond_the_end,
    protection,
    dropped_pages,
    moved,
    inherited,
    unmapped_under_a_waiter,
    outlives_the_descriptor,
    by_its_address,
    in_futex,
    by_a_debugger,
    as_a_buffer,
];

const READ_WRITE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

fn shared(table: &Table, first: usize, pages: usize, prot: ProtFlags) -> Mapping {
    let offset = (first * PAGE) as i64;
    Mapping::file(
        table.as_fd(),
        offset,
        pages * PAGE,
        prot,
        MapFlags::MAP_SHARED,
    )
}

fn memory_is_shared() {
    let table = with_arena(2);
    let maps = [(); 2].map(|()| shared(&table, 0, 2, READ_WRITE));
    for offset in [0, PAGE - 4, PAGE, 2 * PAGE - 4] {
        let [here, there] = maps.each_ref().map(|map| map.atomic::<AtomicU32>(offset));
        here.store(offset as u32 + 1, Ordering::Relaxed);
        assert_eq!(there.load(Ordering::Relaxed), offset as u32 + 1);
        let word = word(offset as u64);
        assert_eq!(table.wait(word, 0), Err(Error::Again));
    }
}

/// What was in the memory of an arena that is gone is not seen in another one.
fn zero_at_first() {
    for _ in 0..10 {
        let map = shared(&with_arena(16), 0, 16, READ_WRITE);
        assert!(map.read(0, 16 * PAGE).iter().all(|&byte| byte == 0));
        map.write(0, &[0xa5; 16 * PAGE]);
    }
}

fn refused() {
    let table = with_arena(1);
    let length = NonZeroUsize::new(PAGE).expect("not empty");
    let map = |fd: &Table, prot, flags| {
        // SAFETY: A new mapping replaces nothing.
        unsafe { mmap(None, length, prot, flags, fd.as_fd(), 0) }.err()
    };
    let private = MapFlags::MAP_PRIVATE;
    assert_eq!(map(&table, READ_WRITE, private), Some(Errno::EINVAL));
    assert_eq!(
        map(&table, ProtFlags::PROT_READ, private),
        Some(Errno::EINVAL)
    );
    let executable = READ_WRITE | ProtFlags::PROT_EXEC;
    let shared = MapFlags::MAP_SHARED;
    assert_eq!(map(&table, executable, shared), Some(Errno::EPERM));
    assert_eq!(map(&self::table(), READ_WRITE, shared), Some(Errno::ENODEV));
    // SAFETY: As above.
    let device = unsafe { mmap(None, length, READ_WRITE, shared, fx().as_fd(), 0) };
    assert_eq!(device.err(), Some(Errno::ENODEV));
}

/// A part of the arena, read-only or not. Its words have the offsets that they have in the whole.
fn any_part() {
    let table = with_arena(4);
    let (all, part) = (
        shared(&table, 0, 4, READ_WRITE),
        shared(&table, 2, 1, ProtFlags::PROT_READ),
    );
    all.atomic::<AtomicU32>(2 * PAGE + 8)
        .store(5, Ordering::Relaxed);
    assert_eq!(part.atomic::<AtomicU32>(8).load(Ordering::Relaxed), 5);
    assert_eq!(table.wait(word(2 * PAGE as u64 + 8), 0), Err(Error::Again));
}

/// Whether a child that reads at `offset` of the mapping ends by this signal.
fn dies_of(map: &Mapping, offset: usize, write: bool, signal: Signal) -> bool {
    let child = Child::run(|| {
        let word = map.atomic::<AtomicU32>(offset);
        if write {
            word.store(1, Ordering::Relaxed);
        } else {
            word.load(Ordering::Relaxed);
        }
    });
    matches!(child.status(), WaitStatus::Signaled(_, by, _) if by == signal)
}

fn beyond_the_end() {
    let table = with_arena(2);
    for (first, pages, inside) in [(0, 4, 2), (1, 2, 1), (2, 1, 0), (1 << 40, 1, 0)] {
        let map = shared(&table, first, pages, READ_WRITE);
        for page in 0..inside {
            map.atomic::<AtomicU32>(page * PAGE)
                .store(1, Ordering::Relaxed);
        }
        for page in inside..pages {
            assert!(dies_of(&map, page * PAGE, false, Signal::SIGBUS));
            assert!(dies_of(&map, page * PAGE, true, Signal::SIGBUS));
        }
    }
}

fn protection() {
    let table = with_arena(1);
    let map = shared(&table, 0, 1, READ_WRITE);
    map.atomic::<AtomicU32>(0).store(1, Ordering::Relaxed);
    map.protect(ProtFlags::PROT_READ);
    assert_eq!(map.atomic::<AtomicU32>(0).load(Ordering::Relaxed), 1);
    assert!(dies_of(&map, 0, true, Signal::SIGSEGV));
    map.protect(ProtFlags::PROT_NONE);
    assert!(dies_of(&map, 0, false, Signal::SIGSEGV));
    // The calls do not use the mapping.
    assert_eq!(table.wait(word(0), 0), Err(Error::Again));
    map.protect(READ_WRITE);
    map.atomic::<AtomicU32>(0).store(2, Ordering::Relaxed);
    let addr = NonNull::new(map.addr() as *mut _).expect("an address");
    // SAFETY: Nothing becomes inaccessible.
    let result = unsafe { nix::sys::mman::mprotect(addr, PAGE, ProtFlags::PROT_EXEC) };
    assert_eq!(result, Err(Errno::EACCES));
}

/// The pages belong to the arena, so that a process cannot drop them.
fn dropped_pages() {
    let map = shared(&with_arena(1), 0, 1, READ_WRITE);
    map.atomic::<AtomicU32>(0).store(7, Ordering::Relaxed);
    let addr = NonNull::new(map.addr() as *mut _).expect("an address");
    for advice in [
        MmapAdvise::MADV_DONTNEED,
        MmapAdvise::MADV_FREE,
        MmapAdvise::MADV_REMOVE,
    ] {
        // SAFETY: The memory consists of atomics.
        let error = unsafe { madvise(addr, PAGE, advice) }.expect_err("a page was dropped");
        assert!(
            [Errno::EINVAL, Errno::ENODEV].contains(&error),
            "{advice:?}: {error}"
        );
    }
    assert_eq!(map.atomic::<AtomicU32>(0).load(Ordering::Relaxed), 7);
}

/// A mapping is moved as any other. It does not grow.
fn moved() {
    let table = with_arena(2);
    let map = shared(&table, 0, 1, READ_WRITE);
    map.atomic::<AtomicU32>(8).store(7, Ordering::Relaxed);
    let addr = NonNull::new(map.addr() as *mut _).expect("an address");
    let elsewhere = Mapping::nothing(PAGE);
    let to = NonNull::new(elsewhere.addr() as *mut _);
    let flags = MRemapFlags::MREMAP_MAYMOVE;
    // SAFETY: It would only grow.
    let grown = unsafe { mremap(addr, PAGE, 2 * PAGE, flags, None) };
    assert_eq!(grown.err(), Some(Errno::EFAULT));
    let fixed = flags | MRemapFlags::MREMAP_FIXED;
    // SAFETY: The place is a mapping of ours, of which nothing is used.
    let moved = unsafe { mremap(addr, PAGE, PAGE, fixed, to) };
    assert_eq!(moved.map(|at| at.addr().get() as u64), Ok(elsewhere.addr()));
    let word = elsewhere.atomic::<AtomicU32>(8);
    assert_eq!(word.load(Ordering::Relaxed), 7);
    word.store(8, Ordering::Relaxed);
    assert_eq!(table.wait(Word::in_arena(8, 4), 7), Err(Error::Again));
}

/// A child of fork(2) has the same memory, not a copy.
fn inherited() {
    let arena = arena(2);
    let [touched, untouched]: [&AtomicU64; 2] =
        [0, PAGE].map(|offset| arena.get(offset).expect("it is in the arena"));
    touched.store(1, Ordering::Relaxed);
    Child::run(|| {
        assert_eq!(touched.load(Ordering::Relaxed), 1);
        touched.store(2, Ordering::Relaxed);
        untouched.store(3, Ordering::Relaxed);
    })
    .join();
    assert_eq!(touched.load(Ordering::Relaxed), 2);
    assert_eq!(untouched.load(Ordering::Relaxed), 3);
}

fn unmapped_under_a_waiter() {
    let table = with_arena(1);
    let map = shared(&table, 0, 1, READ_WRITE);
    map.atomic::<AtomicU32>(8).store(0, Ordering::Relaxed);
    let task = waiter(&table, word(8));
    drop(map);
    assert_eq!(nr_waiters(&table, word(8)), 1);
    assert_eq!(table.wake_one(word(8)), Ok(1));
    assert_eq!(task.join(), Ok(()));
}

/// The memory is there for as long as it is mapped, though nobody has the file any more.
fn outlives_the_descriptor() {
    let table = with_arena(4);
    let map = shared(&table, 0, 4, READ_WRITE);
    drop(Arc::into_inner(table));
    for page in 0..4 {
        let word = map.atomic::<AtomicU32>(page * PAGE);
        assert_eq!(word.fetch_add(1, Ordering::Relaxed), 0);
    }
}

/// By its address a word has no key, whatever the resolver, unless it is private. Then it is another
/// word.
fn by_its_address() {
    let table = with_arena(1);
    let map = shared(&table, 0, 1, READ_WRITE);
    map.atomic::<AtomicU32>(0).store(0, Ordering::Relaxed);
    let task = waiter(&table, word(0));
    for resolver in [rfutex::Resolver::Page, rfutex::Resolver::Vma] {
        let device = rfutex::Rfutex::open().expect("the device");
        device.set_resolver(resolver).expect("a resolver");
        for other in [&device, &**Arc::as_ref(&table)] {
            assert_eq!(other.wake_all(map.word(0)), Err(Error::Fault));
            assert_eq!(other.wait(map.word(0), 0), Err(Error::Fault));
            assert_eq!(other.wake_all(map.word(0).private()), Ok(0));
            assert_eq!(other.wait(map.word(0).private(), 1), Err(Error::Again));
        }
    }
    assert_eq!(table.wake_all(word(0)), Ok(1));
    assert_eq!(task.join(), Ok(()));
}

/// futex(2) takes an address in an arena for one without a page.
fn in_futex() {
    let map = shared(&with_arena(1), 0, 1, READ_WRITE);
    map.atomic::<AtomicU32>(0).store(0, Ordering::Relaxed);
    let wake = |op: i32| {
        // SAFETY: A wake writes nothing.
        Errno::result(unsafe { libc::syscall(libc::SYS_futex, map.addr(), op, 1) })
    };
    assert_eq!(wake(libc::FUTEX_WAKE), Err(Errno::EFAULT));
    assert_eq!(wake(libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG), Ok(0));
}

/// A debugger can look at the memory, and change what the process could.
fn by_a_debugger() {
    let table = with_arena(2);
    let (map, read_only) = (
        shared(&table, 0, 2, READ_WRITE),
        shared(&table, 0, 2, ProtFlags::PROT_READ),
    );
    map.write(PAGE - 4, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let memory = File::options()
        .read(true)
        .write(true)
        .open("/proc/self/mem")
        .expect("mem");
    let mut bytes = [0; 8];
    for map in [&map, &read_only] {
        memory
            .read_exact_at(&mut bytes, map.addr() + PAGE as u64 - 4)
            .expect("read");
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8]);
    }
    memory
        .write_all_at(&[9; 8], map.addr() + PAGE as u64 - 4)
        .expect("write");
    assert_eq!(map.read(PAGE - 4, 8), [9; 8]);
    assert!(memory.write_all_at(&[7; 8], read_only.addr()).is_err());
    assert!(map.read(0, 8).iter().all(|&byte| byte == 0));
    let beyond = shared(&table, 1, 2, READ_WRITE);
    assert!(
        memory
            .read_exact_at(&mut bytes, beyond.addr() + PAGE as u64)
            .is_err()
    );
}

/// read(2) and write(2) work with the memory. What would keep a page of it does not.
fn as_a_buffer() {
    let map = shared(&with_arena(1), 0, 1, READ_WRITE);
    let (read, write) = nix::unistd::pipe().expect("pipe");
    map.write(0, b"arena");
    // SAFETY: The memory is there, and consists of bytes that others may change.
    let written = unsafe { libc::write(write.as_raw_fd(), map.addr() as _, 5) };
    assert_eq!(written, 5);
    // SAFETY: As above.
    let got = unsafe { libc::read(read.as_raw_fd(), (map.addr() + 64) as _, 5) };
    assert_eq!(got, 5);
    assert_eq!(map.read(64, 5), b"arena");
    let iov = libc::iovec {
        iov_base: map.addr() as *mut _,
        iov_len: PAGE,
    };
    // SAFETY: The vector describes memory that is there.
    let spliced = unsafe { libc::vmsplice(write.as_raw_fd(), &raw const iov, 1, 0) };
    assert_eq!(Errno::result(spliced), Err(Errno::EFAULT));
}
