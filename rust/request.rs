// SPDX-License-Identifier: GPL-2.0

//! Raw structs of the interface, checked once and turned into requests.
//!
//! Past this file nothing is unaligned, unknown or out of range.

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
};
use kernel::{
    prelude::*,
    static_assert,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

// The sizes of the first version, without any implicit padding.
static_assert!(size_of::<rfutex_word>() == 16);
static_assert!(size_of::<rfutex_query>() == 24);
static_assert!(size_of::<rfutex_wait>() == 48);
static_assert!(size_of::<rfutex_wake>() == 32);
static_assert!(size_of::<rfutex_key_info>() == 72);

/// As long as the longest struct of the interface, in bytes.
const LONGEST: usize = size_of::<rfutex_key_info>();

/// A struct of the interface in the caller's memory.
#[derive(Clone, Copy)]
pub(crate) struct Argument {
    ptr: UserPtr,
    /// The size that the caller knows, in bytes, as the command number carries it.
    size: usize,
}

impl Argument {
    /// The argument `arg` of a command that carries `size`.
    #[inline]
    pub(crate) fn new(arg: usize, size: usize) -> Self {
        Self {
            ptr: UserPtr::from_addr(arg),
            size,
        }
    }

    /// Copies the struct in, older and newer versions of it too.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the memory is not readable. `E2BIG`: the caller's struct is longer than ours, and
    /// something is set in the part that we do not know.
    #[inline]
    fn read<T: FromBytes>(self) -> Result<T> {
        if lab::fault(Point::CopyIn) {
            return Err(EFAULT);
        }
        if self.size == size_of::<T>() {
            return UserSlice::new(self.ptr, self.size).reader().read();
        }
        self.read_resized()
    }

    #[cold]
    fn read_resized<T: FromBytes>(self) -> Result<T> {
        let mut bytes = [0; LONGEST];
        let known = self.size.min(size_of::<T>());
        UserSlice::new(self.ptr, known)
            .reader()
            .read_slice(&mut bytes[..known])?;
        uaccess::check_zeroed(self.ptr.wrapping_byte_add(known), self.size - known)?;
        T::from_bytes_copy(&bytes[..size_of::<T>()]).ok_or(EINVAL)
    }

    /// Copies the struct out, as much of it as the caller knows; zeroes what only the caller knows.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the memory is not writable; part of it may have been written.
    fn write<T: AsBytes>(self, value: &T) -> Result {
        if lab::fault(Point::CopyOut) {
            return Err(EFAULT);
        }
        let known = self.size.min(size_of::<T>());
        let mut writer = UserSlice::new(self.ptr, self.size).writer();
        writer.write_slice(&value.as_bytes()[..known])?;
        const ZEROES: [u8; 64] = [0; 64];
        while !writer.is_empty() {
            writer.write_slice(&ZEROES[..writer.len().min(ZEROES.len())])?;
        }
        Ok(())
    }
}

/// The size of a word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    U8 = 1,
    U16 = 2,
    U32 = 4,
    U64 = 8,
}

impl Size {
    /// All of them, or-ed, for [`rfutex_query`].
    pub(crate) const ALL: u32 =
        Size::U8 as u32 | Size::U16 as u32 | Size::U32 as u32 | Size::U64 as u32;

    /// In bytes.
    #[inline]
    pub(crate) fn bytes(self) -> usize {
        self as usize
    }
}

/// Where a word is.
///
/// # Invariants
///
/// `addr` is a multiple of the size. It may still be any address, the kernel's included.
#[derive(Clone, Copy)]
pub(crate) struct Word {
    addr: usize,
    size: Size,
    private: bool,
}

impl Word {
    #[inline]
    fn new(raw: &rfutex_word) -> Result<Self> {
        if raw.flags & !uapi::RFUTEX_WORD_PRIVATE != 0 {
            return Err(EINVAL);
        }
        let size = match raw.size {
            1 => Size::U8,
            2 => Size::U16,
            4 => Size::U32,
            8 => Size::U64,
            _ => return Err(EINVAL),
        };
        if raw.addr & (size.bytes() as u64 - 1) != 0 {
            return Err(EINVAL);
        }
        // INVARIANT: Just checked.
        Ok(Self {
            addr: raw.addr.try_into().map_err(|_| EFAULT)?,
            size,
            private: raw.flags & uapi::RFUTEX_WORD_PRIVATE != 0,
        })
    }

