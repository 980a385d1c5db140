// SPDX-License-Identifier: GPL-2.0
//! Bad input: each has its error, and nothing is armed.

use super::{add, counts, events, read_to, set};
use crate::harness::command::call;
use crate::harness::{Child, Mapping, PAGE, fx, nr_waiters};
use crate::memory::{memfd, rw};
use nix::errno::Errno;
use nix::sys::mman::ProtFlags;
use nix::unistd::{Whence, lseek};
use rfutex::raw::{self, uapi};
use rfutex::{Error, Resolver, Rfutex, WatchId, WatchOptions, Watches};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

trials![
    create,
    add_fields,
    add_sizes,
    id_cannot_be_written,
    id_on_the_next_page,
    id_is_written_before,
    remove_fields,
    ids_that_never_were,
    other_files,
    old_numbers,
    not_a_stream_of_bytes,
    opened_by_its_name,
    resolver_of_then,
];

/// Calls a command of a set.
fn on<T: raw::Struct>(fd: BorrowedFd<'_>, request: u32, arg: &mut T) -> Result<u32, Error> {
    // SAFETY: No command of a set writes outside of its struct, and other files do not know the
    // commands.
    unsafe { raw::call(fd, request, arg) }
}

/// Adds by a struct of just these bytes.
fn add_bytes(set: &Watches, bytes: &mut [u8]) -> Result<u32, Error> {
    // SAFETY: As above.
    unsafe { raw::call_bytes(set.as_fd(), uapi::RFUTEX_WATCH_ADD, bytes) }
}

/// A good request.
fn request(map: &Mapping) -> uapi::rfutex_watch_add {
    uapi::rfutex_watch_add {
        word: map.word(0).into(),
        val: 0,
        mask: uapi::RFUTEX_MASK_ANY,
        cookie: 5,
        id: 0,
        flags: 0,
        cond: 0,
    }
}

fn create() {
    let good = uapi::rfutex_watches_create { flags: 0, pad: 0 };
    for bit in 0..32 {
        for (flags, pad) in [(1 << bit, 0), (0, 1 << bit)] {
            let mut create = uapi::rfutex_watches_create { flags, pad };
            let result = call(fx(), uapi::RFUTEX_WATCHES_CREATE, &mut create);
            if flags & 0b11 != 0 {
                nix::unistd::close(result.expect("a set") as i32).expect("close");
            } else {
                assert_eq!(result, Err(Error::Invalid), "{flags:#x} {pad:#x}");
            }
        }
    }
    // A set has no sets.
    let result = on(set().as_fd(), uapi::RFUTEX_WATCHES_CREATE, &mut { good });
    assert_eq!(result, Err(Error::Unsupported));
}

fn add_fields() {
    type Change = fn(&mut uapi::rfutex_watch_add);
    let map = Mapping::shared(PAGE);
    let set = set();
    let bad: [(Change, Error); 14] = [
        (|add| add.mask = 0, Error::Invalid),
        (|add| add.cond = 1, Error::Invalid),
        (|add| add.cond = 1 << 31, Error::Invalid),
        (|add| add.flags = 2, Error::Invalid),
        (|add| add.flags = 1 << 31, Error::Invalid),
        (|add| add.word.flags = 1 << 31, Error::Invalid),
        (|add| add.word.size = 0, Error::Invalid),
        (|add| add.word.size = 3, Error::Invalid),
        (|add| add.word.addr += 1, Error::Invalid),
        (|add| add.val = 1 << 32, Error::Invalid),
        (|add| add.val = 1, Error::Again),
        (|add| add.word.addr = 0, Error::Fault),
        (|add| add.word.addr = u64::MAX - 7, Error::Fault),
        (
            |add| (add.word.addr, add.word.flags) = (0, uapi::RFUTEX_WORD_PRIVATE),
            Error::Fault,
        ),
    ];
    for (index, (change, error)) in bad.into_iter().enumerate() {
        for repeat in [0, uapi::RFUTEX_WATCH_REPEAT] {
            let mut add = request(&map);
            add.flags = repeat;
            change(&mut add);
            if repeat != 0 {
                add.flags |= repeat;
            }
            let result = on(set.as_fd(), uapi::RFUTEX_WATCH_ADD, &mut add);
            assert_eq!(result, Err(error), "{index}");
        }
    }
    assert_eq!(nr_waiters(map.word(0)), 0);
    assert_eq!(fx().wake_all(map.word(0)), Ok(0));
    assert_eq!(events(&set), []);
    // Nothing of all that was kept: the first slot is free.
    assert_eq!(add(&set, map.word(0), 1).0 as u32, 0);
}

