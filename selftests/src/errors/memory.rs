// SPDX-License-Identifier: GPL-2.0
//! Addresses where no word is, or no struct: `EFAULT`.

use super::*;
use crate::harness::{Child, Mapping, PAGE};
use libc::{EFAULT, EINVAL};
use nix::sys::mman::{MapFlags, ProtFlags};

trials![
    not_of_the_user,
    not_mapped,
    last_page,
    prot_none,
    read_only_anonymous,
    untouched_anonymous,
    only_the_parents,
    struct_not_of_the_user,
    struct_cut_off,
    struct_not_writable,
];

/// Addresses that user space never has, multiples of 8.
fn not_of_users() -> Vec<u64> {
    let mut addrs = vec![
        // The last bytes of all, and the kernel's half.
        u64::MAX - 7,
        u64::MAX - 4095,
        0xffff_ffff_ff60_0000, // vsyscall
        0xffff_ffff_8000_0000, // the kernel itself
        0xffff_8880_0000_0000, // all memory, directly
        0xffff_8000_0000_0000,
        0xff00_0000_0000_0000,
        // Not canonical, with 48 and with 57 bits.
        0x8000_0000_0000_0000,
        0x0100_0000_0000_0000,
        0xfeff_ffff_ffff_fff8,
        0x1234_5678_9abc_def0,
        0x7fff_ffff_ffff_fff8,
    ];
    let beyond = Mapping::beyond_user_space();
    let next_page = (beyond + 1).next_multiple_of(PAGE as u64);
    addrs.extend([beyond, next_page - 8, next_page]);
    addrs
}

/// Every command on every such word fails, with and without the flag.
fn not_of_the_user() {
    for addr in not_of_users() {
        for request in WORD_COMMANDS {
            for flags in [0, RFUTEX_WORD_PRIVATE] {
                for size in [1, 2, 4, 8] {
                    let word = rfutex_word { addr, size, flags };
                    assert_eq!(call_on(request, word), EFAULT, "{request:#x} at {addr:#x}");
                }
            }
        }
        for request in ADDR_COMMANDS {
            let result = command::call_addr(fx(), request, addr);
            assert_eq!(result, Err(Error::Fault), "{request:#x} at {addr:#x}");
        }
    }
}

/// What the commands say of the word at `addr`, shared and private: those that wait there, and the
/// others.
fn check(addr: u64, shared: [i32; 2], private: [i32; 2]) {
    for (flags, [waits, others]) in [(0, shared), (RFUTEX_WORD_PRIVATE, private)] {
        for request in WORD_COMMANDS {
            let expected = if success(request) == 0 { others } else { waits };
            for size in [1, 2, 4, 8] {
                let word = rfutex_word { addr, size, flags };
                assert_eq!(
                    call_on(request, word),
                    expected,
                    "{request:#x} at {addr:#x}"
                );
            }
        }
    }
    for request in ADDR_COMMANDS {
        let private = [RFUTEX_WAKE_ONE_PRIVATE, RFUTEX_WAKE_ALL_PRIVATE].contains(&request);
        let expected = if private { 0 } else { shared[1] };
        let result = command::call_addr(fx(), request, addr);
        assert_eq!(errno(result), expected, "{request:#x} at {addr:#x}");
    }
}

/// No command can use it, but that a private key needs no memory.
fn check_unusable(addr: u64) {
    check(addr, [EFAULT; 2], [EFAULT, 0]);
}

fn not_mapped() {
    let map = Mapping::private(3 * PAGE);
    map.unmap_part(PAGE, PAGE);
    let hole = map.addr() + PAGE as u64;
    for addr in [hole, hole + PAGE as u64 - 8, 0, 8, PAGE as u64 - 8] {
        check_unusable(addr);
    }
    // Right beside it all is well.
    check_usable(hole - 8);
    check_usable(hole + PAGE as u64);
}

fn check_usable(addr: u64) {
    let right = [libc::ETIMEDOUT, 0];
    check(addr, right, right);
}

fn last_page() {
    let last = Mapping::end_of_user_space() - PAGE as u64;
    check_unusable(last);
    check_unusable(last + PAGE as u64 - 8);
    for flags in [MapFlags::MAP_PRIVATE, MapFlags::MAP_SHARED] {
        let map = Mapping::at(last, PAGE, flags).expect("the last page");
        check_usable(map.addr());
        check_usable(map.addr() + PAGE as u64 - 8);
    }
    check_unusable(Mapping::beyond_user_space() - 8);
}

fn prot_none() {
    for flags in [MapFlags::MAP_PRIVATE, MapFlags::MAP_SHARED] {
        // Never touched, and touched before.
        check_unusable(Mapping::anonymous(PAGE, ProtFlags::PROT_NONE, flags).addr());
        let map = Mapping::anonymous(PAGE, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags);
        map.write(0, &[0]);
        map.protect(ProtFlags::PROT_NONE);
        check_unusable(map.addr());
    }
}

fn read_only_anonymous() {
    let untouched = Mapping::anonymous(PAGE, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE);
    check(untouched.addr(), [EFAULT; 2], [libc::ETIMEDOUT, 0]);
    // With the zero page there.
    assert_eq!(untouched.read(0, 1), [0]);
    check(untouched.addr(), [EFAULT; 2], [libc::ETIMEDOUT, 0]);
    let touched = Mapping::private(PAGE);
    touched.write(0, &[0]);
    touched.protect(ProtFlags::PROT_READ);
    check(touched.addr(), [EFAULT; 2], [libc::ETIMEDOUT, 0]);
    // Shared memory is good to read, too.
    let shared = Mapping::shared(PAGE);
    shared.protect(ProtFlags::PROT_READ);
    check_usable(shared.addr());
}

