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
    key::Resolver,
    lab::{
        self,
        Point, //
    },
    mm::uaccess::{
        self,
        Room, //
    },
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
static_assert!(size_of::<rfutex_query>() == 32);
static_assert!(size_of::<rfutex_wait>() == 48);
static_assert!(size_of::<rfutex_wake>() == 32);
static_assert!(size_of::<rfutex_key_info>() == 80);

/// As long as the longest struct of the interface, in bytes.
const LONGEST: usize = size_of::<rfutex_key_info>();

/// A struct of the interface in the caller's memory.
#[derive(Clone, Copy)]
pub(crate) struct Argument {
    ptr: UserPtr,
    /// The size that the caller knows, in bytes, as the command number carries it.
    size: usize,
    /// For the words in it.
    resolver: Resolver,
}

impl Argument {
    /// The argument `arg` of a command that carries `size`.
    #[inline]
    pub(crate) fn new(arg: usize, size: usize) -> Self {
        Self {
            ptr: UserPtr::from_addr(arg),
            size,
            resolver: Resolver::PAGE,
        }
    }

    /// The same, its words to be found by `resolver`.
    #[inline]
    pub(crate) fn by(self, resolver: Resolver) -> Self {
        Self { resolver, ..self }
    }

    /// What finds the words in it.
    #[inline]
    pub(crate) fn resolver(self) -> Resolver {
        self.resolver
    }

    /// Checks a word that was in it.
    #[inline]
    fn word(self, raw: &rfutex_word) -> Result<Word> {
        Word::new(raw, self.resolver)
    }

