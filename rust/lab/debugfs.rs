// SPDX-License-Identifier: GPL-2.0

//! The files of the lab, in `/sys/kernel/debug/rfutex/`:
//!
//! | file | write | read |
//! |---|---|---|
//! | `fault` | `POINT COUNT`: make the point fail the next COUNT times | a line per point |
//! | `hold_folio_lock` | `ADDR MS`: lock a folio for MS milliseconds | how many are locked |
//! | `splat` | `NAME`: provoke the splat of that name | |
//! | `stats` | | the number of buckets of the default table, and of the waiters in it |
//!
//! The line for a point has its name, how many more times it is going to fail, and how many times
//! it has failed. A point at which tasks can be made to stay keeps them as long as COUNT is not 0,
//! but for ten seconds at most, and its line has how many it has kept. For `hold_folio_lock`, ADDR is
//! the hexadecimal address (`0x...`) of a page in the process that writes. The write returns when the
//! folio of that page is unlocked again.

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

/// The number of folio locks that are held at the moment because of `hold_folio_lock`.
static HELD: Atomic<u32> = Atomic::new(0);

/// The longest time for which a folio lock can be held, in milliseconds.
const MAX_HOLD: u32 = 60_000;

/// The files. They are removed when this is dropped.
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

/// The text that was written to a file, which is at most one short line.
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

/// The next of the `words` as a number, which is hexadecimal if it begins with `0x`.
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
    // The absolute values are added, so that two counters that are wrong cannot compensate each
    // other.
    let waiters: u32 = table.nr_waiters().map(i32::unsigned_abs).sum();
    writeln!(f, "buckets {}", table.nr_buckets())?;
    writeln!(f, "waiters {waiters}")
}
