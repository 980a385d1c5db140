// SPDX-License-Identifier: GPL-2.0

//! What the KUnit suites share: memory to put words on, references to count, faults to force.
//!
//! Each case runs in a kernel thread of its own. [`Mapping`] gives it an mm, which goes with the
//! thread. A failed assertion ends the thread without destructors: what a case made is then left
//! behind, and the run has failed anyway.
//!
//! `assert!` means KUnit's only inside of a suite, hence nothing here asserts; it returns errors.

mod allocations;
mod file_system;
mod tasks;

pub(crate) use self::{
    allocations::allocations,
    file_system::{
        FileSystem,
        TestFile, //
    },
    tasks::{
        beside,
        is_asleep,
        killed,
        until,
        usage,
        Urgency, //
    },
};

use super::{
    faults,
    Point, //
};
use crate::{
    bindings as helpers,
    context::Context,
    key::{
        self,
        Hold,
        KeyId,
        OwnedKey,
        Resolver, //
    },
    mm::gup,
    table::Table,
    word::{
        Size,
        Word, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    task::Task,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// What a process may do to a mapping.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

/// Who sees what is written to it.
#[derive(Clone, Copy)]
pub(crate) enum Sharing {
    Shared,
    Private,
}

/// Pages mapped into the case's mm. Dropping it unmaps them.
pub(crate) struct Mapping {
    addr: usize,
    len: usize,
}

impl Mapping {
    /// Maps private anonymous memory, of so many pages.
    pub(crate) fn anonymous(pages: usize, access: Access) -> Result<Self> {
        let flags = helpers::RFUTEX_MAP_ANONYMOUS | helpers::RFUTEX_MAP_PRIVATE;
        Self::new(core::ptr::null_mut(), 0, pages, access, flags)
    }

    /// Maps `pages` pages of `file`, from its page `first` on.
    pub(crate) fn of(
        file: &TestFile,
        first: usize,
        pages: usize,
        access: Access,
        sharing: Sharing,
    ) -> Result<Self> {
        let flags = match sharing {
            Sharing::Shared => helpers::RFUTEX_MAP_SHARED,
            Sharing::Private => helpers::RFUTEX_MAP_PRIVATE,
        };
        Self::new(file.as_raw(), first, pages, access, flags)
    }

    fn new(
        file: *mut bindings::file,
        first: usize,
        pages: usize,
        access: Access,
        flags: usize,
    ) -> Result<Self> {
        attach_mm()?;
        let len = pages * PAGE_SIZE;
        let protection = match access {
            Access::Read => helpers::RFUTEX_PROT_READ,
            Access::ReadWrite => helpers::RFUTEX_PROT_READ | helpers::RFUTEX_PROT_WRITE,
        };
        // SAFETY: We are in a case, which has an mm; `file` is null or valid.
        let addr = unsafe {
            let test = bindings::kunit_get_current_test();
            bindings::kunit_vm_mmap(test, file, 0, len, protection, flags, first * PAGE_SIZE)
        };
        // An error comes back as an address that is none.
        if addr == 0 || addr % PAGE_SIZE != 0 {
            return Err(ENOMEM);
        }
        Ok(Self { addr, len })
    }

    /// The address of the byte at `offset`.
    pub(crate) fn at(&self, offset: usize) -> usize {
        self.addr + offset
    }

    /// A word at `offset`.
    pub(crate) fn word(&self, offset: usize) -> Word {
        Word::at(self.at(offset), false)
    }

    /// A private word at `offset`.
    pub(crate) fn private_word(&self, offset: usize) -> Word {
        Word::at(self.at(offset), true)
    }

    /// Writes `bytes` at `offset`, as the process would.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> Result {
        UserSlice::new(UserPtr::from_addr(self.at(offset)), bytes.len())
            .writer()
            .write_slice(bytes)
    }

    /// Reads bytes at `offset`, as the process would.
    pub(crate) fn read(&self, offset: usize, bytes: &mut [u8]) -> Result {
        UserSlice::new(UserPtr::from_addr(self.at(offset)), bytes.len())
            .reader()
            .read_slice(bytes)
    }

    /// Writes a page of its own over what is mapped at `offset`, though the mapping is read-only.
    /// That is what a debugger does.
    pub(crate) fn poke(&self, offset: usize) -> Result {
        self.folio(offset, bindings::FOLL_WRITE | bindings::FOLL_FORCE)
            .map(|_| ())
    }

    /// The folio at `offset`, without a reference.
    fn folio(&self, offset: usize, flags: u32) -> Result<NonNull<bindings::folio>> {
        let mut page = core::ptr::null_mut();
        // SAFETY: `page` has room for the one page asked for.
        let got =
            unsafe { bindings::get_user_pages_unlocked(self.at(offset), 1, &raw mut page, flags) };
        to_result(got.min(0) as i32)?;
        // SAFETY: We have a reference on the page, and so on its folio, until the second call.
        let folio = unsafe {
            let folio = helpers::rfutex_page_folio(page);
            helpers::rfutex_folio_put(folio);
            folio
        };
        NonNull::new(folio).ok_or(EFAULT)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: The range is ours. Files that were mapped last here are closed at once.
        unsafe {
            bindings::vm_munmap(self.addr, self.len);
            bindings::flush_delayed_fput();
        }
    }
}

/// Gives the case an mm, and keeps it on one processor.
///
/// Pages that were just touched wait in per-processor batches, which hold references on them: on
/// one processor, one can be emptied (see [`OnFile::new`]).
pub(crate) fn attach_mm() -> Result {
    run_on(1)?;
    // SAFETY: May be called by any case. The mm is taken away when its thread ends.
    to_result(unsafe { bindings::kunit_attach_mm() })
}

/// Moves the current task to another processor than the one that cases run on.
///
/// # Errors
///
/// `EINVAL`: there is none.
pub(crate) fn leave_first_processor() -> Result {
    run_on(!1)
}

/// Moves the current task to one of these processors.
fn run_on(processors: usize) -> Result {
    let mut mask = bindings::cpumask::default();
    mask.bits[0] = processors;
    // SAFETY: `current` and the mask are valid.
    to_result(unsafe { bindings::set_cpus_allowed_ptr(Task::current_raw(), &raw const mask) })
}

/// Makes this processor's batches give back their references on folios.
fn drain_batches() {
    let mut batch = bindings::folio_batch::default();
    // SAFETY: The batch is valid, and empty: nothing but the others is released.
    unsafe { bindings::__folio_batch_release(&raw mut batch) };
}

/// References on what a word lies on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    inode: i32,
    superblock: i32,
    folio: i32,
}