    /// A word of any size at `addr`.
    #[inline]
    pub(crate) fn at(addr: usize, private: bool) -> Self {
        // INVARIANT: Every address is a multiple of one.
        Self {
            addr,
            size: Size::U8,
            private,
        }
    }

    /// A word of so many bytes, checked as the interface's are.
    #[cfg(CONFIG_KUNIT)]
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn sized(addr: usize, size: u32) -> Result<Self> {
        Self::new(&rfutex_word {
            addr: addr as u64,
            size,
            flags: 0,
        })
    }

    /// The address.
    #[inline]
    pub(crate) fn addr(&self) -> usize {
        self.addr
    }

    /// The size.
    #[inline]
    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// Whether only threads of this process meet here.
    #[inline]
    pub(crate) fn private(&self) -> bool {
        self.private
    }
}

/// Whether a value fits in a word of this size.
#[inline]
fn check_value(size: Size, value: u64) -> Result<u64> {
    let above = u64::MAX.checked_shl(8 * size.bytes() as u32).unwrap_or(0);
    if value & above == 0 {
        Ok(value)
    } else {
        Err(EINVAL)
    }
}

/// The deadline of a wait; `None` for none.
#[inline]
fn check_deadline(clock: u32, ns: i64) -> Result<Option<Deadline>> {
    let clock = match clock {
        uapi::RFUTEX_CLOCK_NONE if ns == 0 => return Ok(None),
        uapi::RFUTEX_CLOCK_MONOTONIC => Clock::Monotonic,
        uapi::RFUTEX_CLOCK_REALTIME => Clock::Realtime,
        uapi::RFUTEX_CLOCK_BOOTTIME => Clock::Boottime,
        _ => return Err(EINVAL),
    };
    if ns < 0 {
        return Err(EINVAL);
    }
    Ok(Some(Deadline::new(clock, ns)))
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
    /// `EINVAL`: a field has a value that means nothing. Others as [`Argument::read`].
    #[inline]
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        Self::new(&argument.read()?)
    }

    #[inline]
    fn new(raw: &rfutex_wait) -> Result<Self> {
        check_zero(raw.pad)?;
        let word = Word::new(&raw.word)?;
        Ok(Self {
            word,
            val: check_value(word.size, raw.val)?,
            mask: check_mask(raw.mask)?,
            deadline: check_deadline(raw.clock, raw.deadline)?,
        })
    }
}

/// `RFUTEX_WAKE` and the wakes without a struct.
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
    #[inline]
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        let raw: rfutex_wake = argument.read()?;
        check_zero(raw.pad)?;
        Ok(Self {
            word: Word::new(&raw.word)?,
            mask: check_mask(raw.mask)?,
            nr: raw.nr,
        })
    }

    /// A wake of `nr` waiters at `addr`, whatever their masks.
    #[inline]
    pub(crate) fn at(addr: usize, private: bool, nr: u32) -> Self {
        Self {
            word: Word::at(addr, private),
            mask: uapi::RFUTEX_MASK_ANY as u64,
            nr,
        }
    }
}

/// `RFUTEX_KEY_INFO`
pub(crate) struct KeyInfo {
    pub(crate) word: Word,
    raw: rfutex_key_info,
    argument: Argument,
}

impl KeyInfo {
    /// Reads and checks the request. What is there for results is not looked at.
    ///
    /// # Errors
    ///
    /// As [`Wait::read`].
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        let raw: rfutex_key_info = argument.read()?;
        Ok(Self {
            word: Word::new(&raw.word)?,
            raw,
            argument,
        })
    }

    /// Writes the results back beside the word.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the memory is not writable.
    pub(crate) fn answer(self, results: rfutex_key_info) -> Result {
        self.argument.write(&rfutex_key_info {
            word: self.raw.word,
            ..results
        })
    }
}

/// Writes the answer of `RFUTEX_QUERY`.
///
/// # Errors
///
/// `EFAULT`: the memory is not writable.
pub(crate) fn answer_query(argument: Argument, results: &rfutex_query) -> Result {
    argument.write(results)
}
