// SPDX-License-Identifier: GPL-2.0
//! A word of a file, mapped into this process.

use std::fs::{File, OpenOptions};
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use anyhow::{Context, Result, ensure};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::{SysconfVar, sysconf};
use rfutex::Word;

use crate::place::Place;

/// What a word is mapped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read it, to wait and to wake.
    Read,
    /// To write to it as well.
    Write,
    /// To write to it. The file is made, or made longer, if the word is not there.
    Create,
}

/// A word of a file, mapped shared.
///
/// # Invariants
///
/// `len` bytes at `start` are a shared mapping that was made by this object, in which the word of
/// `size` bytes lies at `within`, a multiple of `size`. They can be written to if `writable`.
#[derive(Debug)]
pub struct FileWord {
    start: NonNull<u8>,
    len: NonZeroUsize,
    within: usize,
    size: u32,
    writable: bool,
}

/// The size of a page in bytes.
pub fn page_size() -> u64 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u64::try_from(size).ok())
        .unwrap_or(4096)
}

impl FileWord {
    /// Opens the file of `place` and maps the word of `size` bytes.
    pub fn map(place: &Place, size: u32, access: Access) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(access != Access::Read);
        let file = options
            .create(access == Access::Create)
            .truncate(false)
            .open(&place.file)
            .with_context(|| place.file.display().to_string())?;
        let end = place.offset.checked_add(size.into());
        ensure!(
            place.offset.is_multiple_of(size.into()),
            "{place} is no word: the offset has to be a multiple of its size, which is {size}"
        );
        let meta = file.metadata()?;
        let end = end.with_context(|| format!("{place} is beyond the end of every file"))?;
        if meta.is_file() && meta.len() < end {
            ensure!(
                access == Access::Create,
                "{} has only {} bytes, which is too short for a word of {size} bytes at {}",
                place.file.display(),
                meta.len(),
                place.offset
            );
            file.set_len(end)
                .with_context(|| place.file.display().to_string())?;
        }
        Self::map_open(&file, place.offset, size, access)
            .with_context(|| format!("{} cannot be mapped", place.file.display()))
    }

    /// Maps the word of `size` bytes at `offset`, a multiple of `size`, of an open file.
    pub fn map_open(file: &File, offset: u64, size: u32, access: Access) -> Result<Self> {
        let page = page_size();
        let within = usize::try_from(offset % page)?;
        let len = NonZeroUsize::new(usize::try_from(page)?).context("pages are not empty")?;
        let mut protection = ProtFlags::PROT_READ;
        protection.set(ProtFlags::PROT_WRITE, access != Access::Read);
        let start = i64::try_from(offset - offset % page)?;
        // SAFETY: Without MAP_FIXED, nothing that is there is replaced.
        let start = unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, file, start) }?;
        // INVARIANT: It was just mapped. A page begins at a multiple of every size that a word
        // can have, so the word's place in its page is a multiple of its size as well.
        Ok(Self {
            start: start.cast(),
            len,
            within,
            size,
            writable: access != Access::Read,
        })
    }

    /// The address in this process.
    fn at(&self) -> NonNull<u8> {
        // SAFETY: The word lies in the mapping, by the type invariants.
        unsafe { self.start.add(self.within) }
    }

    /// The word, for calls of the device.
    pub fn word(&self) -> Word<'_> {
        Word::at(self.at().addr().get() as u64, self.size)
    }

    /// Its value.
    ///
    /// If the file has become shorter meanwhile, this ends the process with SIGBUS, as does every
    /// access to such a mapping.
    pub fn load(&self) -> u64 {
        self.swap_with(|atomic| atomic.load())
    }

    /// Sets it to `value` and returns what it was. The excess bits of `value` are ignored.
    pub fn store(&self, value: u64) -> u64 {
        assert!(self.writable, "a word that was mapped only to be read");
        self.swap_with(|atomic| atomic.swap(value))
    }

    /// Sets it to `value` if it is `current`. Returns what it was.
    pub fn store_if(&self, current: u64, value: u64) -> u64 {
        assert!(self.writable, "a word that was mapped only to be read");
        self.swap_with(|atomic| atomic.compare_exchange(current, value))
    }

    fn swap_with(&self, access: impl FnOnce(&dyn Atomic) -> u64) -> u64 {
        let at = self.at();
        // SAFETY: By the type invariants, the word is mapped and aligned; all processes that
        // meet on such words access them atomically. Who gets it to write has asserted that it
        // is mapped writable.
        unsafe {
            match self.size {
                1 => access(at.cast::<AtomicU8>().as_ref()),
                2 => access(at.cast::<AtomicU16>().as_ref()),
                4 => access(at.cast::<AtomicU32>().as_ref()),
                _ => access(at.cast::<AtomicU64>().as_ref()),
            }
        }
    }
}