impl Counts {
    /// So many more.
    pub(crate) fn plus(self, inode: i32, superblock: i32, folio: i32) -> Self {
        Self {
            inode: self.inode + inode,
            superblock: self.superblock + superblock,
            folio: self.folio + folio,
        }
    }
}

/// A page of a file in a file system of its own: nobody else has references there.
pub(crate) struct OnFile {
    // Dropped in this order, as a process would: munmap, close, umount.
    mapping: Option<Mapping>,
    file: Option<TestFile>,
    pub(crate) file_system: FileSystem,
    inode: NonNull<bindings::inode>,
    folio: NonNull<bindings::folio>,
}

impl OnFile {
    /// Makes it, on tmpfs, and touches the page.
    pub(crate) fn new() -> Result<Self> {
        let file_system = FileSystem::mount(c"tmpfs")?;
        let file = file_system.file(1)?;
        let mapping = Mapping::of(&file, 0, 1, Access::ReadWrite, Sharing::Shared)?;
        mapping.write(0, &[0; 8])?;
        let folio = mapping.folio(0, bindings::FOLL_WRITE)?;
        drain_batches();
        let inode = file.inode();
        let on_file = Self {
            mapping: Some(mapping),
            file: Some(file),
            file_system,
            inode,
            folio,
        };
        // The file and its name's entry have one together; the mount; the page cache, the mapping.
        if on_file.counts()
            != (Counts {
                inode: 1,
                superblock: 1,
                folio: 2,
            })
        {
            return Err(EBUSY);
        }
        Ok(on_file)
    }

