// SPDX-License-Identifier: GPL-2.0
//! `wait`, `wake`, `store` and `load`: what shell scripts meet with.

use std::io::Write;

use anyhow::{Result, anyhow, ensure};
use rfutex::{Deadline, Error, WaitOptions};

use crate::cli::{SizedWord, Store, Wait, Wake};
use crate::device::{self, failed};
use crate::place::Place;
use crate::word::{Access, FileWord, fits};

/// The exit status if the word has another value.
const ANOTHER_VALUE: u8 = 3;

/// The exit status if the time is over.
const TIMED_OUT: u8 = 4;

fn check(value: u64, size: u32) -> Result<()> {
    ensure!(
        fits(value, size),
        "the value {value:#x} does not fit into a word of {size} bytes"
    );
    Ok(())
}

/// What is said if a call on the word at `place` fails.
fn on_word(place: &Place, command: &str, error: Error) -> anyhow::Error {
    match error {
        Error::Fault => anyhow!("nobody can wait on {place}: its memory cannot be used"),
        error => failed(command, error),
    }
}

/// Waits until somebody wakes. Returns the exit status.
pub fn wait(options: &Wait) -> Result<u8> {
    let Wait {
        word: SizedWord { place, size },
        value,
        timeout,
        mask,
        private,
    } = options;
    check(*value, *size)?;
    ensure!(
        *mask != 0,
        "with the mask 0, no wake could reach the waiter"
    );
    // From when the user asked.
    let deadline = timeout.map(|after| Deadline::after(rfutex::Clock::Monotonic, after));
    let rfutex = device::open()?;
    let mapped = FileWord::map(place, *size, Access::Read)?;
    let word = if *private {
        mapped.word().private()
    } else {
        mapped.word()
    };
    let options = WaitOptions {
        mask: *mask,
        deadline,
        owner: None,
    };
    loop {
        match rfutex.wait_with(word, *value, options) {
            Ok(()) => return Ok(0),
            Err(Error::Again) => return Ok(ANOTHER_VALUE),
            Err(Error::TimedOut) => return Ok(TIMED_OUT),
            Err(Error::Interrupted) => (),
            Err(error) => return Err(on_word(place, "RFUTEX_WAIT", error)),
        }
    }
}

/// Wakes, and prints how many.
pub fn wake(options: &Wake, out: &mut impl Write) -> Result<u8> {
    let Wake { place, nr, mask } = options;
    ensure!(*mask != 0, "with the mask 0, nobody could be woken");
    let rfutex = device::open()?;
    // A wake finds waiters of words of any size there.
    let word = FileWord::map(place, 1, Access::Read)?;
    let woken = rfutex
        .wake(word.word(), *nr, *mask)
        .map_err(|e| on_word(place, "RFUTEX_WAKE", e))?;
    writeln!(out, "{woken}")?;
    Ok(0)
}

/// Changes a word. Prints how many were woken, if it is to wake.
pub fn store(options: &Store, out: &mut impl Write) -> Result<u8> {
    let Store {
        word: SizedWord { place, size },
        value,
        current,
        create,
        wake,
    } = options;
    check(*value, *size)?;
    check(current.unwrap_or(0), *size)?;
    // Nothing is changed if nobody can be woken.
    let rfutex = wake.map(|_| device::open()).transpose()?;
    let access = if *create {
        Access::Create
    } else {
        Access::Write
    };
    let word = FileWord::map(place, *size, access)?;
    if let Some(current) = *current {
        if word.store_if(current, *value) != current {
            return Ok(ANOTHER_VALUE);
        }
    } else {
        word.store(*value);
    }
    if let (Some(rfutex), Some(nr)) = (rfutex, *wake) {
        let woken = rfutex
            .wake(word.word(), nr, u64::MAX)
            .map_err(|e| on_word(place, "RFUTEX_WAKE", e))?;
        writeln!(out, "{woken}")?;
    }
    Ok(0)
}

/// Prints the value of a word.
pub fn load(SizedWord { place, size }: &SizedWord, out: &mut impl Write) -> Result<u8> {
    let word = FileWord::map(place, *size, Access::Read)?;
    writeln!(out, "{}", word.load())?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_at(place: &Place, value: u64, current: Option<u64>) -> Store {
        Store {
            word: SizedWord {
                place: place.clone(),
                size: 4,
            },
            value,
            current,
            create: true,
            wake: None,
        }
    }

    #[test]
    fn words_are_stored_and_loaded_without_the_device() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place {
            file: dir.path().join("word"),
            offset: 4,
        };
        let mut out = Vec::new();
        let mut stored = |value, current| store(&store_at(&place, value, current), &mut out);
        assert_eq!(stored(7, None).unwrap(), 0);
        assert_eq!(stored(8, Some(1)).unwrap(), ANOTHER_VALUE);
        assert_eq!(stored(9, Some(7)).unwrap(), 0);
        assert!(stored(1 << 32, None).is_err() && stored(1, Some(1 << 32)).is_err());
        assert!(out.is_empty());
        assert_eq!(load(&SizedWord { place, size: 4 }, &mut out).unwrap(), 0);
        assert_eq!(out, b"9\n");
    }
}