    /// Copies the struct in, older and newer versions of it too.
    ///
    /// # Errors
    ///
    /// `EFAULT`: the memory is not readable. `E2BIG`: the caller's struct is longer than ours, and
    /// something is set in the part that we do not know.
    #[inline(always)]
    fn read<T: FromBytes>(self, room: &mut Room<T>) -> Result<&T> {
        if lab::fault(Point::CopyIn) {
            return Err(EFAULT);
        }
        if self.size == size_of::<T>() {
            room.copy_in(self.ptr)
        } else {
            read_resized(self.ptr, self.size, room)
        }
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

/// Copies in a struct that has another size than ours.
#[cold]
fn read_resized<T: FromBytes>(ptr: UserPtr, size: usize, room: &mut Room<T>) -> Result<&T> {
    let mut bytes = [0; LONGEST];
    let known = size.min(size_of::<T>());
    UserSlice::new(ptr, known)
        .reader()
        .read_slice(&mut bytes[..known])?;
    uaccess::check_zeroed(ptr.wrapping_byte_add(known), size - known)?;
    let value = T::from_bytes_copy(&bytes[..size_of::<T>()]).ok_or(EINVAL)?;
    Ok(room.put(value))
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

/// Where a word is. Two numbers, which fit into registers.
///
/// # Invariants
///
/// `addr` is a multiple of the size. It may still be any address, the kernel's included.
#[derive(Clone, Copy)]
pub(crate) struct Word {
    addr: usize,
    /// The size in bytes, [`Word::PRIVATE`], and the resolver's number from [`Word::RESOLVER`] on.
    how: u32,
}

impl Word {
    const SIZE: u32 = 0xff;
    const PRIVATE: u32 = 1 << 8;
    const RESOLVER: u32 = 16;

    #[inline]
    fn new(raw: &rfutex_word, resolver: Resolver) -> Result<Self> {
        const FLAGS: u32 = uapi::RFUTEX_WORD_PRIVATE;
        // A bit a size: less to compare than one size after the other.
        const SIZES: u32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 8;
        if raw.flags & !FLAGS != 0 || raw.size > 8 || SIZES >> raw.size & 1 == 0 {
            return Err(EINVAL);
        }
        if raw.addr & (u64::from(raw.size) - 1) != 0 {
            return Err(EINVAL);
        }
        let private = raw.flags * (Self::PRIVATE / uapi::RFUTEX_WORD_PRIVATE);
        // INVARIANT: Just checked.
        Ok(Self {
            addr: raw.addr.try_into().map_err(|_| EFAULT)?,
            how: raw.size | private | resolver.to_uapi() << Self::RESOLVER,
        })
    }

    /// A word of any size at `addr`.
    #[inline]
    pub(crate) fn at(addr: usize, private: bool) -> Self {
        let private = if private { Self::PRIVATE } else { 0 };
        // INVARIANT: Every address is a multiple of one.
        Self {
            addr,
            how: 1 | private | Resolver::PAGE.to_uapi() << Self::RESOLVER,
        }
    }

    /// The same word, to be found by `resolver`.
    #[inline]
    pub(crate) fn by(self, resolver: Resolver) -> Self {
        let how = self.how & ((1 << Self::RESOLVER) - 1);
        // INVARIANT: The address and the size stay.
        Self {
            how: how | resolver.to_uapi() << Self::RESOLVER,
            ..self
        }
    }

    /// A word of so many bytes, checked as the interface's are.
    #[cfg(CONFIG_KUNIT)]
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn sized(addr: usize, size: u32) -> Result<Self> {
        let raw = rfutex_word {
            addr: addr as u64,
            size,
            flags: 0,
        };
        Self::new(&raw, Resolver::PAGE)
    }

    /// The address.
    #[inline]
    pub(crate) fn addr(self) -> usize {
        self.addr
    }

    /// The size.
    #[inline]
    pub(crate) fn size(self) -> Size {
        match self.how & Self::SIZE {
            1 => Size::U8,
            2 => Size::U16,
            4 => Size::U32,
            _ => Size::U64,
        }
    }

    /// What finds its key, unless it is private.
    #[inline]
    pub(crate) fn resolver(self) -> Resolver {
        Resolver::known(self.how >> Self::RESOLVER)
    }

    /// Whether only threads of this process meet here.
    #[inline]
    pub(crate) fn private(self) -> bool {
        self.how & Self::PRIVATE != 0
    }
}

/// Whether a value fits in a word.
#[inline]
fn check_value(word: Word, value: u64) -> Result<u64> {
    // In two steps: all bits at once cannot be shifted out.
    if value >> (8 * (word.how & Word::SIZE) - 1) >> 1 == 0 {
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
#[inline(never)]
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
    /// `EINVAL`: a field has a value that means nothing. Others as [`Argument::read`].
    #[inline]
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        Self::new(argument, argument.read(&mut Room::new())?)
    }

    #[inline]
    fn new(argument: Argument, raw: &rfutex_wait) -> Result<Self> {
        check_zero(raw.pad)?;
        let word = argument.word(&raw.word)?;
        Ok(Self {
            word,
            val: check_value(word, raw.val)?,
            mask: check_mask(raw.mask)?,
            deadline: check_deadline(raw.clock, raw.deadline)?,
        })
    }
}

/// `RFUTEX_WAKE` and the wakes without a struct.
pub(crate) struct Wake {
    pub(crate) word: Word,
    pub(crate) whom: Whom,
}

/// Whom to wake: up to `nr` whose mask meets `mask`.
pub(crate) struct Whom {
    pub(crate) mask: u64,
    pub(crate) nr: u32,
}

impl Whom {
    /// One, whatever its mask.
    pub(crate) const ONE: Self = Self::any(1);
    /// All, whatever their masks.
    pub(crate) const ALL: Self = Self::any(u32::MAX);

    /// Up to `nr`, whatever their masks.
    pub(crate) const fn any(nr: u32) -> Self {
        Self {
            mask: uapi::RFUTEX_MASK_ANY as u64,
            nr,
        }
    }
}

impl Wake {
    /// Reads and checks the request.
    ///
    /// # Errors
    ///
    /// As [`Wait::read`].
    #[inline]
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        let mut room = Room::new();
        let raw: &rfutex_wake = argument.read(&mut room)?;
        check_zero(raw.pad)?;
        Ok(Self {
            word: argument.word(&raw.word)?,
            whom: Whom {
                mask: check_mask(raw.mask)?,
                nr: raw.nr,
            },
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
    pub(crate) fn read(argument: Argument) -> Result<Self> {
        let mut room = Room::new();
        let raw: &rfutex_key_info = argument.read(&mut room)?;
        Ok(Self {
            word: argument.word(&raw.word)?,
            raw: rfutex_word {
                addr: raw.word.addr,
                size: raw.word.size,
                flags: raw.word.flags,
            },
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
pub(crate) fn answer_query(argument: Argument, results: &rfutex_query) -> Result {
    argument.write(results)
}