    /// The word at `offset` in the page.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the page is no longer mapped.
    pub(crate) fn word(&self, offset: usize) -> Result<Word> {
        Ok(self.mapping.as_ref().ok_or(ENOENT)?.word(offset))
    }

    /// Where it is mapped.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the page is no longer mapped.
    pub(crate) fn mapping(&self) -> Result<&Mapping> {
        self.mapping.as_ref().ok_or(ENOENT)
    }

    /// The file.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it is no longer open.
    pub(crate) fn file(&self) -> Result<&TestFile> {
        self.file.as_ref().ok_or(ENOENT)
    }

    /// Unmaps the page and closes the file, which has no name: only other references keep it.
    pub(crate) fn close(&mut self) {
        self.mapping = None;
        self.file = None;
        drain_batches();
    }

    /// Runs `what` while we hold the folio's lock.
    ///
    /// # Errors
    ///
    /// `EINTR`: another holds it, and a fatal signal came.
    pub(crate) fn with_folio_locked<T>(&self, what: impl FnOnce() -> T) -> Result<T> {
        // SAFETY: The mapping keeps the folio.
        to_result(unsafe { helpers::rfutex_folio_lock_killable(self.folio.as_ptr()) })?;
        let result = what();
        // SAFETY: We hold the lock.
        unsafe { bindings::folio_unlock(self.folio.as_ptr()) };
        Ok(result)
    }

    /// What is counted now, for as long as the file is mapped or its inode held.
    pub(crate) fn counts(&self) -> Counts {
        // SAFETY: The mapping, or who holds the inode, keeps all three alive. The counts may change under us.
        unsafe {
            let inode = self.inode.as_ptr();
            Counts {
                inode: read(&raw const (*inode).i_count),
                superblock: read(&raw const (*(*inode).i_sb).s_active),
                folio: helpers::rfutex_folio_ref_count(self.folio.as_ptr()),
            }
        }
    }
}

/// Reads an atomic that others may change.
///
/// # Safety
///
/// `atomic` must be valid.
pub(crate) unsafe fn read(atomic: *const bindings::atomic_t) -> i32 {
    // SAFETY: By the function's requirements.
    unsafe { (&raw const (*atomic).counter).read_volatile() }
}

/// What an operation on `table` works with that finds words by their pages.
pub(crate) fn by_page(table: &Table) -> Context<'_> {
    Context::new(table, Resolver::Page)
}

/// The key of a word, as a wake finds it with `resolver`.
pub(crate) fn resolve(resolver: Resolver, word: Word) -> Result<KeyId> {
    key::resolve(resolver, word, gup::Access::Read, Hold::Inode)
}

/// The key of a word, as a wait finds it with `resolver`, and what the wait holds.
pub(crate) fn own(resolver: Resolver, word: Word) -> Result<OwnedKey> {
    key::own(resolver, word, || Ok::<_, ()>(()))?.map_err(|()| EDOM)
}

/// A word of so many bytes, checked as the interface's are.
pub(crate) fn sized(addr: usize, bytes: u32) -> Result<Word> {
    Word::new(addr, Size::from_bytes(bytes).ok_or(EINVAL)?, false)
}

/// How many wait on the word.
pub(crate) fn waiting(table: &Table, word: Word) -> Result<u32> {
    let id = resolve(Resolver::Page, word)?;
    Ok(table.slot(id).lock().count(id))
}

/// Whether nobody is counted as a waiter.
pub(crate) fn nobody_waits(table: &Table) -> bool {
    table.nr_waiters().all(|nr| nr == 0)
}

/// Runs `what` while `point` fails the next `times` times. Returns how many times it did, too.
pub(crate) fn forced<T>(point: Point, times: u32, what: impl FnOnce() -> T) -> (T, u32) {
    let fault = faults::at(point);
    let before = fault.hits();
    fault.arm(times);
    let result = what();
    fault.arm(0);
    (result, fault.hits() - before)
}
