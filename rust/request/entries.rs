// SPDX-License-Identifier: GPL-2.0

//! The array of entries of a request, each of which describes one word.

use super::Argument;
use core::marker::PhantomData;
use kernel::{
    prelude::*,
    transmute::FromBytes, //
};

/// The largest size of an entry, in bytes. It does not depend on the size of a page.
pub(super) const MAX_SIZE: usize = 4096;

/// An array of entries of the type `T` in the memory of the calling process.
pub(super) struct Entries<T> {
    addr: usize,
    /// The size of the version of `T` that the process has, in bytes.
    size: usize,
    nr: usize,
    entry: PhantomData<T>,
}

impl<T: FromBytes> Entries<T> {
    /// The array of `nr` entries, at most `max`, at the address `addr`. The process has a version
    /// of the entry of `size` bytes. The first version of it had `shortest` bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the number or the size of the entries is not valid. `EFAULT`: the address does not
    /// fit into a pointer.
    #[inline]
    pub(super) fn new(addr: u64, shortest: usize, nr: u32, max: u32, size: u32) -> Result<Self> {
        let size = size as usize;
        if !(1..=max).contains(&nr) || !(shortest..=MAX_SIZE).contains(&size) {
            return Err(EINVAL);
        }
        Ok(Self {
            addr: addr.try_into().map_err(|_| EFAULT)?,
            size,
            nr: nr as usize,
            entry: PhantomData,
        })
    }

    /// The number of entries.
    #[inline]
    pub(super) fn nr(&self) -> usize {
        self.nr
    }

    /// Copies the entry with this `index` from user memory.
    ///
    /// # Errors
    ///
    /// As [`Argument::read`].
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    #[inline]
    pub(super) fn read(&self, index: usize) -> Result<T> {
        let addr = self.addr.wrapping_add(index * self.size);
        Argument::new(addr, self.size).read()
    }
}
