// SPDX-License-Identifier: GPL-2.0

//! Listings: who waits where.
//!
//! A listing is a file from which the waiters of a table are read. What is done while a bucket is
//! locked is short, however many wait ([`Cursor`]): only numbers are copied, and references on pids
//! are taken. The rest is found out without a lock, one waiter at a time: who it is, whether it may be
//! shown, and which file its word lies on. A wait does only one thing for listings: it notes what it
//! has asked for, and when.
//!
//! What is shown depends on who has opened the listing, not on who reads it. A file may be passed
//! on, also as the standard input of a program that may do more than its caller.

#![deny(unsafe_code)]

mod file;

pub(crate) use self::file::create;
use crate::{
    account::{
        Handle,
        ListingCharge, //
    },
    bindings::{
        self as uapi,
        rfutex_waiter, //
    },
    key,
    lab::{
        self,
        Point, //
    },
    mm::{
        inspect,
        number::Number,
        pid,
        task,
        time, //
    },
    queue::{
        Cursor,
        Seen,
        WaiterKind,
        STEP, //
    },
    request,
    table::Table, //
};
use kernel::{
    cred::Credential,
    current,
    iov::IovIterDest,
    new_mutex,
    pid_namespace::PidNamespace,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
    task::Task,
    transmute::AsBytes, //
};

/// A listing.
#[pin_data]
pub(crate) struct Listing {
    table: Arc<Table>,
    /// The size in bytes of what is read for each waiter.
    entry_size: usize,
    /// The credentials of who has opened the listing, his pid namespace, and the number of his mm.
    opener: ARef<Credential>,
    namespace: ARef<PidNamespace>,
    mm: Option<Number>,
    /// This is held while something is read.
    #[pin]
    state: Mutex<State>,
    _charge: ListingCharge,
}

/// How far a listing has come.
struct State {
    cursor: Pin<KBox<Cursor>>,
    /// The waiters that the cursor has found in its last step.
    seen: KVec<Seen>,
    /// How many of these were read.
    read: usize,
}

impl State {
    /// Goes on until there is a waiter that was not yet read. Returns whether there is one.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS`: a signal arrived. What was found before is not lost.
    fn find(&mut self) -> Result<bool> {
        /// After so many steps, other tasks get a chance to run. Most buckets are empty.
        const STEPS: usize = 256;
        let mut steps = 0;
        while self.read == self.seen.len() {
            self.seen.clear();
            self.read = 0;
            if !self.cursor.as_ref().step(&mut self.seen) {
                return Ok(false);
            }
            steps += 1;
            if steps % STEPS == 0 {
                check_signals()?;
            }
        }
        Ok(true)
    }

    /// Starts again.
    fn rewind(&mut self) {
        self.seen.clear();
        self.read = 0;
        self.cursor.as_ref().rewind();
    }
}

/// Lets other tasks run.
///
/// # Errors
///
/// `ERESTARTSYS`: a signal arrived.
fn check_signals() -> Result {
    if task::signal_pending() {
        return Err(ERESTARTSYS);
    }
    task::cond_resched();
    Ok(())
}

impl Listing {
    /// Makes a listing of `table` for the current task.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: the user has too many watches and listings. `ENOMEM`: there is no memory.
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep. The memory is charged to the memory cgroup of the
    /// current task.
    fn new(table: Arc<Table>, entry_size: usize) -> Result<Pin<KBox<Self>>> {
        let charge = Handle::of_current()?.charge_listing()?;
        if lab::fault(Point::Allocate) {
            return Err(ENOMEM);
        }
        let state = State {
            cursor: KBox::pin_init(Cursor::new(table.clone()), GFP_KERNEL_ACCOUNT)?,
            seen: KVec::with_capacity(STEP, GFP_KERNEL_ACCOUNT)?,
            read: 0,
        };
        let namespace = current!().active_pid_ns().ok_or(ESRCH)?.into();
        let listing = pin_init!(Self {
            table,
            entry_size,
            opener: inspect::current_credentials(),
            namespace,
            mm: task::current_mm_number(),
            state <- new_mutex!(state, "rfutex_listing"),
            _charge: charge,
        });
        KBox::pin_init(listing, GFP_KERNEL_ACCOUNT)
    }

