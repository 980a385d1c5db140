// SPDX-License-Identifier: GPL-2.0
//! The entry of 32-bit programs. `int 0x80` enters there from a 64-bit one.

pub mod multi;

use crate::harness::{
    Handler, Mapping, PAGE, Task, Waiter, command, fx, nr_waiters, signal_thread, until,
    until_queued,
};
use nix::sys::mman::MapFlags;
use nix::sys::signal::{SaFlags, Signal};
use rfutex::raw::{self, Struct, uapi::*};
use rfutex::{Error, Word};
use std::arch::asm;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::sync::atomic::{AtomicU32, Ordering};

trials![
    query,
    key_info,
    wait_and_wake,
    wait_of_every_size,
    wake_forms,
    restarted,
    errors,
    structs_of_other_sizes,
    words_above,
    list,
];

/// ioctl in the table of 32-bit x86.
const IOCTL: u64 = 54;

/// ioctl(2) as a 32-bit program calls it. Returns what the kernel returns.
///
/// # Safety
///
/// As for `rfutex::raw::ioctl`; of `arg` the kernel sees 32 bits.
unsafe fn ioctl32(request: u32, arg: u64) -> Result<u32, Error> {
    let fd = fx().as_fd().as_raw_fd() as u64;
    let mut result = IOCTL;
    // SAFETY: The registers are as the kernel wants them, rbx is put back, and
    // what the kernel may change of others is said. The caller answers for
    // the memory.
    unsafe {
        asm!(
            "xchg rbx, {fd}",
            "int 0x80",
            "xchg rbx, {fd}",
            fd = inout(reg) fd => _,
            inout("rax") result,
            in("rcx") u64::from(request),
            in("rdx") arg,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    // The kernel gives 32 bits.
    let result = result as i32;
    u32::try_from(result).map_err(|_| Error::from_errno(-result))
}

/// Memory below 4 GiB: structs at its start, words in its second page.
struct Low(Mapping);

impl Low {
    fn new() -> Self {
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_32BIT;
        let prot = nix::sys::mman::ProtFlags::PROT_READ | nix::sys::mman::ProtFlags::PROT_WRITE;
        let map = Mapping::anonymous(2 * PAGE, prot, flags);
        assert!(map.addr() < 1 << 31);
        Self(map)
    }

    fn word(&self) -> Word<'static> {
        self.0.word(PAGE)
    }

    /// Calls `request` with `arg` put there, and takes it back.
    fn call<T: Struct + Copy>(&self, request: u32, arg: &mut T) -> Result<u32, Error> {
        self.0.write(0, raw::bytes_of(arg));
        // SAFETY: The mapping is for the kernel to write to.
        let result = unsafe { ioctl32(request, self.0.addr()) };
        raw::bytes_of_mut(arg).copy_from_slice(&self.0.read(0, size_of::<T>()));
        result
    }
}

fn wait(word: Word<'_>, val: u64) -> rfutex_wait {
    rfutex_wait {
        word: word.into(),
        val,
        mask: RFUTEX_MASK_ANY,
        ..Default::default()
    }
}

fn wake(word: Word<'_>, nr: u32) -> rfutex_wake {
    rfutex_wake {
        word: word.into(),
        mask: RFUTEX_MASK_ANY,
        nr,
        pad: 0,
    }
}

fn query() {
    let low = Low::new();
    let (mut ours, mut theirs) = (rfutex_query::default(), rfutex_query::default());
    assert_eq!(low.call(RFUTEX_QUERY, &mut ours), Ok(0));
    assert_eq!(command::call(fx(), RFUTEX_QUERY, &mut theirs), Ok(0));
    assert_eq!(ours, theirs);
    assert_eq!(ours.version, RFUTEX_VERSION);
}

/// A listing is opened, and shows a waiter as it does to a 64-bit program.
fn list() {
    let low = Low::new();
    let waiter = Waiter::start(low.word(), 0);
    let entry_size = size_of::<rfutex_waiter>();
    let mut request = rfutex_list {
        flags: RFUTEX_LIST_CLOEXEC,
        entry_size: entry_size as u32,
    };
    let fd = low.call(RFUTEX_LIST, &mut request).expect("a listing");
    // SAFETY: The descriptor was just opened, and nobody else knows it.
    let file = unsafe { File::from_raw_fd(fd as i32) };
    let shown = crate::list::rest(&file);
    let addr = low.word().addr().to_ne_bytes();
    let ours = |record: &&[u8]| record[16..24] == addr;
    assert_eq!(shown.chunks(entry_size).filter(ours).count(), 1);
    assert_eq!(fx().wake_one(low.word()), Ok(1));
    waiter.woken();
}

fn key_info() {
    let low = Low::new();
    let waiter = Waiter::start(low.word(), 0);
    for word in [low.word(), low.word().private()] {
        let mut ours = rfutex_key_info {
            word: word.into(),
            kind: !0,
            ..Default::default()
        };
        let mut theirs = ours;
        assert_eq!(low.call(RFUTEX_KEY_INFO, &mut ours), Ok(0));
        assert_eq!(command::call(fx(), RFUTEX_KEY_INFO, &mut theirs), Ok(0));
        assert_eq!(ours, theirs);
        assert_eq!(ours.nr_waiters, u32::from(!word.is_private()));
    }
    assert_eq!(fx().wake_one(low.word()), Ok(1));
    waiter.woken();
}

/// Each entry's waiter is woken by the other entry's waker.
fn wait_and_wake() {
    for private in [false, true] {
        let low = Low::new();
        let word = if private {
            low.word().private()
        } else {
            low.word()
        };
        let task = Task::spawn({
            let low = Low::new();
            move || low.call(RFUTEX_WAIT, &mut wait(word, 0))
        });
        until_queued(word, 1);
        assert_eq!(fx().wake(word, 1, 1), Ok(1));
        assert_eq!(task.join(), Ok(0));
        let waiter = Waiter::start(word, 0);
        assert_eq!(low.call(RFUTEX_WAKE, &mut wake(word, 5)), Ok(1));
        waiter.woken();
    }
}

fn wait_of_every_size() {
    let low = Low::new();
    for size in [1_u32, 2, 4, 8] {
        let value = 0x8192_a3b4_c5d6_e7f8 & (u64::MAX >> (64 - 8 * size));
        low.0.write(PAGE + 8, &value.to_ne_bytes());
        let word = low.0.sized_word(PAGE + 8, size);
        let mut wait = rfutex_wait {
            clock: RFUTEX_CLOCK_BOOTTIME,
            ..wait(word, value)
        };
        assert_eq!(low.call(RFUTEX_WAIT, &mut wait), Err(Error::TimedOut));
        // The highest bit is above what 32 bits have, for the largest.
        wait.val ^= 1 << (8 * size - 1);
        assert_eq!(low.call(RFUTEX_WAIT, &mut wait), Err(Error::Again));
    }
}

/// The argument is a 32-bit address: what is above is cut off.
fn wake_forms() {
    let low = Low::new();
    let words = [low.word(), low.word().private()];
    let requests = [
        [RFUTEX_WAKE_ONE, RFUTEX_WAKE_ALL],
        [RFUTEX_WAKE_ONE_PRIVATE, RFUTEX_WAKE_ALL_PRIVATE],
    ];
    for (word, [one, all]) in words.into_iter().zip(requests) {
        for above in [0, 1 << 32, 0xffff_8880 << 32, u64::from(u32::MAX) << 32] {
            let addr = word.addr() | above;
            let waiters = [0; 3].map(|_| Waiter::start(word, 0));
            // SAFETY: These commands write nothing.
            unsafe {
                assert_eq!(ioctl32(one, addr), Ok(1), "{addr:#x}");
                assert_eq!(nr_waiters(word), 2);
                assert_eq!(ioctl32(all, addr), Ok(2), "{addr:#x}");
                assert_eq!(ioctl32(all, addr), Ok(0), "{addr:#x}");
            }
            waiters.into_iter().for_each(Waiter::woken);
        }
    }
}

/// A handler with `SA_RESTART` is not seen, one without is.
fn restarted() {
    for flags in [SaFlags::SA_RESTART, SaFlags::empty()] {
        let handler = Handler::counting(Signal::SIGUSR1, flags);
        let low = Low::new();
        let word = low.word();
        let task = Task::spawn({
            let low = Low::new();
            move || low.call(RFUTEX_WAIT, &mut wait(word, 0))
        });
        until_queued(word, 1);
        signal_thread(task.tid(), Signal::SIGUSR1);
        until("the handler runs", || handler.count() == 1);
        if flags.contains(SaFlags::SA_RESTART) {
            until_queued(word, 1);
            assert_eq!(fx().wake_one(word), Ok(1));
            assert_eq!(task.join(), Ok(0));
        } else {
            assert_eq!(task.join(), Err(Error::Interrupted));
        }
    }
}

fn errors() {
    let low = Low::new();
    let word = low.word();
    low.0.atomic::<AtomicU32>(PAGE).store(1, Ordering::Relaxed);
    assert_eq!(low.call(RFUTEX_WAIT, &mut wait(word, 0)), Err(Error::Again));
    assert_eq!(
        low.call(RFUTEX_WAIT, &mut wait(word, 1 << 32)),
        Err(Error::Invalid)
    );
    for wrong in [
        rfutex_wait {
            owner: 1,
            ..wait(word, 1)
        },
        rfutex_wait {
            flags: 3,
            ..wait(word, 1)
        },
        rfutex_wait {
            cond: 1,
            ..wait(word, 1)
        },
    ] {
        assert_eq!(low.call(RFUTEX_WAIT, &mut { wrong }), Err(Error::Invalid));
    }
    let early = rfutex_wait {
        deadline: -1,
        clock: RFUTEX_CLOCK_REALTIME,
        ..wait(word, 1)
    };
    assert_eq!(low.call(RFUTEX_WAIT, &mut { early }), Err(Error::Invalid));
    let odd = Word::at(word.addr() + 1, 4);
    assert_eq!(
        low.call(RFUTEX_WAKE, &mut wake(odd, 1)),
        Err(Error::Invalid)
    );
    let none = Word::at(8, 4);
    assert_eq!(low.call(RFUTEX_WAKE, &mut wake(none, 1)), Err(Error::Fault));
    for addr in [0, 8, 0xffff_f000, 0xffff_fff8, 1 << 32] {
        for request in [
            RFUTEX_WAIT,
            RFUTEX_WAKE,
            RFUTEX_KEY_INFO,
            RFUTEX_QUERY,
            RFUTEX_REQUEUE,
            RFUTEX_WAKE_OP,
            RFUTEX_WAITV,
            RFUTEX_SWAP,
            RFUTEX_WAKE_ONE,
        ] {
            // SAFETY: Nothing is there, in the low 32 bits.
            let result = unsafe { ioctl32(request, addr) };
            assert_eq!(result, Err(Error::Fault), "{request:#x} at {addr:#x}");
        }
    }
    // The numbers that are left out are those of commands with the direction of RFUTEX_WAIT.
    for nr in (0..=255).filter(|nr| !matches!(nr, 2 | 4 | 5 | 0x20..=0x24 | 0x27 | 0x30)) {
        // Its size, and those of the structs that version 1 had at 1, 6 and 7.
        for size in [raw::size(RFUTEX_WAIT), 32, 48, 64] {
            let request = raw::with_size(RFUTEX_WAIT & !0xff | nr, size);
            // SAFETY: The mapping is for the kernel to write to.
            let result = unsafe { ioctl32(request, low.0.addr()) };
            assert_eq!(result, Err(Error::Unsupported), "{request:#x}");
        }
    }
}

fn structs_of_other_sizes() {
    let low = Low::new();
    low.0.write(0, raw::bytes_of(&wake(low.word(), 0)));
    let len = size_of::<rfutex_wake>();
    for size in 0..PAGE {
        let request = raw::with_size(RFUTEX_WAKE, size);
        // SAFETY: It is input only.
        let result = unsafe { ioctl32(request, low.0.addr()) };
        let enough = std::mem::offset_of!(rfutex_wake, mask) < size;
        assert_eq!(
            result,
            if enough { Ok(0) } else { Err(Error::Invalid) },
            "size {size}"
        );
    }
    low.0.write(len, &[1]);
    // SAFETY: As above.
    let result = unsafe { ioctl32(raw::with_size(RFUTEX_WAKE, len + 1), low.0.addr()) };
    assert_eq!(result, Err(Error::Os(libc::E2BIG)));
}

/// Addresses in structs have 64 bits, and none of them is cut off.
fn words_above() {
    let low = Low::new();
    let high = Mapping::shared(PAGE);
    assert!(high.addr() > u64::from(u32::MAX), "the kernel maps high");
    let waiter = Waiter::start(high.word(0), 0);
    assert_eq!(low.call(RFUTEX_WAKE, &mut wake(high.word(0), 1)), Ok(1));
    waiter.woken();
}
