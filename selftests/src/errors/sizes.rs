// SPDX-License-Identifier: GPL-2.0
//! Structs that are shorter or longer than the module's.
//!
//! They end where a page ends and nothing is mapped behind, so that one byte
//! read or written too many is an `EFAULT`.

use super::*;
use crate::harness::{Mapping, PAGE};
use libc::{E2BIG, EINVAL};

trials![
    input_of_every_size,
    tail_not_zero,
    output_of_every_size,
    query_of_every_size,
    nothing_behind_the_output,
    too_big_before_invalid,
];

/// The most that an ioctl number can carry, in bytes.
const MAX: usize = (1 << 14) - 1;

/// Every size that there can be. Those that are far longer than any struct
/// take turns: of each `of`, the command number `turn` gets one.
fn sizes(turn: usize, of: usize) -> impl Iterator<Item = usize> {
    (0..=MAX).filter(move |size| *size <= 512 || *size == MAX || size % of == turn)
}

/// Room for a struct of any size that ends where memory ends.
struct Room(Mapping);

impl Room {
    const LEN: usize = 4 * PAGE;

    fn new() -> Self {
        let map = Mapping::private(Self::LEN + PAGE);
        map.unmap_part(Self::LEN, PAGE);
        Self(map)
    }

    /// The address of a struct of `size` bytes.
    fn addr(&self, size: usize) -> u64 {
        self.0.addr() + (Self::LEN - size) as u64
    }

    /// Puts a struct there, cut off at `size` bytes or extended with zeros.
    fn put(&self, size: usize, bytes: &[u8]) {
        let len = size.min(bytes.len());
        self.0.write(Self::LEN - size, &bytes[..len]);
    }

    /// Makes it zeros again where [`put`](Self::put) wrote.
    fn clear(&self, size: usize, len: usize) {
        self.0.write(Self::LEN - size, &vec![0; size.min(len)]);
    }

    fn get(&self, size: usize, len: usize) -> Vec<u8> {
        self.0.read(Self::LEN - size, len.min(size))
    }

    fn call(&self, request: u32, size: usize) -> Result<u32, Error> {
        // SAFETY: The room is for the kernel to write to, and has atomics
        // only.
        unsafe { raw::ioctl(fx().as_fd(), raw::with_size(request, size), self.addr(size)) }
    }
}

/// How many [`structs`] there are.
const STRUCTS: usize = 7;

/// The requests with the bytes of a struct for the word at `addr` that is
/// right, and ends with fields that are zero.
fn structs(addr: u64, entries: &[rfutex_waitv_entry]) -> [(u32, Vec<u8>); STRUCTS] {
    let wait = rfutex_wait {
        val: 1,
        clock: RFUTEX_CLOCK_NONE,
        ..wait_at(addr)
    };
    let wake = rfutex_wake {
        nr: 0,
        ..wake_at(addr)
    };
    let requeue = rfutex_requeue {
        nr_wake: 0,
        nr_move: 0,
        ..requeue_at(addr)
    };
    let wake_op = rfutex_wake_op {
        nr: 0,
        nr_target: 0,
        op: RFUTEX_OP_SET,
        ..wake_op_at(addr)
    };
    let waitv = rfutex_waitv {
        clock: RFUTEX_CLOCK_NONE,
        ..waitv_of(entries)
    };
    let swap = wait.swap(other());
    [
        (RFUTEX_WAIT, bytes_of(&wait).to_vec()),
        (RFUTEX_WAKE, bytes_of(&wake).to_vec()),
        (RFUTEX_KEY_INFO, bytes_of(&info_at(addr)).to_vec()),
        (RFUTEX_REQUEUE, bytes_of(&requeue).to_vec()),
        (RFUTEX_WAKE_OP, bytes_of(&wake_op).to_vec()),
        (RFUTEX_WAITV, bytes_of(&waitv).to_vec()),
        (RFUTEX_SWAP, bytes_of(&swap).to_vec()),
    ]
}

/// An entry for the first word of `map`, which has another value.
fn entries(map: &Mapping) -> [rfutex_waitv_entry; 1] {
    [rfutex_waitv_entry {
        val: 1,
        ..entry_at(map.addr())
    }]
}

/// What a struct must be given of, so that the rest may be zero: up to the
/// lowest byte of the word's size, or any byte of a mask.
fn enough(request: u32) -> usize {
    match request {
        RFUTEX_WAIT => std::mem::offset_of!(rfutex_wait, mask) + 1,
        RFUTEX_WAKE => std::mem::offset_of!(rfutex_wake, mask) + 1,
        RFUTEX_REQUEUE => std::mem::offset_of!(rfutex_requeue, to.size) + 1,
        RFUTEX_WAKE_OP => std::mem::offset_of!(rfutex_wake_op, target.size) + 1,
        RFUTEX_WAITV => std::mem::offset_of!(rfutex_waitv, entry_size) + 1,
        RFUTEX_SWAP => std::mem::offset_of!(rfutex_swap, wake.size) + 1,
        _ => std::mem::offset_of!(rfutex_word, size) + 1,
    }
}

