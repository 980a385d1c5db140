// SPDX-License-Identifier: GPL-2.0
//! Calls of which nothing is right, or almost all.

use super::*;
use crate::harness::{Handler, Mapping, PAGE, Ticker};
use fastrand::Rng;
use libc::{
    E2BIG, EAGAIN, EDEADLK, EFAULT, EINTR, EINVAL, ENOTTY, EOPNOTSUPP, EOWNERDEAD, ETIMEDOUT,
};
use nix::sys::mman::{MapFlags, ProtFlags};
use nix::sys::signal::{SaFlags, Signal};
use std::time::Duration;

trials![documented_errors_only];

const CALLS: u32 = 5000;

/// Memory of some kinds, and addresses of some more. Behind each mapping is
/// more room than the largest struct, which cannot be accessed.
#[derive(Debug)]
pub struct Places {
    /// The mappings: private and shared ones that can be written to, the same read-only, and one
    /// that cannot be accessed.
    pub maps: Vec<Mapping>,
}

impl Places {
    /// Pages of a mapping that can be accessed.
    const LEN: usize = 2 * PAGE;

    /// Pages of a mapping.
    const ALL: usize = Self::LEN + 5 * PAGE;

    fn new() -> Self {
        Self::made(|_, flags| Mapping::anonymous(Self::ALL, ProtFlags::PROT_NONE, flags))
    }

    /// The same from this address on, where nothing is.
    pub fn at(addr: u64) -> Self {
        Self::made(|number, flags| {
            // With room between them.
            let addr = addr + 2 * number * Self::ALL as u64;
            let map = Mapping::at(addr, Self::ALL, flags).expect("nothing is there");
            map.protect(ProtFlags::PROT_NONE);
            map
        })
    }

    fn made(map: impl Fn(u64, MapFlags) -> Mapping) -> Self {
        let kinds = [
            (
                MapFlags::MAP_PRIVATE,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            ),
            (
                MapFlags::MAP_SHARED,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            ),
            (MapFlags::MAP_PRIVATE, ProtFlags::PROT_READ),
            (MapFlags::MAP_SHARED, ProtFlags::PROT_READ),
            (MapFlags::MAP_PRIVATE, ProtFlags::PROT_NONE),
        ];
        let place = |(number, (flags, prot))| {
            let map = map(number, flags);
            map.protect_part(0, Self::LEN, prot);
            map
        };
        Self {
            maps: (0..).zip(kinds).map(place).collect(),
        }
    }

    /// An address where nothing of Rust's own lies.
    pub fn addr(&self, rng: &mut Rng) -> u64 {
        let map = &self.maps[rng.usize(..self.maps.len())];
        let offset = match rng.u8(..4) {
            0 => 0,
            1 => rng.usize(..Self::LEN) & !7,
            2 => rng.usize(..Self::LEN),
            _ => Self::LEN - rng.usize(..32),
        };
        match rng.u8(..12) {
            0 => rng.u64(..PAGE as u64),
            1 => rng.u64(1 << 57..),
            2 => Mapping::end_of_user_space().wrapping_sub(rng.u64(..16)) & !7,
            _ => map.addr() + offset as u64,
        }
    }

    fn word(&self, rng: &mut Rng) -> rfutex_word {
        rfutex_word {
            addr: self.addr(rng),
            size: if rng.u8(..8) == 0 {
                rng.u32(..) >> rng.u32(..32)
            } else {
                1 << rng.u32(..4)
            },
            flags: if rng.u8(..8) == 0 {
                rng.u32(..) >> rng.u32(..32)
            } else {
                rng.u32(..2)
            },
        }
    }
}

/// A number that is often small, and often not.
pub fn number(rng: &mut Rng) -> u64 {
    match rng.u8(..4) {
        0 => 0,
        1 => 1,
        2 => rng.u64(..) >> rng.u32(..64),
        _ => u64::MAX,
    }
}

/// A wait with entries somewhere or, more often, some that were made for it.
fn waitv(places: &Places, rng: &mut Rng) -> rfutex_waitv {
    let made = rng.u8(..4) != 0;
    let nr = rng.u32(..RFUTEX_WAITV_MAX + 2) >> rng.u32(..8);
    let array = &places.maps[1];
    for at in 0..nr.min(RFUTEX_WAITV_MAX) as usize {
        let entry = rfutex_waitv_entry {
            word: places.word(rng),
            val: number(rng),
            mask: number(rng) | 1,
            flags: u32::from(rng.u8(..64) == 0),
            cond: u32::from(rng.u8(..64) == 0),
            owner: u32::from(rng.u8(..64) == 0),
            owner_id: u64::from(rng.u8(..64) == 0),
            pad: u32::from(rng.u8(..64) == 0),
        };
        array.write(at * size_of_val(&entry), bytes_of(&entry));
    }
    rfutex_waitv {
        entries: if made { array.addr() } else { places.addr(rng) },
        nr,
        entry_size: [56, 56, 40, 64, number(rng) as u32][rng.usize(..5)],
        deadline: number(rng) as i64,
        clock: rng.u32(..5),
        flags: u32::from(rng.u8(..16) == 0),
    }
}