/// Structs of an older and of a newer program.
fn add_sizes() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let bytes = raw::bytes_of(&request(&map)).to_vec();
    for len in [0, 16, 24, 40, 44, 47] {
        let result = add_bytes(&set, &mut bytes.clone()[..len]);
        assert_eq!(result, Err(Error::Invalid), "{len}");
    }
    let long = |tail: u8| {
        let mut long = bytes.clone();
        long.extend([0, 0, 0, 0, 0, 0, 0, tail]);
        long
    };
    assert!(add_bytes(&set, &mut long(1)).is_err());
    assert_eq!(nr_waiters(map.word(0)), 0);
    // Just long enough for the id, and longer than what is known.
    for mut good in [bytes[..48].to_vec(), long(0)] {
        assert_eq!(add_bytes(&set, &mut good), Ok(0));
        let id = u64::from_ne_bytes(good[40..48].try_into().expect("8 bytes"));
        assert_eq!(set.remove(WatchId(id)), Ok(Some(0)));
    }
}

/// Where the struct lies is only read from: nothing is armed.
fn id_cannot_be_written() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let place = Mapping::private(2 * PAGE);
    let bytes = raw::bytes_of(&request(&map)).to_vec();
    // As a whole, and the field alone, whose page begins in the middle of the struct.
    for (at, part) in [(0, 0), (PAGE - 40, PAGE)] {
        place.write(at, &bytes);
        place.protect_part(part, PAGE, ProtFlags::PROT_READ);
        let addr = place.addr() + at as u64;
        // SAFETY: It is a set, which writes to the struct at most.
        let result = unsafe { raw::ioctl(set.as_fd(), uapi::RFUTEX_WATCH_ADD, addr) };
        assert_eq!(result, Err(Error::Fault));
        assert_eq!(nr_waiters(map.word(0)), 0);
        assert_eq!(fx().wake_all(map.word(0)), Ok(0));
        place.protect(rw());
        assert_eq!(place.read(at, bytes.len()), bytes);
    }
    // Where it can be written to, it is armed.
    // SAFETY: As above.
    let result = unsafe { raw::ioctl(set.as_fd(), uapi::RFUTEX_WATCH_ADD, place.addr()) };
    assert_eq!(result, Ok(0));
    assert_eq!(nr_waiters(map.word(0)), 1);
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    assert_eq!(counts(&set), [(5, 1)]);
}

/// The field is written although what follows it cannot be.
fn id_on_the_next_page() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let place = Mapping::private(2 * PAGE);
    let at = PAGE - 48;
    place.write(at, raw::bytes_of(&request(&map)));
    place.protect_part(PAGE, PAGE, ProtFlags::PROT_READ);
    let addr = place.addr() + at as u64;
    // SAFETY: It is a set, which writes to the struct at most.
    let result = unsafe { raw::ioctl(set.as_fd(), uapi::RFUTEX_WATCH_ADD, addr) };
    assert_eq!(result, Ok(0));
    let id = place.read(at + 40, 8).try_into().expect("8 bytes");
    assert_eq!(set.remove(WatchId(u64::from_ne_bytes(id))), Ok(Some(0)));
}

/// The id is known before the watch can be met, and is not yet good for anything then. It is put
/// where the word is: the comparison finds it there.
fn id_is_written_before() {
    let map = Mapping::shared(PAGE);
    let set = set();
    map.write(0, raw::bytes_of(&request(&map)));
    // The upper half of the id, which is 0 before, and no longer when the word is compared.
    map.write(0, &(map.addr() + 44).to_ne_bytes());
    // SAFETY: It is a set, which writes to the struct at most.
    let result = unsafe { raw::ioctl(set.as_fd(), uapi::RFUTEX_WATCH_ADD, map.addr()) };
    assert_eq!(result, Err(Error::Again));
    let id = u64::from_ne_bytes(map.read(40, 8).try_into().expect("8 bytes"));
    assert_ne!(id, 0);
    assert_eq!(set.remove(WatchId(id)), Ok(None));
    assert_eq!(nr_waiters(map.word(44)), 0);
}

fn remove_fields() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let id = add(&set, map.word(0), 1);
    for bit in 0..32 {
        for (flags, pad) in [(1 << bit, 0), (0, 1 << bit)] {
            let mut remove = uapi::rfutex_watch_remove {
                id: id.0,
                flags,
                pad,
            };
            let result = on(set.as_fd(), uapi::RFUTEX_WATCH_REMOVE, &mut remove);
            assert_eq!(result, Err(Error::Invalid));
        }
    }
    // SAFETY: It is a set, which writes nothing then.
    let result = unsafe { raw::ioctl(set.as_fd(), uapi::RFUTEX_WATCH_REMOVE, 8) };
    assert_eq!(result, Err(Error::Fault));
    assert_eq!(nr_waiters(map.word(0)), 1);
    assert_eq!(set.remove(id), Ok(Some(0)));
}

fn ids_that_never_were() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let id = add(&set, map.word(0), 1).0;
    for wrong in [
        0,
        u64::MAX,
        id ^ 1,
        id ^ 1 << 32,
        id ^ 1 << 63,
        id as u32 as u64,
        id & !0xffff_ffff,
    ] {
        if wrong != id {
            assert_eq!(set.remove(WatchId(wrong)), Ok(None), "{wrong:#x}");
        }
    }
    assert_eq!(nr_waiters(map.word(0)), 1);
    assert_eq!(set.remove(WatchId(id)), Ok(Some(0)));
}

