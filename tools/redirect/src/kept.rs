// SPDX-License-Identifier: GPL-2.0
//! Code as bytes, for whoever keeps it: to make it means to decode all of a library, and the code
//! for the same library is always the same.
//!
//! All numbers have eight bytes, and what has another length is filled up to a multiple of that.

use crate::code::{Code, FIRST, Jump, Target};
use crate::fixup::{Fixup, Kind};
use crate::plan::Summary;
use crate::unwind;

/// The size of a number.
const WORD: usize = size_of::<u64>();

impl Code {
    /// The code as bytes, with what there is to say about it.
    pub fn to_bytes(&self, summary: &Summary) -> Vec<u8> {
        let mut all = Writer::default();
        all.words(&summary.words());
        let counts = [
            self.bytes.len(),
            self.tables,
            self.fixups.len(),
            self.jumps.len(),
        ];
        all.words(&counts.map(|count| count as u64));
        all.bytes(&self.bytes);
        for fixup in &self.fixups {
            all.words(&[fixup.at.into(), fixup.kind.number(), fixup.to]);
        }
        for jump in &self.jumps {
            let (kind, to) = match jump.target {
                Target::Trampoline(at) => (0, at.into()),
                Target::Near(to) => (1, to),
            };
            all.words(&[jump.address, jump.was.len() as u64, kind, to]);
            all.bytes(&jump.was);
        }
        all.0
    }

    /// The code that has become these bytes; `None` if there is none that has.
    pub fn from_bytes(bytes: &[u8]) -> Option<(Self, Summary)> {
        let mut all = Reader(bytes);
        let summary = Summary::of(all.words()?);
        let [length, tables, fixups, jumps] = all.words()?;
        let [length, tables] = [length, tables].map(|number| usize::try_from(number).ok());
        let mut code = Self {
            bytes: all.bytes(length?)?.to_vec(),
            tables: tables?,
            ..Self::default()
        };
        // No more than there can be.
        let most = all.0.len() / WORD;
        code.fixups.reserve(most.min(fixups as usize));
        code.jumps.reserve(most.min(jumps as usize));
        for _ in 0..fixups {
            let [at, kind, to] = all.words()?;
            code.fixups.push(Fixup {
                at: at.try_into().ok()?,
                kind: Kind::of(kind)?,
                to,
            });
        }
        for _ in 0..jumps {
            let [address, length, kind, to] = all.words()?;
            let target = match kind {
                0 => Target::Trampoline(to.try_into().ok()?),
                1 => Target::Near(to),
                _ => return None,
            };
            code.jumps.push(Jump {
                address,
                was: all.bytes(length.try_into().ok()?)?.to_vec(),
                target,
            });
        }
        (all.0.is_empty() && code.is_whole()).then_some((code, summary))
    }

    /// Whether all is where it may be: what depends on addresses is behind the slots, each jump
    /// goes to a trampoline or to another jump and has room that no other one has, and the unwind
    /// tables have an end.
    fn is_whole(&self) -> bool {
        let tables = self.bytes.get(self.tables..);
        let fixups = self
            .fixups
            .iter()
            .all(|fixup| fixup.at as usize >= FIRST && fixup.is_within(self.bytes.len()));
        let jumps = self.jumps.iter().all(|jump| {
            let target = match jump.target {
                Target::Trampoline(at) => (FIRST..self.tables).contains(&(at as usize)),
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

impl Kind {
    fn number(self) -> u64 {
        match self {
            Self::Relative => 0,
            Self::Absolute => 1,
        }
    }

    fn of(number: u64) -> Option<Self> {
        [Self::Relative, Self::Absolute]
            .into_iter()
            .find(|kind| kind.number() == number)
    }
}

impl Summary {
    fn words(&self) -> [u64; 5] {
        [
            self.sites,
            self.redirected,
            self.unknown,
            self.outside,
            self.first_outside,
        ]
    }

    fn of([sites, redirected, unknown, outside, first_outside]: [u64; 5]) -> Self {
        Self {
            sites,
            redirected,
            unknown,
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

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(WORD), 0);
    }
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn words<const N: usize>(&mut self) -> Option<[u64; N]> {
        let mut words = [0; N];
        for word in &mut words {
            let (bytes, rest) = self.0.split_first_chunk()?;
            *word = u64::from_le_bytes(*bytes);
            self.0 = rest;
        }
        Some(words)
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let whole = length.checked_next_multiple_of(WORD)?;
        let (bytes, rest) = self.0.split_at_checked(whole)?;
        self.0 = rest;
        Some(&bytes[..length])
    }
}