fn input_of_every_size() {
    let map = Mapping::private(PAGE);
    let room = Room::new();
    for (turn, (request, bytes)) in structs(map.addr(), &entries(&map)).into_iter().enumerate() {
        let waits = [RFUTEX_WAIT, RFUTEX_WAITV, RFUTEX_SWAP].contains(&request);
        let right = if waits { libc::EAGAIN } else { 0 };
        for size in sizes(turn, STRUCTS) {
            room.put(size, &bytes);
            let expected = if size < enough(request) {
                EINVAL
            } else {
                right
            };
            assert_eq!(
                errno(room.call(request, size)),
                expected,
                "{request:#x}, size {size}"
            );
            room.clear(size, bytes.len());
        }
    }
}

/// Each byte of a tail counts, and none of them is forgotten at the ends.
fn tail_not_zero() {
    let map = Mapping::private(PAGE);
    let room = Room::new();
    for (turn, (request, bytes)) in structs(map.addr(), &entries(&map)).into_iter().enumerate() {
        for size in sizes(turn, STRUCTS).filter(|size| *size > bytes.len()) {
            // In turn the first byte, the last, and one that wanders.
            let tail = size - bytes.len();
            let at = [0, tail - 1, size * 7 % tail][size / 3 % 3];
            let place = Room::LEN - size + bytes.len() + at;
            room.put(size, &bytes);
            room.0.write(place, &[1 << (size % 8)]);
            let result = room.call(request, size);
            assert_eq!(
                errno(result),
                E2BIG,
                "{request:#x}, size {size}, byte {at} of the tail"
            );
            room.0.write(place, &[0]);
            room.clear(size, bytes.len());
        }
    }
}

fn output_of_every_size() {
    const LEN: usize = size_of::<rfutex_key_info>();
    const WORD: usize = size_of::<rfutex_word>();
    let map = Mapping::shared(PAGE);
    let room = Room::new();
    let mut full = rfutex_key_info {
        kind: !0,
        ..info_at(map.addr() + 8)
    };
    assert_eq!(command::call(fx(), RFUTEX_KEY_INFO, &mut full), Ok(0));
    assert_eq!((full.kind, full.offset), (RFUTEX_KEY_INODE, 8));
    for size in sizes(0, 2).filter(|size| *size >= enough(RFUTEX_KEY_INFO)) {
        // What is output only is poisoned.
        let mut bytes = bytes_of(&info_at(map.addr() + 8)).to_vec();
        bytes[WORD..].fill(0xa5);
        room.put(size, &bytes);
        assert_eq!(room.call(RFUTEX_KEY_INFO, size), Ok(0), "size {size}");
        assert_eq!(
            room.get(size, LEN),
            bytes_of(&full)[..size.min(LEN)],
            "size {size}"
        );
        let tail = size.saturating_sub(LEN);
        assert_eq!(
            room.0.read(Room::LEN - tail, tail),
            vec![0; tail],
            "size {size}"
        );
        room.clear(size, LEN);
    }
}

/// QUERY is output only: nothing is read, all of it is written.
fn query_of_every_size() {
    const LEN: usize = size_of::<rfutex_query>();
    let room = Room::new();
    let mut full = rfutex_query::default();
    assert_eq!(command::call(fx(), RFUTEX_QUERY, &mut full), Ok(0));
    for size in sizes(1, 2) {
        room.put(size, &[0xa5; MAX]);
        assert_eq!(room.call(RFUTEX_QUERY, size), Ok(0), "size {size}");
        assert_eq!(
            room.get(size, LEN),
            bytes_of(&full)[..size.min(LEN)],
            "size {size}"
        );
        let tail = size.saturating_sub(LEN);
        assert_eq!(
            room.0.read(Room::LEN - tail, tail),
            vec![0; tail],
            "size {size}"
        );
        room.clear(size, LEN);
    }
}

/// As above, with memory behind the struct that must stay as it is.
fn nothing_behind_the_output() {
    let map = Mapping::private(PAGE);
    let info = bytes_of(&info_at(map.addr())).to_vec();
    let query = vec![0; size_of::<rfutex_query>()];
    for (request, bytes) in [(RFUTEX_QUERY, query), (RFUTEX_KEY_INFO, info)] {
        for size in 0..bytes.len() {
            let mut buffer = bytes.clone();
            buffer[size..].fill(0xa5);
            buffer.resize(256, 0xa5);
            // SAFETY: The kernel writes to the buffer of bytes only.
            let result = unsafe {
                raw::ioctl(
                    fx().as_fd(),
                    raw::with_size(request, size),
                    buffer.as_mut_ptr().addr() as u64,
                )
            };
            let short = request == RFUTEX_KEY_INFO && size < enough(request);
            assert_eq!(
                errno(result),
                if short { EINVAL } else { 0 },
                "{request:#x}, size {size}"
            );
            assert!(
                buffer[size..].iter().all(|byte| *byte == 0xa5),
                "{request:#x}, size {size}"
            );
        }
    }
}

fn too_big_before_invalid() {
    let map = Mapping::private(PAGE);
    for (request, bytes) in structs(map.addr(), &entries(&map)) {
        for size in [3, 4] {
            let mut bytes = bytes.clone();
            bytes[std::mem::offset_of!(rfutex_word, size)] = size;
            let invalid = size == 3;
            bytes.push(1);
            let result = command::call_bytes(fx(), request, &mut bytes);
            assert_eq!(errno(result), E2BIG, "{request:#x}, invalid: {invalid}");
        }
    }
}