/// The commands of a set on files that are none, and the other way round.
fn other_files() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let files = [
        memfd(PAGE).as_fd().try_clone_to_owned().expect("a file"),
        nix::sys::eventfd::EventFd::new().expect("eventfd").into(),
        fx().as_fd().try_clone_to_owned().expect("the device"),
    ];
    for file in files {
        let result = on(file.as_fd(), uapi::RFUTEX_WATCH_ADD, &mut request(&map));
        assert_eq!(result, Err(Error::Unsupported));
        let mut remove = uapi::rfutex_watch_remove::default();
        let result = on(file.as_fd(), uapi::RFUTEX_WATCH_REMOVE, &mut remove);
        assert_eq!(result, Err(Error::Unsupported));
    }
    for request in [
        uapi::RFUTEX_WAKE_ONE,
        uapi::RFUTEX_WAKE_ALL,
        uapi::RFUTEX_SET_RESOLVER,
    ] {
        // SAFETY: A set does not know the commands.
        let result = unsafe { raw::call_addr(set.as_fd(), request, map.addr()) };
        assert_eq!(result, Err(Error::Unsupported), "{request:#x}");
    }
    let mut query = uapi::rfutex_query::default();
    let result = on(set.as_fd(), uapi::RFUTEX_QUERY, &mut query);
    assert_eq!(result, Err(Error::Unsupported));
    let mut wait = uapi::rfutex_wait {
        word: map.word(0).into(),
        mask: 1,
        ..Default::default()
    };
    assert_eq!(
        on(set.as_fd(), uapi::RFUTEX_WAIT, &mut wait),
        Err(Error::Unsupported)
    );
    assert_eq!(nr_waiters(map.word(0)), 0);
}

/// Numbers that the first version of the interface had.
fn old_numbers() {
    let map = Mapping::shared(PAGE);
    let mut bytes = [0; 64];
    bytes[..8].copy_from_slice(&map.addr().to_ne_bytes());
    bytes[8] = 4;
    for number in [1, 6, 7, 8] {
        for direction in [0, 1, 2, 3] {
            for size in [16, 40, 48, 56, 64] {
                let request = direction << 30 | size << 16 | uapi::RFUTEX_IOC_MAGIC << 8 | number;
                for fd in [fx().as_fd(), set().as_fd()] {
                    // SAFETY: Neither file knows a command of this number.
                    let result =
                        unsafe { raw::call_bytes(fd, request, &mut bytes[..size as usize]) };
                    assert_eq!(result, Err(Error::Unsupported), "{request:#x}");
                }
            }
        }
    }
}

/// What else can be done with a file cannot be done with a set.
fn not_a_stream_of_bytes() {
    let map = Mapping::shared(PAGE);
    let set = set();
    add(&set, map.word(0), 1);
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    assert_eq!(nix::unistd::write(&set, &[0; 32]), Err(Errno::EBADF));
    for whence in [Whence::SeekSet, Whence::SeekCur, Whence::SeekEnd] {
        assert_eq!(lseek(&set, 0, whence), Err(Errno::ESPIPE));
    }
    let mut event = [0; 32];
    assert_eq!(
        nix::sys::uio::pread(&set, &mut event, 0),
        Err(Errno::ESPIPE)
    );
    let length = std::num::NonZeroUsize::new(PAGE).expect("not zero");
    let shared = nix::sys::mman::MapFlags::MAP_SHARED;
    // SAFETY: Nothing that is there is replaced.
    let result =
        unsafe { nix::sys::mman::mmap(None, length, ProtFlags::PROT_READ, shared, &set, 0) };
    assert_eq!(result, Err(Errno::ENODEV));
    // SAFETY: An address that nobody may write to.
    assert_eq!(read_to(&set, u64::MAX - 4095, 32), Err(Errno::EFAULT));
    assert_eq!(read_to(&set, 0, 32), Err(Errno::EFAULT));
    assert_eq!(read_to(&set, 0, 0), Err(Errno::EINVAL));
    assert_eq!(counts(&set), [(1, 1)]);
}

fn opened_by_its_name() {
    let set = set();
    let path = format!("/proc/self/fd/{}", set.as_raw_fd());
    let error = std::fs::File::open(&path).expect_err("a set has no name");
    assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
    let link = std::fs::read_link(&path).expect("a link");
    assert_eq!(link.to_str(), Some("anon_inode:[rfutex-watches]"));
}

/// A set goes on with the resolver that the device file had when it was made.
fn resolver_of_then() {
    let map = Mapping::private(PAGE);
    let own = Rfutex::open().expect("the device");
    own.set_resolver(Resolver::Vma).expect("a resolver");
    let set = Watches::nonblocking(&own).expect("a watch set");
    own.set_resolver(Resolver::Page).expect("a resolver");
    // Only by its page can a word be found to be read-only anonymous memory.
    map.protect(ProtFlags::PROT_READ);
    let options = WatchOptions::default();
    let by_vma = set.add(map.word(0), 0, 1, options);
    let by_page = super::set().add(map.word(0), 0, 1, options);
    assert!(by_vma.is_ok(), "{by_vma:?}");
    assert_eq!(by_page, Err(Error::Fault));
    Child::run(|| drop(set)).join();
}