    /// Reads as many waiters as there is room for. Returns the number of bytes, which is 0 when all
    /// were read.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: there is no room for a whole record.
    /// - `ERESTARTSYS`: a signal arrived before there was one to be read.
    /// - `EFAULT`: not even one could be written. None is lost.
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    fn read(&self, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let room = iov.len() / self.entry_size;
        if room == 0 {
            return Err(EINVAL);
        }
        let mut state = self.state.lock();
        let mut read = 0;
        let mut result = Ok(true);
        while read < room && result == Ok(true) {
            result = self.read_one(iov, &mut state, &mut read);
            if result == Ok(true) {
                result = check_signals().map(|()| true);
            }
        }
        match result {
            Err(error) if read == 0 => Err(error),
            _ => Ok(read * self.entry_size),
        }
    }

    /// Goes on to the next waiter, and reads it if it is to be shown. Returns false if there is none.
    fn read_one(
        &self,
        iov: &mut IovIterDest<'_>,
        state: &mut State,
        read: &mut usize,
    ) -> Result<bool> {
        if !state.find()? {
            return Ok(false);
        }
        if let Some(record) = self.record(&state.seen[state.read])? {
            self.copy(&record, iov)?;
            *read += 1;
        }
        state.read += 1;
        Ok(true)
    }

    /// Copies a record, with zeros behind it if the process has a longer version of it.
    ///
    /// # Errors
    ///
    /// `EFAULT`: it could not be copied as a whole.
    fn copy(&self, record: &rfutex_waiter, iov: &mut IovIterDest<'_>) -> Result {
        const ZEROS: [u8; 64] = [0; 64];
        if lab::fault(Point::CopyOut) {
            return Err(EFAULT);
        }
        let mut copy = |bytes: &[u8]| {
            if iov.copy_to_iter(bytes) == bytes.len() {
                Ok(())
            } else {
                Err(EFAULT)
            }
        };
        copy(record.as_bytes())?;
        let mut left = self.entry_size - size_of_val(record);
        while left != 0 {
            let nr = left.min(ZEROS.len());
            copy(&ZEROS[..nr])?;
            left -= nr;
        }
        Ok(())
    }

    /// What is shown of a waiter; `None` if it is not shown, or has ended.
    ///
    /// # Errors
    ///
    /// `EINTR`: the task was killed.
    fn record(&self, seen: &Seen) -> Result<Option<rfutex_waiter>> {
        let is_thread = seen.kind == WaiterKind::Task;
        // Whoever has ended still has a task until its parent hears of the end, but it tells nothing.
        let (lookup, lives) = if is_thread {
            (pid::Kind::Thread, seen.who.pid.thread().is_some())
        } else {
            (pid::Kind::Process, !seen.who.pid.process_has_ended())
        };
        let task = seen.who.pid.find_task(lookup).filter(|_| lives);
        if is_thread && task.is_none() {
            return Ok(None);
        }
        let task = task.as_deref();
        let number = seen.who.pid.number_in(&self.namespace);
        let is_ours = self.mm.is_some() && seen.mm == self.mm;
        let may_inspect = is_ours
            || match task {
                Some(task) => inspect::may_inspect(&self.opener, task),
                None => inspect::may_inspect_all(&self.opener),
            };
        let is_shown = self.table.is_own() || (number.is_some() && may_inspect);
        if !is_shown {
            return Ok(None);
        }
        // Once the process has executed another program, what its waiter has noted belongs to memory
        // that is gone, and `may_inspect` says nothing about it.
        let has_mm = |task| seen.mm.is_some() && inspect::mm_number(task) == seen.mm;
        let reveals = is_ours || may_inspect && task.is_some_and(has_mm);
        let mut record = rfutex_waiter {
            what: match seen.kind {
                WaiterKind::Task => uapi::RFUTEX_WAITER_THREAD,
                WaiterKind::Watch => uapi::RFUTEX_WAITER_WATCH,
                WaiterKind::RepeatedWatch => uapi::RFUTEX_WAITER_REPEATED_WATCH,
                #[cfg(CONFIG_IO_URING)]
                WaiterKind::Request => uapi::RFUTEX_WAITER_REQUEST,
                WaiterKind::Marker => return Ok(None),
            },
            kind: seen.id.kind().to_uapi(),
            object: self.table.object_cookie(seen.id),
            size: seen.about.word.size().bytes() as u32,
            mask: seen.mask,
            age: time::to_ns(seen.age),
            ..Default::default()
        };
        if let (Some(task), Some(number)) = (task, number) {
            if self.name(&mut record, seen, task, number).is_none() {
                return Ok(None);
            }
        }
        self.name_owner(&mut record, seen);
        locate(&mut record, seen, reveals);
        if let Some(task) = task.filter(|_| reveals) {
            find_file(&mut record, seen, task)?;
        }
        Ok(Some(record))
    }

