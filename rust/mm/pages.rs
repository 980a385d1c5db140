// SPDX-License-Identifier: GPL-2.0

//! Memory of whole pages, which processes can map and the module can access at the same time.
//!
//! C header: [`include/linux/vmalloc.h`](srctree/include/linux/vmalloc.h)

use crate::{
    bindings as helpers,
    lab::{
        self,
        Point, //
    },
    word::{
        Size,
        Word, //
    },
};
use core::{
    alloc::Layout,
    ptr::NonNull,
    slice, //
};
use kernel::{
    alloc::{
        allocator::Vmalloc,
        flags::{
            __GFP_NOWARN,
            __GFP_ZERO, //
        },
        Allocator,
        NumaNode, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    },
};

/// How many times [`Pages::update`] tries to change a word that others change too.
const UPDATE_TRIES: u32 = 64;

/// Pages that are filled with zeros at first. Processes that have mapped them may change them at
/// any time, so Rust code only accesses them atomically. (A debugger accesses them by bytes, as it
/// does with all memory of a process: see `arena.c`.)
///
/// # Invariants
///
/// `start` is the beginning of an allocation of [`Vmalloc`] with this `layout`, which consists of
/// whole pages, and is freed only when this is dropped. All of it is initialised.
pub(crate) struct Pages {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: The memory is only accessed atomically, and may be freed by any task.
unsafe impl Send for Pages {}

// SAFETY: The memory is only accessed atomically.
unsafe impl Sync for Pages {}

impl Pages {
    /// Allocates `nr` pages, which are charged to the memory cgroup of the current task.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no memory, or `nr` is 0.
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    pub(crate) fn new(nr: usize) -> Result<Self> {
        let size = nr.checked_mul(PAGE_SIZE).filter(|&size| size != 0);
        let layout = Layout::from_size_align(size.ok_or(ENOMEM)?, PAGE_SIZE).map_err(|_| ENOMEM)?;
        if lab::fault(Point::Allocate) {
            return Err(ENOMEM);
        }
        // That there is not enough memory for so many pages is not worth a warning.
        let flags = GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN;
        let memory = Vmalloc::alloc(layout, flags, NumaNode::NO_NODE)?;
        // INVARIANT: The memory was just allocated, with the flag that has it filled with zeros.
        Ok(Self {
            start: memory.cast(),
            layout,
        })
    }

    /// The size in bytes.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.layout.size()
    }

    /// A pointer to the byte at `offset`; `None` if it does not lie in these pages.
    ///
    /// If a word begins there, it lies in these pages as a whole: words are aligned, so that one
    /// that begins before the end of a page does not cross that end.
    #[inline]
    fn at(&self, offset: usize) -> Option<NonNull<u8>> {
        if offset >= self.size() {
            return None;
        }
        // User space has chosen the offset, and the processor must not use it before it knows the
        // result of the comparison.
        // SAFETY: The function only computes. It returns `offset`, which is below the size.
        let offset = unsafe { helpers::rfutex_array_index_nospec(offset, self.size()) };
        // SAFETY: By the type invariants, the offset lies in the allocation.
        Some(unsafe { self.start.add(offset) })
    }

    /// The value of `word`, which is found by its offset; `None` if there is no such word.
    ///
    /// # Context
    ///
    /// Any. Does not sleep.
    #[inline]
    pub(crate) fn load(&self, word: Word) -> Option<u64> {
        let start = self.at(word.offset())?.as_ptr();
        macro_rules! load_as {
            ($atomic:ty, $value:ty) => {{
                // SAFETY: The pointer leads to a word of this size in the allocation, which exists
                // while `self` is borrowed. The word is aligned: its offset is by the type
                // invariants of `Word`, and the allocation begins at a page. All accesses to it
                // are atomic.
                let word = unsafe { Atomic::<$atomic>::from_ptr(start.cast()) };
                u64::from(word.load(Relaxed) as $value)
            }};
        }
        Some(match word.size() {
            Size::U8 => load_as!(i8, u8),
            Size::U16 => load_as!(i16, u16),
            Size::U32 => load_as!(i32, u32),
            Size::U64 => load_as!(i64, u64),
        })
    }

    /// The first `nr` words of 64 bits, or as many as there are.
    pub(crate) fn words(&self, nr: usize) -> &[Atomic<i64>] {
        let nr = nr.min(self.size() / size_of::<Atomic<i64>>());
        // SAFETY: By the type invariants, the allocation has so many words, which are aligned and
        // initialised. All accesses to it are atomic. It exists while `self` is borrowed.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast(), nr) }
    }

    /// Atomically replaces the value of `word`, which is found by its offset, by `new(value)`, of
    /// which as much is used as the word has room for. Returns the value that the word had.
    ///
    /// # Errors
    ///
    /// `EFAULT`: there is no such word. `EAGAIN`: others changed the word each time before this one
    /// could.
    ///
    /// # Context
    ///
    /// Any. Does not sleep.
    pub(crate) fn update(&self, word: Word, new: impl Fn(u64) -> u64) -> Result<u64> {
        let start = self.at(word.offset()).ok_or(EFAULT)?.as_ptr();
        macro_rules! update_as {
            ($atomic:ty, $value:ty) => {{
                // SAFETY: The pointer leads to a word of this size in the allocation, which exists
                // while `self` is borrowed. The word is aligned: its offset is by the type
                // invariants of `Word`, and the allocation begins at a page. All accesses to it
                // are atomic.
                let word = unsafe { Atomic::<$atomic>::from_ptr(start.cast()) };
                let mut old = word.load(Relaxed);
                for _ in 0..UPDATE_TRIES {
                    let value = u64::from(old as $value);
                    match word.cmpxchg(old, new(value) as $value as $atomic, Full) {
                        Ok(_) => return Ok(value),
                        Err(now) => old = now,
                    }
                }
            }};
        }
        match word.size() {
            Size::U8 => update_as!(i8, u8),
            Size::U16 => update_as!(i16, u16),
            Size::U32 => update_as!(i32, u32),
            Size::U64 => update_as!(i64, u64),
        }
        Err(EAGAIN)
    }

    /// The beginning of the page with this `index`; `None` if there are not so many.
    ///
    /// # Context
    ///
    /// Any. Does not sleep.
    pub(crate) fn page(&self, index: usize) -> Option<NonNull<u8>> {
        self.at(index.checked_mul(PAGE_SIZE)?)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the memory was allocated by `Vmalloc` with this layout,
        // and was not freed yet.
        unsafe { Vmalloc::free(self.start, self.layout) };
    }
}
