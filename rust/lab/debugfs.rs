// SPDX-License-Identifier: GPL-2.0

//! The lab's files, `/sys/kernel/debug/rfutex/`:
//!
//! | file | write | read |
//! |---|---|---|
//! | `fault` | `POINT COUNT`: fail there the next COUNT times | a line a point: name, left, hits |
//! | `hold_folio_lock` | `ADDR MS`: lock the folio at ADDR (hexadecimal, of the writing process) for so many milliseconds; returns when it is unlocked | how many are held now |
//! | `splat` | the name of a splat, which then happens | |
//! | `stats` | | what the default table holds now |

use super::{
    faults::{
        self,
        FAULTS, //
    },
    splat,
};
use crate::{
    mm::gup::{
        Access,
        PageRef, //
    },
    table::Table,
};
use kernel::{
    debugfs::{
        Dir,
        File, //
    },
    fmt,
    prelude::*,
    str::{
        parse_int::ParseInt,
        BStr, //
    },
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    uaccess::UserSliceReader, //
};

/// Folio locks that are held for somebody now.
static HELD: Atomic<u32> = Atomic::new(0);

/// The longest that a folio lock can be asked to be held, in milliseconds.
const MAX_HOLD: u32 = 60_000;

/// The files. They go when this is dropped.
#[pin_data]
pub(crate) struct Lab {
    #[pin]
    fault: File<()>,
    #[pin]
    hold_folio_lock: File<()>,
    #[pin]
    splat: File<()>,
    #[pin]
    stats: File<Arc<Table>>,
    dir: Dir,
}

impl Lab {
    /// Makes the files.
    pub(crate) fn new(table: Arc<Table>) -> impl PinInit<Self, Error> {
        let dir = Dir::new(c"rfutex");
        try_pin_init!(Self {
            fault <- dir.read_write_callback_file(c"fault", (), &show_faults, &set_fault),
            hold_folio_lock <- dir.read_write_callback_file(
                c"hold_folio_lock", (), &show_held, &hold_folio_lock,
            ),
            splat <- dir.write_callback_file(c"splat", (), &make_splat),
            stats <- dir.read_callback_file(c"stats", table, &show_stats),
            dir,
        })
    }
}

/// What was written, as text: at most a line.
struct Line {
    bytes: [u8; 64],
    len: usize,
}

impl Line {
    fn read(reader: &mut UserSliceReader) -> Result<Self> {
        let mut bytes = [0; 64];
        let len = reader.len();
        reader.read_slice(bytes.get_mut(..len).ok_or(EINVAL)?)?;
        Ok(Self { bytes, len })
    }

    fn words(&self) -> Result<impl Iterator<Item = &str>> {
        let text = core::str::from_utf8(&self.bytes[..self.len]).map_err(|_| EINVAL)?;
        Ok(text.split_ascii_whitespace())
    }
}

/// The next word as a number; hexadecimal after `0x`.
fn number<'a, T: ParseInt>(words: &mut impl Iterator<Item = &'a str>) -> Result<T> {
    T::from_str(BStr::from_bytes(words.next().ok_or(EINVAL)?.as_bytes()))
}

fn show_faults(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    FAULTS
        .iter()
        .try_for_each(|fault| writeln!(f, "{} {} {}", fault.name, fault.left(), fault.hits()))
}

fn set_fault(_: &(), reader: &mut UserSliceReader) -> Result {
    let line = Line::read(reader)?;
    let mut words = line.words()?;
    let fault = faults::named(words.next().ok_or(EINVAL)?)?;
    fault.arm(number(&mut words)?);
    Ok(())
}

fn show_held(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{}", HELD.load(Relaxed))
}

fn hold_folio_lock(_: &(), reader: &mut UserSliceReader) -> Result {
    let line = Line::read(reader)?;
    let mut words = line.words()?;
    let addr = number(&mut words)?;
    let milliseconds = number::<u32>(&mut words)?;
    if milliseconds > MAX_HOLD {
        return Err(EINVAL);
    }
    PageRef::get(addr, Access::Read)?.hold_lock(milliseconds, &HELD)
}

fn make_splat(_: &(), reader: &mut UserSliceReader) -> Result {
    let line = Line::read(reader)?;
    let name = line.words()?.next().ok_or(EINVAL)?;
    splat::trigger(name)
}

fn show_stats(table: &Arc<Table>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // Two counters that are wrong must not make up for each other.
    let waiters: u32 = table.nr_waiters().map(i32::unsigned_abs).sum();
    writeln!(f, "buckets {}", table.nr_buckets())?;
    writeln!(f, "waiters {waiters}")
}
