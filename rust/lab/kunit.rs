// SPDX-License-Identifier: GPL-2.0

//! What the KUnit suites have in common: memory for words, counting references, and forcing faults.
//!
//! Each test case runs in a kernel thread of its own. [`Mapping`] gives the thread an mm, which is
//! released when the thread ends. An assertion that fails ends the thread without running
//! destructors. What the case has made is then not cleaned up, but by then the run has failed
//! anyway.
//!
//! `assert!` is that of KUnit only in a suite. The functions here are outside of one, so they do
//! not assert anything, but return errors.

mod allocations;
mod file_system;
mod tasks;

pub(crate) use self::{
    allocations::{
        allocations,
        charged_allocations, //
    },
    file_system::{
        FileSystem,
        TestFile, //
    },
    tasks::{
        beside,
        is_asleep,
        kill,
        killed,
        living,
        mortal,
        state,
        until,
        usage,
        Living,
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
    request,
    table::Table,
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

/// Whether others see what is written to a mapping.
#[derive(Clone, Copy)]
pub(crate) enum Sharing {
    Shared,
    Private,
}

/// Pages that are mapped into the mm of the test case. They are unmapped when this is dropped.
pub(crate) struct Mapping {
    addr: usize,
    len: usize,
}

impl Mapping {
    /// Maps the given number of `pages` of private anonymous memory.
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
        // SAFETY: This runs in a test case, to which `attach_mm()` has just given an mm. `file` is
        // null, or a valid file that the caller borrows.
        let addr = unsafe {
            let test = bindings::kunit_get_current_test();
            bindings::kunit_vm_mmap(test, file, 0, len, protection, flags, first * PAGE_SIZE)
        };
        // On failure, the function returns 0, or an error number as an address, which is not
        // aligned.
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
        Word::at(self.at(offset), Location::Address)
    }

    /// A private word at `offset`.
    pub(crate) fn private_word(&self, offset: usize) -> Word {
        Word::at(self.at(offset), Location::PrivateAddress)
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

    /// Makes the kernel replace the page at `offset` by a private copy, even though the mapping is
    /// read-only, as it happens when a debugger writes there.
    pub(crate) fn poke(&self, offset: usize) -> Result {
        self.folio(offset, bindings::FOLL_WRITE | bindings::FOLL_FORCE)
            .map(|_| ())
    }

    /// The folio at `offset`, without a reference on it.
    fn folio(&self, offset: usize, flags: u32) -> Result<NonNull<bindings::folio>> {
        let mut page = core::ptr::null_mut();
        // SAFETY: `page` has room for the one pointer that the function writes. The function checks
        // the address.
        let got =
            unsafe { bindings::get_user_pages_unlocked(self.at(offset), 1, &raw mut page, flags) };
        to_result(got.min(0) as i32)?;
        // SAFETY: The function above has taken a reference on the page, and so on its folio. It is
        // put only by the second call, and the folio is not accessed after that.
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
        // The second call completes the release of the file, if this was the last reference on it.
        // SAFETY: `new()` has mapped the range, and nothing else uses it. The task is a kernel
        // thread, which may run delayed work of `fput()`.
        unsafe {
            bindings::vm_munmap(self.addr, self.len);
            bindings::flush_delayed_fput();
        }
    }
}

/// Gives the test case an mm, and keeps it on one processor.
///
/// Folios that were just touched are in per-CPU batches, which have references on them. If the case
/// runs on one processor only, it can drain the batch that matters (see [`OnFile::new`]).
pub(crate) fn attach_mm() -> Result {
    run_on(1)?;
    // SAFETY: The function may be called in any test case, even several times. KUnit releases the
    // mm when the thread of the case ends.
    to_result(unsafe { bindings::kunit_attach_mm() })
}

/// Moves the current task to another processor than the one on which test cases run.
///
/// # Errors
///
/// `EINVAL`: there is no other processor.
pub(crate) fn leave_first_processor() -> Result {
    run_on(!1)
}

/// Moves the current task to one of these `processors`, which is a bit mask.
fn run_on(processors: usize) -> Result {
    let mut mask = bindings::cpumask::default();
    mask.bits[0] = processors;
    // SAFETY: The current task is valid, and `mask` is valid for the call.
    to_result(unsafe { bindings::set_cpus_allowed_ptr(Task::current_raw(), &raw const mask) })
}

/// Makes the batches of this processor put their references on folios.
fn drain_batches() {
    let mut batch = bindings::folio_batch::default();
    // SAFETY: `batch` is valid, and it is empty, so that the function releases nothing of it. It
    // only drains the batches of this processor first.
    unsafe { bindings::__folio_batch_release(&raw mut batch) };
}

/// The reference counts of what a word lies on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    inode: i32,
    superblock: i32,
    folio: i32,
}

impl Counts {
    /// These counts, increased by the arguments.
    pub(crate) fn plus(self, inode: i32, superblock: i32, folio: i32) -> Self {
        Self {
            inode: self.inode + inode,
            superblock: self.superblock + superblock,
            folio: self.folio + folio,
        }
    }
}

/// A mapped page of a file in a file system of its own, so that nobody else has references there.
pub(crate) struct OnFile {
    // These are dropped in the order in which a process would do it: munmap, close, umount.
    mapping: Option<Mapping>,
    file: Option<TestFile>,
    pub(crate) file_system: FileSystem,
    inode: NonNull<bindings::inode>,
    folio: NonNull<bindings::folio>,
}

impl OnFile {
    /// Mounts a tmpfs, makes a file there, maps its page, and touches the page.
    ///
    /// # Errors
    ///
    /// `EBUSY`: there are other references than those that are expected. Others if one of the steps
    /// fails.
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
        // The file and its dentry together have one reference on the inode. The mount has one on
        // the superblock. The page cache and the mapping each have one on the folio.
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

    /// The mapping of the page.
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
    /// `ENOENT`: the file is no longer open.
    pub(crate) fn file(&self) -> Result<&TestFile> {
        self.file.as_ref().ok_or(ENOENT)
    }

    /// Unmaps the page and closes the file. Because the file has no name, it then exists only for
    /// as long as there are other references on its inode.
    pub(crate) fn close(&mut self) {
        self.mapping = None;
        self.file = None;
        drain_batches();
    }

    /// Runs `what` while the lock of the folio is held.
    ///
    /// # Errors
    ///
    /// `EINTR`: another task holds the lock, and this one was killed while it waited.
    pub(crate) fn with_folio_locked<T>(&self, what: impl FnOnce() -> T) -> Result<T> {
        // SAFETY: The page cache and the mapping have references on the folio, so it is valid.
        // Callers use this only while the page is mapped.
        to_result(unsafe { helpers::rfutex_folio_lock_killable(self.folio.as_ptr()) })?;
        let result = what();
        // SAFETY: The lock was taken above, and is still held.
        unsafe { bindings::folio_unlock(self.folio.as_ptr()) };
        Ok(result)
    }

    /// The current reference counts. This may be called only while the file is mapped, or a
    /// reference on its inode is held.
    pub(crate) fn counts(&self) -> Counts {
        // SAFETY: The inode is valid because the file is mapped, or because somebody holds a
        // reference on it, and the mount keeps the superblock. The folio is in the page cache of
        // the inode. The counts are read atomically.
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

/// Reads an atomic variable that other tasks may change at the same time.
///
/// # Safety
///
/// `atomic` must be valid for reads.
pub(crate) unsafe fn read(atomic: *const bindings::atomic_t) -> i32 {
    // SAFETY: By the function's requirements, the pointer is valid for reads. A volatile read of an
    // aligned `i32` is atomic in the kernel's memory model.
    unsafe { (&raw const (*atomic).counter).read_volatile() }
}

/// The context of an operation that uses `table` and the page resolver.
pub(crate) fn by_page(table: &Table) -> Context<'_> {
    Context::new(table, Resolver::Page)
}

/// A request to wait while `word` has the value `val`.
pub(crate) fn request(word: Word, val: u64) -> request::Wait {
    request::Wait {
        word,
        val,
        mask: u64::MAX,
        deadline: None,
        owner: None,
    }
}

/// The same with a deadline in the past, so that the wait does not sleep for long.
pub(crate) fn expired(word: Word, val: u64, clock: Clock) -> request::Wait {
    request::Wait {
        deadline: Some(Deadline::new(clock, 1)),
        ..request(word, val)
    }
}

/// The key of a word that a wake finds by means of `resolver`.
pub(crate) fn resolve(resolver: Resolver, word: Word) -> Result<KeyId> {
    key::resolve(resolver, word, gup::Access::Read, Hold::Inode)
}

/// The key of a word that a wait finds by means of `resolver`, with the references that it holds.
pub(crate) fn own(resolver: Resolver, word: Word) -> Result<OwnedKey> {
    key::own(resolver, word, || Ok::<_, ()>(()))?.map_err(|()| EDOM)
}

/// The word at `addr` that has this number of `bytes`, with the checks that words from user space
/// get.
pub(crate) fn sized(addr: usize, bytes: u32) -> Result<Word> {
    let size = Size::from_bytes(bytes).ok_or(EINVAL)?;
    Word::new(addr as u64, size, Location::Address)
}

/// The number of waiters that are queued on the word.
pub(crate) fn waiting(table: &Table, word: Word) -> Result<u32> {
    let id = by_page(table).resolve(word)?;
    Ok(table.slot(id).lock().count(id))
}

/// Whether all counters of the table are zero.
pub(crate) fn nobody_waits(table: &Table) -> bool {
    table.nr_waiters().all(|nr| nr == 0)
}

/// Runs `what`, during which `point` fails up to `times` times. Returns the result of `what`, and
/// how many times the point has failed.
pub(crate) fn forced<T>(point: Point, times: u32, what: impl FnOnce() -> T) -> (T, u32) {
    let fault = faults::at(point);
    let before = fault.hits();
    fault.arm(times);
    let result = what();
    fault.arm(0);
    (result, fault.hits() - before)
}
