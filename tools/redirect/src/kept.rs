// SPDX-License-Identifier: GPL-2.0
//! Code as bytes, for whoever keeps it: to make it means to decode all of a library, and the code
//! for the same library is always the same.
//!
//! The less there is to read, the sooner a program starts. So numbers have four bytes, and addresses
//! count from the lowest one. What has another length is filled up to a multiple of that, and the
//! whole to a multiple of eight.

use crate::code::{Code, FIRST, Jump, Target};
use crate::fixup::{Fixup, Kind};
use crate::plan::Summary;
use crate::unwind;

/// The multiple that all has.
const WHOLE: usize = size_of::<u64>();

/// The bit beside a number that says which of two kinds something is.
const KIND: u32 = 1 << 31;

/// The bit that says that something is of a third kind.
const THIRD: u32 = 1 << 30;

impl Code {
    /// The code as bytes, with what there is to say about it. `None` if the library is so large
    /// that its addresses are too far from each other.
    pub fn to_bytes(&self, summary: &Summary) -> Option<Vec<u8>> {
        let mut all = Writer::default();
        all.words(&summary.words());
        let jumps = self.jumps.iter().map(|jump| jump.address);
        let fixups = self.fixups.iter().map(|fixup| fixup.to);
        let lowest = jumps.chain(fixups).min().unwrap_or(0);
        let from_lowest = |address: u64| u32::try_from(address.checked_sub(lowest)?).ok();
        all.words(&[lowest]);
        let counts = [
            self.bytes.len(),
            self.tables,
            self.fixups.len(),
            self.jumps.len(),
        ];
        all.numbers(&counts.map(|count| count as u32));
        all.bytes(&self.bytes);
        for fixup in &self.fixups {
            let kind = match fixup.kind {
                Kind::Relative => 0,
                Kind::Absolute => KIND,
            };
            all.numbers(&[fixup.at | kind, from_lowest(fixup.to)?]);
        }
        for jump in &self.jumps {
            let (kind, to) = match jump.target {
                Target::Trampoline(at) => (0, at),
                Target::Near(to) => (KIND, from_lowest(to)?),
                Target::Replaced(at) => (THIRD, at),
            };
            let length = jump.was.len() as u32;
            all.numbers(&[from_lowest(jump.address)?, length | kind, to]);
            all.bytes(&jump.was);
        }
        all.0.resize(all.0.len().next_multiple_of(WHOLE), 0);
        Some(all.0)
    }

    /// The code that has become these bytes; `None` if there is none that has.
    pub fn from_bytes(bytes: &[u8]) -> Option<(Self, Summary)> {
        bytes.len().is_multiple_of(WHOLE).then_some(())?;
        let mut all = Reader(bytes);
        let summary = Summary::of(all.words()?);
        let [lowest] = all.words()?;
        let address = |number: u32| lowest.wrapping_add(number.into());
        let [length, tables, fixups, jumps] = all.numbers()?.map(|number| number as usize);
        let mut code = Self {
            bytes: all.bytes(length)?.to_vec(),
            tables,
            ..Self::default()
        };
        // No more than there can be.
        code.fixups.reserve(fixups.min(all.0.len()));
        code.jumps.reserve(jumps.min(all.0.len()));
        for _ in 0..fixups {
            let [at, to] = all.numbers()?;
            code.fixups.push(Fixup {
                at: at & !KIND,
                kind: match at & KIND {
                    0 => Kind::Relative,
                    _ => Kind::Absolute,
                },
                to: address(to),
            });
        }
        for _ in 0..jumps {
            let [start, length, to] = all.numbers()?;
            code.jumps.push(Jump {
                address: address(start),
                was: all.bytes((length & !(KIND | THIRD)) as usize)?.to_vec(),
                target: match length & (KIND | THIRD) {
                    0 => Target::Trampoline(to),
                    THIRD => Target::Replaced(to),
                    _ => Target::Near(address(to)),
                },
            });
        }
        let filled = all.0.len() < WHOLE && all.0.iter().all(|&byte| byte == 0);
        (filled && code.is_whole()).then_some((code, summary))
    }

    /// Whether all is where it may be: what depends on addresses is behind the slots, each jump
    /// goes to a trampoline or to another jump, and has room that no other one has, and the unwind
    /// tables have an end.
    fn is_whole(&self) -> bool {
        let tables = self.bytes.get(self.tables..);
        let fixups = self
            .fixups
            .iter()
            .all(|fixup| fixup.at as usize >= FIRST && fixup.is_within(self.bytes.len()));
        let jumps = self.jumps.iter().all(|jump| {
            let trampoline = |at: u32| (FIRST..self.tables).contains(&(at as usize));
            let target = match jump.target {
                Target::Trampoline(at) => trampoline(at),
                Target::Replaced(at) => trampoline(at) && jump.is_replaced(),
                Target::Near(to) => self.jumps.iter().any(|other| other.address == to),
            };
            target && jump.was.len() as u64 >= jump.length()
        });
        let apart = self.jumps.windows(2).all(|pair| {
            let length = pair[1].address.checked_sub(pair[0].address);
            length.is_some_and(|length| length >= pair[0].was.len() as u64)
        });
        tables.is_some_and(unwind::is_list) && fixups && jumps && apart
    }
}

impl Summary {
    fn words(&self) -> [u64; 6] {
        [
            self.sites,
            self.redirected,
            self.unknown,
            self.cancellable,
            self.outside,
            self.first_outside,
        ]
    }

    fn of(words: [u64; 6]) -> Self {
        let [
            sites,
            redirected,
            unknown,
            cancellable,
            outside,
            first_outside,
        ] = words;
        Self {
            sites,
            redirected,
            unknown,
            cancellable,
            outside,
            first_outside,
        }
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn words(&mut self, words: &[u64]) {
        self.0
            .extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }

    fn numbers(&mut self, numbers: &[u32]) {
        self.0
            .extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(NUMBER), 0);
    }
}

/// The size of a number.
const NUMBER: usize = size_of::<u32>();

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next chunks, all of the same size.
    fn chunks<const SIZE: usize, const N: usize>(&mut self) -> Option<[[u8; SIZE]; N]> {
        let mut chunks = [[0; SIZE]; N];
        for chunk in &mut chunks {
            let (bytes, rest) = self.0.split_first_chunk()?;
            *chunk = *bytes;
            self.0 = rest;
        }
        Some(chunks)
    }

    fn words<const N: usize>(&mut self) -> Option<[u64; N]> {
        Some(self.chunks()?.map(u64::from_le_bytes))
    }

    fn numbers<const N: usize>(&mut self) -> Option<[u32; N]> {
        Some(self.chunks()?.map(u32::from_le_bytes))
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let whole = length.checked_next_multiple_of(NUMBER)?;
        let (bytes, rest) = self.0.split_at_checked(whole)?;
        self.0 = rest;
        Some(&bytes[..length])
    }
}