/// The zero page lies there after a read. It can be written, so it is no error.
fn untouched_anonymous() {
    for read in [false, true] {
        for flags in [MapFlags::MAP_PRIVATE, MapFlags::MAP_SHARED] {
            let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
            let map = Mapping::anonymous(PAGE, prot, flags);
            if read {
                assert_eq!(map.read(0, 1), [0]);
            }
            check_usable(map.addr());
        }
    }
}

/// An address is one of the caller, not of who opened the device.
fn only_the_parents() {
    let map = Mapping::shared(PAGE);
    let addr = map.addr();
    check_usable(addr);
    let child = Child::run(|| {
        map.unmap_part(0, PAGE);
        check_unusable(addr);
    });
    child.join();
    check_usable(addr);
}

/// The struct's own address, as [`not_of_the_user`] and where nothing is.
fn struct_not_of_the_user() {
    let hole = Mapping::private(4 * PAGE);
    hole.unmap_part(0, 4 * PAGE);
    for addr in not_of_users().into_iter().chain([0, hole.addr()]) {
        for request in WORD_COMMANDS
            .into_iter()
            .chain([RFUTEX_QUERY, RFUTEX_WAITV])
        {
            for size in [raw::size(request), 1, 4096, 16383] {
                let request = raw::with_size(request, size);
                // SAFETY: Nothing of ours lies there.
                let result = unsafe { raw::ioctl(fx().as_fd(), request, addr) };
                assert_eq!(result, Err(Error::Fault), "{request:#x} at {addr:#x}");
            }
        }
    }
}

/// A struct of which only the first bytes, or only the last, are there.
fn struct_cut_off() {
    let word = Mapping::private(PAGE);
    let map = Mapping::private(3 * PAGE);
    map.unmap_part(PAGE, PAGE);
    let (wait, wake, info) = (
        wait_at(word.addr()),
        wake_at(word.addr()),
        info_at(word.addr()),
    );
    let query = rfutex_query::default();
    let (requeue, wake_op, swap) = (
        requeue_at(word.addr()),
        wake_op_at(word.addr()),
        swap_at(word.addr()),
    );
    let entries = [entry_at(word.addr())];
    let waitv = waitv_of(&entries);
    let requests = [
        (RFUTEX_REQUEUE, bytes_of(&requeue)),
        (RFUTEX_WAKE_OP, bytes_of(&wake_op)),
        (RFUTEX_SWAP, bytes_of(&swap)),
        (RFUTEX_WAITV, bytes_of(&waitv)),
        (RFUTEX_WAIT, bytes_of(&wait)),
        (RFUTEX_WAKE, bytes_of(&wake)),
        (RFUTEX_KEY_INFO, bytes_of(&info)),
        (RFUTEX_QUERY, bytes_of(&query)),
    ];
    for (request, bytes) in requests {
        for there in 1..bytes.len() {
            map.write(PAGE - there, &bytes[..there]);
            map.write(2 * PAGE, &bytes[bytes.len() - there..]);
            let behind = 2 * PAGE - (bytes.len() - there);
            for offset in [PAGE - there, behind] {
                // SAFETY: The mapping is for the kernel to write to.
                let result =
                    unsafe { raw::ioctl(fx().as_fd(), request, map.addr() + offset as u64) };
                assert_eq!(
                    result,
                    Err(Error::Fault),
                    "{request:#x}, {there} bytes there"
                );
            }
        }
    }
}

/// Input is read from where it cannot be written; output is not.
fn struct_not_writable() {
    let map = Mapping::private(PAGE);
    let word = map.addr() + 2048;
    let check = |request, bytes: &[u8], expected| {
        map.protect(ProtFlags::PROT_READ | ProtFlags::PROT_WRITE);
        map.write(0, bytes);
        map.protect(ProtFlags::PROT_READ);
        // SAFETY: As it cannot be written, the kernel writes nothing.
        let result = unsafe { raw::ioctl(fx().as_fd(), request, map.addr()) };
        assert_eq!(errno(result), expected, "{request:#x}");
        assert_eq!(map.read(0, bytes.len()), bytes, "{request:#x}");
    };
    let private = |addr| rfutex_word {
        flags: RFUTEX_WORD_PRIVATE,
        ..word_at(addr)
    };
    let wait = rfutex_wait {
        word: private(word),
        ..wait_at(0)
    };
    check(RFUTEX_WAIT, bytes_of(&wait), libc::ETIMEDOUT);
    let wake = rfutex_wake {
        word: private(word),
        ..wake_at(0)
    };
    check(RFUTEX_WAKE, bytes_of(&wake), 0);
    let requeue = rfutex_requeue {
        from: private(word),
        ..requeue_at(0)
    };
    check(RFUTEX_REQUEUE, bytes_of(&requeue), 0);
    let wake_op = rfutex_wake_op {
        word: private(word),
        ..wake_op_at(0)
    };
    check(RFUTEX_WAKE_OP, bytes_of(&wake_op), 0);
    let swap = wait.swap(other());
    check(RFUTEX_SWAP, bytes_of(&swap), libc::ETIMEDOUT);
    let entries = [rfutex_waitv_entry {
        word: private(word),
        ..entry_at(0)
    }];
    check(RFUTEX_WAITV, bytes_of(&waitv_of(&entries)), libc::ETIMEDOUT);
    let info = rfutex_key_info {
        word: private(word),
        ..info_at(0)
    };
    check(RFUTEX_KEY_INFO, bytes_of(&info), EFAULT);
    check(RFUTEX_QUERY, bytes_of(&rfutex_query::default()), EFAULT);
    // The field comes first.
    let info = rfutex_key_info {
        word: rfutex_word {
            size: 3,
            ..private(word)
        },
        ..info
    };
    check(RFUTEX_KEY_INFO, bytes_of(&info), EINVAL);
}