fn wait(places: &Places, rng: &mut Rng) -> rfutex_wait {
    rfutex_wait {
        word: places.word(rng),
        val: number(rng),
        mask: number(rng),
        deadline: number(rng) as i64,
        clock: rng.u32(..5),
        flags: [0, 0, 1, 2, 3][rng.usize(..5)],
        cond: u32::from(rng.u8(..16) == 0),
        owner: [0, 0, 0, 1, std::process::id(), number(rng) as u32][rng.usize(..6)],
        owner_id: [0, 0, 0, number(rng)][rng.usize(..4)],
    }
}

/// The struct of the command with the number `nr`.
pub fn bytes(places: &Places, rng: &mut Rng, nr: u32) -> Vec<u8> {
    let word = places.word(rng);
    match nr {
        2 => bytes_of(&rfutex_wake {
            word,
            mask: number(rng),
            nr: number(rng) as u32,
            pad: u32::from(rng.u8(..16) == 0),
        })
        .to_vec(),
        3 => bytes_of(&rfutex_key_info {
            word,
            ..Default::default()
        })
        .to_vec(),
        4 => bytes_of(&rfutex_requeue {
            from: word,
            to: places.word(rng),
            val: number(rng),
            nr_wake: number(rng) as u32,
            nr_move: number(rng) as u32,
            flags: rng.u32(..3),
            pad: u32::from(rng.u8(..16) == 0),
        })
        .to_vec(),
        5 => bytes_of(&rfutex_wake_op {
            word,
            target: places.word(rng),
            operand: number(rng),
            comparand: number(rng),
            nr: number(rng) as u32,
            nr_target: number(rng) as u32,
            op: rng.u32(..6),
            cmp: rng.u32(..7),
        })
        .to_vec(),
        0x27 => bytes_of(&rfutex_list {
            flags: rng.u32(..3),
            entry_size: [136, 136, 144, 4096, number(rng) as u32][rng.usize(..5)],
        })
        .to_vec(),
        0x20 => bytes_of(&wait(places, rng)).to_vec(),
        0x22 => bytes_of(&waitv(places, rng)).to_vec(),
        _ => bytes_of(&wait(places, rng).swap(word)).to_vec(),
    }
}

/// Whether [`documented`] knows the command, and not the others alone.
pub fn is_listed(request: u32) -> bool {
    matches!(request & 0xff, 2..=5 | 0x10..=0x16 | 0x20..=0x24 | 0x27 | 0x30)
}

/// What a call may give.
pub fn documented(request: u32) -> &'static [i32] {
    match request & 0xff {
        0x20..=0x22 => &[
            EAGAIN, ETIMEDOUT, EINTR, EINVAL, EFAULT, E2BIG, EDEADLK, EOWNERDEAD, ENOTTY,
        ],
        // The locked resolver is in lab builds alone.
        0x24 => &[0, EINVAL, EFAULT, E2BIG, EOPNOTSUPP, ENOTTY],
        4 => &[0, EAGAIN, EINVAL, EFAULT, E2BIG, ENOTTY],
        2 | 3 | 5 | 0x23 | 0x27 | 0x30 => &[0, EINVAL, EFAULT, E2BIG, ENOTTY],
        // The device has no arena.
        0x15 | 0x16 => &[EINVAL, ENOTTY],
        0x14 => &[0, EINVAL, EOPNOTSUPP, ENOTTY],
        _ => &[0, EFAULT, ENOTTY],
    }
}

/// Waits that would last are interrupted, now and then.
fn documented_errors_only() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed:#x}");
    let mut rng = Rng::with_seed(seed);
    let places = Places::new();
    let _handler = Handler::counting(Signal::SIGALRM, SaFlags::empty());
    let _ticker = Ticker::start(Duration::from_millis(5));
    for turn in 0..CALLS {
        let command = [
            0, 2, 2, 3, 3, 4, 4, 5, 5, 0x20, 0x20, 0x20, 0x21, 0x21, 0x22, 0x22, 0x10, 0x11, 0x12,
            0x13, 0x14, 0x27,
        ][rng.usize(..22)];
        let known = [RFUTEX_QUERY, RFUTEX_WAITV, RFUTEX_LIST, RFUTEX_SET_RESOLVER]
            .into_iter()
            .chain(WORD_COMMANDS)
            .chain(ADDR_COMMANDS);
        let mut request = known
            .into_iter()
            .find(|known| known & 0xff == command)
            .expect("listed");
        let bytes = bytes(&places, &mut rng, command);
        let mut arg = places.addr(&mut rng);
        if rng.u8(..8) != 0 && raw::size(request) > 0 {
            arg = places.maps[0].addr() + rng.u64(..PAGE as u64);
            places.maps[0].write((arg - places.maps[0].addr()) as usize, &bytes);
        }
        if request == RFUTEX_SET_RESOLVER {
            arg = rng.u64(..5);
        }
        match rng.u8(..16) {
            0 => request = raw::with_size(request, rng.usize(..=16383)),
            1 => request = raw::with_size(request, rng.usize(..128)),
            2 => request ^= 1 << rng.u32(..32),
            _ => {}
        }
        // SAFETY: `arg` is in memory that holds atomics only, or where there
        // is none.
        let result = unsafe { raw::ioctl(fx().as_fd(), request, arg) };
        if let (Ok(fd), 0x24 | 0x27 | 0x30) = (result, request & 0xff) {
            // A table, a listing or a watch set was opened.
            nix::unistd::close(fd as i32).expect("it is open");
        }
        let result = errno(result);
        assert!(
            documented(request).contains(&result),
            "errno {result} of {request:#x} at {arg:#x}, seed {seed:#x}, turn {turn}: {bytes:x?}"
        );
    }
}
