// SPDX-License-Identifier: GPL-2.0

//! Raw structs of the interface, checked once and turned into requests.
//!
//! Past this file nothing is unaligned, unknown or out of range.

#![deny(unsafe_code)]

mod multi;
#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
mod tests;

pub(crate) use self::multi::{
    Requeue,
    Swap,
    Waitv,
    WakeOp, //
};
use crate::{
    bindings::{
        self as uapi,
        rfutex_key_info,
        rfutex_query,
        rfutex_wait,
        rfutex_wake,
        rfutex_word, //
    },
    lab::{
        self,
        Point, //
    },
    mm::uaccess,
    time::{
        Clock,
        Deadline, //
    },
    word::{
        Size,
        Word, //
    }, //
};
use kernel::{
    prelude::*,
    static_assert,
    transmute::{
        AsBytes,
        FromBytes, //
    },
};

// The sizes of the structs, without any implicit padding.
static_assert!(size_of::<rfutex_word>() == 16);
static_assert!(size_of::<rfutex_query>() == 32);
static_assert!(size_of::<rfutex_wait>() == 48);
static_assert!(size_of::<rfutex_wake>() == 32);
static_assert!(size_of::<rfutex_key_info>() == 80);

/// A struct of the interface in the caller's memory.
#[derive(Clone, Copy)]
pub(crate) struct Argument {
    addr: usize,
    /// The size that the caller knows, in bytes, as the command number carries it.
    size: usize,
}

impl Argument {
    /// The argument `addr` of a command that carries `size`.
    #[inline]
    pub(crate) fn new(addr: usize, size: usize) -> Self {
        Self { addr, size }
    }

    /// Copies the struct in, older and newer versions of it too.
    ///
    /// # Errors
    ///
    /// As [`uaccess::copy_struct_from_user`].
    #[inline]
    fn read<T: FromBytes>(self) -> Result<T> {
        if lab::fault(Point::CopyIn) {
            return Err(EFAULT);
        }
        uaccess::copy_struct_from_user(self.addr, self.size)
    }

    /// Copies the struct out, as much of it as the caller knows; zeroes what only the caller knows.
    ///
    /// # Errors
    ///
    /// As [`uaccess::copy_struct_to_user`].
    fn write<T: AsBytes>(self, value: &T) -> Result {
        if lab::fault(Point::CopyOut) {
            return Err(EFAULT);
        }
        uaccess::copy_struct_to_user(self.addr, self.size, value)
    }
}

/// Checks a word.
#[inline]
fn check_word(raw: &rfutex_word) -> Result<Word> {
    if raw.flags & !uapi::RFUTEX_WORD_PRIVATE != 0 {
        return Err(EINVAL);
    }
    let size = Size::from_bytes(raw.size).ok_or(EINVAL)?;
    // What is wrong with the address as a number comes before what cannot be an address here.
    if raw.addr & (u64::from(raw.size) - 1) != 0 {
        return Err(EINVAL);
    }
    let addr = raw.addr.try_into().map_err(|_| EFAULT)?;
    Word::new(addr, size, raw.flags != 0)
}

/// Whether a value fits in a word.
#[inline]
fn check_value(word: Word, value: u64) -> Result<u64> {
    // In two steps: all 64 bits at once cannot be shifted out.
    if value >> (word.size().bits() - 1) >> 1 == 0 {
        Ok(value)
    } else {
        Err(EINVAL)
    }
}

/// The deadline of a wait; `None` for none.
#[inline]
fn check_deadline(clock: u32, ns: i64) -> Result<Option<Deadline>> {
    if clock == uapi::RFUTEX_CLOCK_NONE {
        return if ns == 0 { Ok(None) } else { Err(EINVAL) };
    }
    deadline(clock, ns).map(Some)
}

/// The deadline of a wait that has one.
fn deadline(clock: u32, ns: i64) -> Result<Deadline> {
    let clock = match clock {
        uapi::RFUTEX_CLOCK_MONOTONIC => Clock::Monotonic,
        uapi::RFUTEX_CLOCK_REALTIME => Clock::Realtime,
        uapi::RFUTEX_CLOCK_BOOTTIME => Clock::Boottime,
        _ => return Err(EINVAL),
    };
    if ns < 0 {
        return Err(EINVAL);
    }
    Ok(Deadline::new(clock, ns))
}

#[inline]
fn check_mask(mask: u64) -> Result<u64> {
    if mask == 0 {
        Err(EINVAL)
    } else {
        Ok(mask)
    }
}

#[inline]
fn check_zero(padding: u32) -> Result {
    if padding != 0 {
        Err(EINVAL)
    } else {
        Ok(())
    }
}

/// `RFUTEX_WAIT`
#[derive(Clone, Copy)]
pub(crate) struct Wait {
    pub(crate) word: Word,
    pub(crate) val: u64,
    pub(crate) mask: u64,
    pub(crate) deadline: Option<Deadline>,
}

impl Wait {
    /// Reads and checks the request.
    ///
    /// # Errors
    ///
    /// `EINVAL`: a field has a value that means nothing. Others as
    /// [`uaccess::copy_struct_from_user`].
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    #[inline]
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        Self::new(&argument.read()?)
    }

    #[inline]
    fn new(raw: &rfutex_wait) -> Result<Self> {
        check_zero(raw.pad)?;
        let word = check_word(&raw.word)?;
        Ok(Self {
            word,
            val: check_value(word, raw.val)?,
            mask: check_mask(raw.mask)?,
            deadline: check_deadline(raw.clock, raw.deadline)?,
        })
    }
}

/// `RFUTEX_WAKE`
pub(crate) struct Wake {
    pub(crate) word: Word,
    pub(crate) mask: u64,
    pub(crate) nr: u32,
}

impl Wake {
    /// Reads and checks the request.
    ///
    /// # Errors
    ///
    /// As [`Wait::read`].
    ///
    /// # Context
    ///
    /// As [`Wait::read`].
    #[inline]
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        let raw: rfutex_wake = argument.read()?;
        check_zero(raw.pad)?;
        Ok(Self {
            word: check_word(&raw.word)?,
            mask: check_mask(raw.mask)?,
            nr: raw.nr,
        })
    }
}

/// `RFUTEX_KEY_INFO`
pub(crate) struct KeyInfo {
    pub(crate) word: Word,
    raw: rfutex_word,
    argument: Argument,
}

impl KeyInfo {
    /// Reads and checks the request. What is there for results is not looked at.
    ///
    /// # Errors
    ///
    /// As [`Wait::read`].
    ///
    /// # Context
    ///
    /// As [`Wait::read`].
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        let raw: rfutex_key_info = argument.read()?;
        Ok(Self {
            word: check_word(&raw.word)?,
            raw: raw.word,
            argument,
        })
    }

    /// Writes the results back beside the word.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the memory is not writable.
    ///
    /// # Context
    ///
    /// As [`Wait::read`].
    pub(crate) fn answer(self, results: rfutex_key_info) -> Result {
        self.argument.write(&rfutex_key_info {
            word: self.raw,
            ..results
        })
    }
}

/// Writes the answer of `RFUTEX_QUERY`.
///
/// # Errors
///
/// `EFAULT`: the memory is not writable.
///
/// # Context
///
/// As [`Wait::read`].
pub(crate) fn answer_query(argument: Argument, results: &rfutex_query) -> Result {
    argument.write(results)
}