impl Drop for FileWord {
    fn drop(&mut self) {
        // SAFETY: It was mapped by this object, and no reference to it is left.
        let _ = unsafe { munmap(self.start.cast(), self.len.get()) };
    }
}

/// An atomic of any size.
trait Atomic {
    fn load(&self) -> u64;
    fn swap(&self, value: u64) -> u64;
    fn compare_exchange(&self, current: u64, value: u64) -> u64;
}

macro_rules! atomics {
    ($($atomic:ty: $int:ty),*) => {$(
        impl Atomic for $atomic {
            fn load(&self) -> u64 {
                Self::load(self, SeqCst).into()
            }

            fn swap(&self, value: u64) -> u64 {
                Self::swap(self, value as $int, SeqCst).into()
            }

            fn compare_exchange(&self, current: u64, value: u64) -> u64 {
                let (Ok(was) | Err(was)) =
                    Self::compare_exchange(self, current as $int, value as $int, SeqCst, SeqCst);
                was.into()
            }
        }
    )*};
}

atomics!(AtomicU8: u8, AtomicU16: u16, AtomicU32: u32, AtomicU64: u64);

/// Whether `value` fits into `size` bytes.
pub fn fits(value: u64, size: u32) -> bool {
    size >= 8 || value >> (8 * size) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn place(dir: &Path, offset: u64) -> Place {
        Place {
            file: dir.join("word"),
            offset,
        }
    }

    #[test]
    fn words_of_every_size_are_stored_and_loaded() {
        let dir = tempfile::tempdir().unwrap();
        for size in [1, 2, 4, 8] {
            let place = place(dir.path(), 4096 + 8 * u64::from(size));
            let word = FileWord::map(&place, size, Access::Create).unwrap();
            let value = u64::MAX >> (64 - 8 * size);
            assert_eq!(word.load(), 0);
            assert_eq!(word.store(value), 0);
            assert_eq!(word.store_if(0, 1), value);
            assert_eq!(word.store_if(value, 1), value);
            let again = FileWord::map(&place, size, Access::Read).unwrap();
            assert_eq!(again.load(), 1);
        }
    }

    #[test]
    fn a_file_that_is_too_short_is_refused_and_made_longer() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path(), 4);
        std::fs::write(&place.file, [0; 7]).unwrap();
        let error = FileWord::map(&place, 4, Access::Write).unwrap_err();
        assert!(error.to_string().contains("has only 7 bytes"), "{error}");
        drop(FileWord::map(&place, 4, Access::Create).unwrap());
        assert_eq!(std::fs::metadata(&place.file).unwrap().len(), 8);
    }

    #[test]
    fn an_offset_has_to_be_aligned() {
        let dir = tempfile::tempdir().unwrap();
        let error = FileWord::map(&place(dir.path(), 2), 4, Access::Create).unwrap_err();
        assert!(error.to_string().contains("multiple"), "{error}");
        let last = place(dir.path(), u64::MAX - 3);
        assert!(FileWord::map(&last, 4, Access::Create).is_err());
    }

    #[test]
    fn values_fit_or_do_not() {
        assert!(fits(255, 1) && !fits(256, 1));
        assert!(fits(0xffff_ffff, 4) && !fits(1 << 32, 4) && fits(u64::MAX, 8));
    }
}
