// SPDX-License-Identifier: GPL-2.0

//! The structs of the user interface, which are checked here once and turned into requests.
//!
//! The code that uses a request can rely on it that words are aligned, and that there are no
//! unknown flags and no values out of range.

#![deny(unsafe_code)]

mod entries;
mod list;
mod multi;
mod table;
#[cfg(RFUTEX_KUNIT)]
mod tests;
mod wakev;
mod watch;

pub(crate) use self::multi::{
    Requeue,
    Swap,
    Waitv,
    WakeOp, //
};
pub(crate) use self::{
    list::List,
    table::TableCreate,
    wakev::Wakev,
    watch::{
        WatchAdd,
        WatchRemove,
        WatchesCreate, //
    }, //
};
use crate::{
    bindings::{
        self as uapi,
        rfutex_key_info,
        rfutex_owner_id,
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
    owner,
    time::{
        Clock,
        Deadline, //
    },
    word::{
        Location,
        Size,
        Word, //
    }, //
};
use core::num::NonZero;
use kernel::{
    prelude::*,
    static_assert,
    transmute::{
        AsBytes,
        FromBytes, //
    },
};

// These are the sums of the sizes of the fields, so that the structs have no implicit padding.
static_assert!(size_of::<rfutex_word>() == 16);
static_assert!(size_of::<rfutex_query>() == 56);
static_assert!(size_of::<rfutex_owner_id>() == 24);
static_assert!(size_of::<rfutex_wait>() == 64);
static_assert!(size_of::<rfutex_wake>() == 32);
static_assert!(size_of::<rfutex_key_info>() == 80);

/// A struct of the interface in the memory of the calling process.
#[derive(Clone, Copy)]
pub(crate) struct Argument {
    addr: usize,
    /// The size of the version of the struct that the process has, in bytes. It is a part of the
    /// command number.
    size: usize,
}

impl Argument {
    /// The struct at the address `addr`, of which the process has a version of `size` bytes.
    #[inline]
    pub(crate) fn new(addr: usize, size: usize) -> Self {
        Self { addr, size }
    }

    /// Copies the struct from user memory. It may be an older or a newer version than that of the
    /// module.
    ///
    /// # Errors
    ///
    /// As [`uaccess::copy_struct_from_user`].
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    #[inline]
    fn read<T: FromBytes>(self) -> Result<T> {
        if lab::fault(Point::CopyIn) {
            return Err(EFAULT);
        }
        uaccess::copy_struct_from_user(self.addr, self.size)
    }

    /// Copies the struct to user memory, as far as the process has room for it. If the version of
    /// the process is longer, its rest is set to zero.
    ///
    /// # Errors
    ///
    /// As [`uaccess::copy_struct_to_user`].
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    fn write<T: AsBytes + ?Sized>(self, value: &T) -> Result {
        if lab::fault(Point::CopyOut) {
            return Err(EFAULT);
        }
        uaccess::copy_struct_to_user(self.addr, self.size, value)
    }
}

/// Checks a word.
///
/// # Errors
///
/// `EINVAL`: a flag is unknown, two flags contradict each other, the size is not valid, or the
/// address or the offset is not a multiple of the size. `EFAULT`: it does not fit into a pointer.
#[inline]
fn check_word(raw: &rfutex_word) -> Result<Word> {
    let location = match raw.flags {
        0 => Location::Address,
        uapi::RFUTEX_WORD_PRIVATE => Location::PrivateAddress,
        uapi::RFUTEX_WORD_ARENA => Location::Arena,
        _ => return Err(EINVAL),
    };
    let size = Size::from_bytes(raw.size).ok_or(EINVAL)?;
    Word::new(raw.addr, size, location)
}

/// Checks that `value` fits into `word`, and returns it.
///
/// # Errors
///
/// `EINVAL`: it does not fit.
#[inline]
fn check_value(word: Word, value: u64) -> Result<u64> {
    // This shifts in two steps, because a shift by all 64 bits at once is not defined.
    if value >> (word.size().bits() - 1) >> 1 == 0 {
        Ok(value)
    } else {
        Err(EINVAL)
    }
}

/// Checks the deadline of a wait, in nanoseconds on `clock`. Returns `None` if the wait has none.
///
/// # Errors
///
/// `EINVAL`: the clock is unknown, or the time is negative; or there is a time without a clock.
#[inline]
fn check_deadline(clock: u32, ns: i64) -> Result<Option<Deadline>> {
    if clock == uapi::RFUTEX_CLOCK_NONE {
        return if ns == 0 { Ok(None) } else { Err(EINVAL) };
    }
    deadline(clock, ns).map(Some)
}

/// Checks the deadline of a wait that has one.
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

/// Checks what a wait says of an owner, whose kind is in `flags`. Returns `None` if it names none.
///
/// # Errors
///
/// `EINVAL`: a flag is unknown; there is a number or an id of nobody; or no thread can have the
/// number or the id.
#[inline]
fn check_owner(flags: u32, number: u32, id: u64) -> Result<Option<owner::Name>> {
    if flags == uapi::RFUTEX_OWNER_NONE {
        return if number == 0 && id == 0 {
            Ok(None)
        } else {
            Err(EINVAL)
        };
    }
    owner(flags, number, id).map(Some)
}

/// Checks what a wait says of an owner, if it names one.
#[cold]
fn owner(flags: u32, number: u32, id: u64) -> Result<owner::Name> {
    let number = i32::try_from(number).map_err(|_| EINVAL)?;
    if number == 0 || id >> 62 != 0 {
        return Err(EINVAL);
    }
    Ok(owner::Name {
        kind: match flags {
            uapi::RFUTEX_OWNER_THREAD => owner::Kind::Thread,
            uapi::RFUTEX_OWNER_PROCESS => owner::Kind::Process,
            _ => return Err(EINVAL),
        },
        number,
        id: NonZero::new(id),
    })
}

/// Checks that a mask has at least one bit set, and returns it.
#[inline]
fn check_mask(mask: u64) -> Result<u64> {
    if mask == 0 {
        Err(EINVAL)
    } else {
        Ok(mask)
    }
}

/// Checks that a field that has no meaning, or the flags that have none, are zero.
#[inline]
fn check_zero(unused: u32) -> Result {
    if unused != 0 {
        Err(EINVAL)
    } else {
        Ok(())
    }
}

/// The request of `RFUTEX_WAIT`.
#[derive(Clone, Copy)]
pub(crate) struct Wait {
    pub(crate) word: Word,
    pub(crate) val: u64,
    pub(crate) mask: u64,
    pub(crate) deadline: Option<Deadline>,
    /// Whose end is also the end of the wait.
    pub(crate) owner: Option<owner::Name>,
}

impl Wait {
    /// Reads and checks the request.
    ///
    /// # Errors
    ///
    /// `EINVAL`: a field has a value that is not valid. Others as
    /// [`uaccess::copy_struct_from_user`].
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    // This is used in two places, but has to be fast in one of them.
    #[inline(always)]
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        Self::new(&argument.read()?)
    }

    /// Checks the request.
    #[inline]
    fn new(raw: &rfutex_wait) -> Result<Self> {
        check_zero(raw.cond)?;
        let word = check_word(&raw.word)?;
        Ok(Self {
            word,
            val: check_value(word, raw.val)?,
            mask: check_mask(raw.mask)?,
            deadline: check_deadline(raw.clock, raw.deadline)?,
            owner: check_owner(raw.flags, raw.owner, raw.owner_id)?,
        })
    }
}

/// The request of `RFUTEX_WAKE`.
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

/// The request of `RFUTEX_KEY_INFO`.
pub(crate) struct KeyInfo {
    pub(crate) word: Word,
    raw: rfutex_word,
    argument: Argument,
}

impl KeyInfo {
    /// Reads and checks the request. The fields that are meant for the answer may have any value.
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

    /// Writes the answer, with the word as the process has given it.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the memory cannot be written to.
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

/// Writes the answer of a command whose struct is output only: `RFUTEX_QUERY`, `RFUTEX_OWNER_ID`.
///
/// # Errors
///
/// `EFAULT`: the memory cannot be written to.
///
/// # Context
///
/// As [`Wait::read`].
pub(crate) fn answer<T: AsBytes>(argument: Argument, results: &T) -> Result {
    argument.write(results)
}
