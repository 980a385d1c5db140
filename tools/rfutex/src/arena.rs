// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory of a table, mapped.

pub mod mapped;

use crate::{Atomic, Error, Table, Word};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8};
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64};

/// What can lie in memory that other processes change too.
///
/// # Safety
///
/// - Bytes that are zero must be a valid value, and so must all that other processes
///   may write there.
/// - No field may be a pointer or a reference, because each process has the memory elsewhere.
/// - All of it must be accessed atomically only, through a shared reference. What is accessed
///   in another way, such as data behind a [`Mutex`](crate::sync::Mutex), is possible if the
///   program, and all that have the table, keep to it: none of them may have anything else
///   at these offsets.
/// - The alignment is at most that of a page.
pub unsafe trait InArena: Sync {}

macro_rules! in_arena {
    ($($atomic:ty),*) => {$(
        // SAFETY: Any value is valid, and the type has only atomic accesses.
        unsafe impl InArena for $atomic {}
    )*};
}

in_arena!(
    AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicI8, AtomicI16, AtomicI32, AtomicI64
);

// SAFETY: All elements fulfil the requirements, and there is nothing between them.
unsafe impl<T: InArena, const N: usize> InArena for [T; N] {}

/// The memory of a [`Table`], mapped into this process.
///
/// Its words are named by their offset, so that the kernel looks at no page to find
/// them. All processes that have the table share the memory, each at an address of its
/// own.
///
/// ```no_run
/// use rfutex::{Arena, Error, Rfutex, Table, TableOptions};
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// fn main() -> Result<(), Error> {
///     let table = Table::create(&Rfutex::open()?, TableOptions::new().arena(4096))?;
///     let arena = Arena::map(table)?;
///     let ready: &AtomicU32 = arena.get(64).expect("it is in the arena");
///     std::thread::scope(|scope| {
///         scope.spawn(|| {
///             ready.store(1, Ordering::Release);
///             arena.table().wake_all(arena.word(ready))
///         });
///         while ready.load(Ordering::Acquire) == 0 {
///             match arena.table().wait(arena.word(ready), 0) {
///                 Ok(()) | Err(Error::Again | Error::Interrupted) => {}
///                 Err(error) => return Err(error),
///             }
///         }
///         Ok(())
///     })
/// }
/// ```
///
/// # Invariants
///
/// `len` bytes at `start` are a shared mapping of the arena of `table`, which is unmapped
/// only when this is dropped, and of which only values of types that are [`InArena`] are
/// made.
#[derive(Debug)]
pub struct Arena {
    table: Arc<Table>,
    start: NonNull<u8>,
    len: usize,
    robust_len: usize,
}

// SAFETY: What lies in the memory is `InArena`, and so may be used by threads of any processes.
unsafe impl Send for Arena {}
// SAFETY: As above.
unsafe impl Sync for Arena {}

impl Arena {
    /// Maps the whole arena of a table.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] with `ENODEV`: the table has no arena. Others as mmap(2).
    pub fn map(table: impl Into<Arc<Table>>) -> Result<Self, Error> {
        let table = table.into();
        let query = table.query()?;
        let len = query.arena_size as usize;
        if len == 0 {
            return Err(Error::Os(libc::ENODEV));
        }
        // SAFETY: A new mapping replaces nothing.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                table.as_fd().as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().into());
        }
        let start = NonNull::new(start.cast()).expect("nothing is mapped at address zero");
        mapped::add(start.addr().get(), len, &table);
        // INVARIANT: The arena was just mapped, as a whole.
        Ok(Self {
            table,
            start,
            len,
            robust_len: query.robust_size as usize,
        })
    }

    /// The table, on which the calls with words of this arena are made.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The size in bytes of the part, from the beginning, that consists of robust words.
    pub fn robust_len(&self) -> usize {
        self.robust_len
    }

    /// The size in bytes.
    #[expect(clippy::len_without_is_empty, reason = "an arena is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Where a `T` at `offset` lies, if it lies in the arena as a whole and is aligned.
    fn place<T>(&self, offset: usize) -> Option<NonNull<T>> {
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.len || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: It lies in the mapping.
        Some(unsafe { self.start.add(offset).cast() })
    }

    /// What lies at `offset`. `None` if it would not lie in the arena as a whole, or is
    /// not aligned.
    pub fn get<T: InArena>(&self, offset: usize) -> Option<&T> {
        // SAFETY: It lies in the mapping, which begins at a page and so is aligned. Any
        // value is valid, and everybody accesses it atomically, by the trait's promise.
        Some(unsafe { self.place(offset)?.as_ref() })
    }

    /// Puts `value` at `offset`, where zeroes are not what is wanted. `None` if it would not
    /// lie in the arena as a whole, or is not aligned.
    ///
    /// # Safety
    ///
    /// No other thread, of any process, may access this memory before the call returns.
    pub unsafe fn init<T: InArena>(&self, offset: usize, value: T) -> Option<&T> {
        let place = self.place(offset)?;
        // SAFETY: It lies in the mapping and is aligned, and nobody else accesses it, as the
        // caller promises.
        unsafe { place.write(value) };
        self.get(offset)
    }

    /// The word that is this atomic.
    ///
    /// # Panics
    ///
    /// If the atomic does not lie in the arena.
    pub fn word<T: Atomic>(&self, atomic: &T) -> Word<'static> {
        let addr = std::ptr::from_ref(atomic).addr();
        let offset = addr.wrapping_sub(self.start.addr().get());
        assert!(offset < self.len, "the atomic is not in this arena");
        Word::in_arena(offset as u64, size_of::<T>() as u32)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // Before anything else can be mapped there.
        mapped::remove(self.start.addr().get());
        // SAFETY: By the type invariants it is a mapping of our own, and references into it
        // cannot outlive `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