    /// Says who waits, which is `task`; `None` if that is a thread that has ended since it was found.
    /// If it is a process, its number is `number`.
    fn name(
        &self,
        record: &mut rfutex_waiter,
        seen: &Seen,
        task: &Task,
        number: u32,
    ) -> Option<()> {
        if seen.kind == WaiterKind::Task {
            (record.thread, record.process) = inspect::numbers(task, &self.namespace)?;
        } else {
            record.process = number;
        }
        record.comm = inspect::name(task);
        Some(())
    }

    /// Says which owner the waiter has named.
    fn name_owner(&self, record: &mut rfutex_waiter, seen: &Seen) {
        let Some(owner) = &seen.who.owner else {
            return;
        };
        record.owner = owner.kind().to_uapi();
        if let Some((number, id)) = owner.in_namespace(&self.namespace) {
            (record.owner_number, record.owner_id) = (number, id);
        }
    }
}

/// Says where the word is, and what it was compared with, as far as that `may` be shown.
fn locate(record: &mut rfutex_waiter, seen: &Seen, may: bool) {
    let id = seen.id;
    let in_memory = matches!(id.kind(), key::Kind::Private | key::Kind::Mm);
    if may || !in_memory {
        (record.index, record.offset) = (id.index(), id.offset());
    }
    let addr = match id.kind() {
        key::Kind::Private | key::Kind::Mm => may.then_some(id.position()),
        key::Kind::Arena => Some(id.position()),
        // Where the process has a word that it was moved to is not known.
        key::Kind::Inode => (may && !seen.moved).then(|| seen.about.word.addr() as u64),
    };
    if let Some(addr) = addr {
        record.flags |= uapi::RFUTEX_WAITER_ADDR;
        record.addr = addr;
    }
    if may && !seen.moved {
        record.flags |= uapi::RFUTEX_WAITER_VAL;
        record.val = seen.about.val;
    }
    if may {
        record.cookie = seen.who.cookie;
    }
}

/// Says which file the word lies on, if that is still mapped where `task` has the word.
///
/// A key has only the number of an inode. What the user knows the file by is looked up here, so that
/// waiters need not keep it.
///
/// # Errors
///
/// `EINTR`: the current task was killed.
fn find_file(record: &mut rfutex_waiter, seen: &Seen, task: &Task) -> Result {
    if seen.id.kind() != key::Kind::Inode || record.flags & uapi::RFUTEX_WAITER_ADDR == 0 {
        return Ok(());
    }
    let found = inspect::file_at(task, seen.mm, seen.about.word.addr())?;
    let is_it = |number: Number| seen.id.is_inode(number);
    if let Some(found) = found.filter(|found| found.host.is_some_and(is_it)) {
        record.flags |= uapi::RFUTEX_WAITER_FILE;
        (record.dev_major, record.dev_minor) = found.device;
        record.ino = found.ino;
    }
    Ok(())
}
