// SPDX-License-Identifier: GPL-2.0

//! How many watches each user has armed, how many tables and how much arena memory he has, and how
//! many he may have.
//!
//! Users are told apart by their real user ids in the initial user namespace. The kernel has
//! counters for each user, but none that a module may use.

#[cfg(RFUTEX_KUNIT)]
mod tests;

use crate::{
    lab,
    mm::parameters, //
};
use core::ptr::NonNull;
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    current,
    new_mutex,
    prelude::*,
    rbtree::{
        Entry,
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        global_lock,
        Mutex, //
    },
    task::might_sleep, //
};

/// The accounts, by user id.
type Accounts = RBTree<u32, KBox<Account>>;

global_lock! {
    // SAFETY: `begin()` initialises the lock. It is called before all other functions here.
    unsafe(uninit) static ACCOUNTS: Mutex<Option<Accounts>> = None;
}

/// Makes the accounts ready for use.
///
/// # Safety
///
/// This must be called once, when the module is loaded, before the device can be opened.
pub(crate) unsafe fn begin() {
    // SAFETY: By the function's requirements, this is called once.
    unsafe { ACCOUNTS.init() };
}

/// What one user has armed.
///
/// # Invariants
///
/// `shares` is the sum of the worths of all [`Share`]s of this account. Once it is 0, it only
/// changes while the accounts are locked.
struct Account {
    uid: u32,
    /// How many watches the user may have armed.
    limit: u32,
    /// The charges are counted in the lower half, and the handles in the upper half.
    shares: Atomic<u64>,
    /// How many tables the user has.
    nr_tables: Atomic<u64>,
    /// How many pages the arenas of these tables have.
    nr_pages: Atomic<u64>,
}

/// What a [`Charge`] is worth.
const CHARGE: u64 = 1;

/// What a [`ListingCharge`] is worth: so many watches take as much memory as a listing, which has room
/// for what it finds in one step.
pub(crate) const LISTING: u64 = 64 * CHARGE;

/// What a [`Handle`] is worth.
const HANDLE: u64 = 1 << 32;

/// A share of the account of a user, which keeps the account in existence.
///
/// It consists of a pointer only, so that it may lie in each watch. It need not be dropped in any
/// particular order.
///
/// # Invariants
///
/// `WORTH` is counted in the account's `shares` for this share. So the account is in the tree, and
/// exists for at least as long as this does.
pub(crate) struct Share<const WORTH: u64>(NonNull<Account>);

/// Access to the account of a user, as an open set has it for who has armed watches there.
pub(crate) type Handle = Share<HANDLE>;

/// One armed watch of a user. It is counted until this is dropped.
pub(crate) type Charge = Share<CHARGE>;

/// A listing of a user, which counts as [`LISTING`] watches until this is dropped.
pub(crate) type ListingCharge = Share<LISTING>;

// SAFETY: A share may be dropped by any task: the account is only accessed atomically, or under the
// lock of the accounts.
unsafe impl<const WORTH: u64> Send for Share<WORTH> {}

// SAFETY: The account is only accessed atomically, but for fields that do not change.
unsafe impl<const WORTH: u64> Sync for Share<WORTH> {}

impl<const WORTH: u64> Share<WORTH> {
    fn account(&self) -> &Account {
        // SAFETY: By the type invariants, the account exists.
        unsafe { self.0.as_ref() }
    }
}

impl Handle {
    /// The account of the current task's user.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no memory.
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    pub(crate) fn of_current() -> Result<Self> {
        Self::of(current_uid(), parameters::watches())
    }

    /// The account of the user `uid`, who may have armed `limit` watches, unless there is an
    /// account already.
    fn of(uid: u32, limit: u32) -> Result<Self> {
        // Nothing is allocated while the accounts are locked, because that may take long if the
        // memory of this user's cgroup is used up.
        if let Some(account) = ACCOUNTS.lock().as_ref().and_then(|all| all.get(&uid)) {
            return Ok(Self::counted(account));
        }
        if lab::fault(lab::Point::Allocate) {
            return Err(ENOMEM);
        }
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let account = KBox::new(
            Account {
                uid,
                limit,
                shares: Atomic::new(0),
                nr_tables: Atomic::new(0),
                nr_pages: Atomic::new(0),
            },
            GFP_KERNEL_ACCOUNT,
        )?;
        let mut accounts = ACCOUNTS.lock();
        let account = match accounts.get_or_insert_with(RBTree::new).entry(uid) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(account, node),
        };
        Ok(Self::counted(account))
    }

    /// A handle of this account. The caller has locked the accounts.
    fn counted(account: &Account) -> Self {
        account.shares.add(HANDLE, Relaxed);
        // INVARIANT: The handle was just counted, while the accounts are locked.
        Share(NonNull::from(account))
    }

    /// Whether this is the account of the current task's user.
    #[inline]
    pub(crate) fn is_of_current(&self) -> bool {
        self.account().uid == current_uid()
    }

    /// Counts one more armed watch.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: the user has as many as he may have.
    ///
    /// # Context
    ///
    /// Any context. Does not sleep.
    #[inline]
    pub(crate) fn charge(&self) -> Result<Charge> {
        self.charge_as()
    }

    /// Counts one more listing, which counts as several watches.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: the user has too many watches and listings.
    ///
    /// # Context
    ///
    /// Any context. Does not sleep.
    pub(crate) fn charge_listing(&self) -> Result<ListingCharge> {
        self.charge_as()
    }

    /// Counts `WORTH` more armed watches.
    #[inline]
    fn charge_as<const WORTH: u64>(&self) -> Result<Share<WORTH>> {
        let account = self.account();
        let mut shares = account.shares.load(Relaxed);
        loop {
            // The lower half of the shares.
            if u64::from(shares as u32) + WORTH > account.limit.into() {
                return Err(ENOSPC);
            }
            // This does not overflow the lower half, which stays within the limit.
            match account.shares.cmpxchg(shares, shares + WORTH, Relaxed) {
                // INVARIANT: The charge was just counted. The shares were not 0 then, because this
                // handle is one of them.
                Ok(_) => return Ok(Share(self.0)),
                Err(now) => shares = now,
            }
        }
    }
}

/// A table of a user, and the pages of its arena. They are counted until this is dropped.
///
/// # Invariants
///
/// One table and `nr_pages` pages are counted in the account of `handle` for this.
pub(crate) struct TableCharge {
    handle: Handle,
    nr_pages: u64,
}

impl TableCharge {
    /// Counts a table of the current task's user, whose arena has `nr_pages` pages.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: the user has as many tables, or as much arena memory, as are allowed. `ENOMEM`:
    /// there is no memory.
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    pub(crate) fn of_current(nr_pages: usize) -> Result<Self> {
        let limits = (parameters::tables(), parameters::arena_pages());
        Self::new(Handle::of_current()?, nr_pages as u64, limits)
    }

    /// Counts a table in the account of `handle`. The limits are those of tables and of pages.
    fn new(handle: Handle, nr_pages: u64, (tables, pages): (u32, u64)) -> Result<Self> {
        let account = handle.account();
        take(&account.nr_tables, 1, tables.into())?;
        if let Err(error) = take(&account.nr_pages, nr_pages, pages) {
            account.nr_tables.fetch_sub(1, Relaxed);
            return Err(error);
        }
        // INVARIANT: Both were just counted.
        Ok(Self { handle, nr_pages })
    }
}

impl Drop for TableCharge {
    /// Where this may be dropped, a [`Handle`] may be.
    fn drop(&mut self) {
        let account = self.handle.account();
        account.nr_pages.fetch_sub(self.nr_pages, Relaxed);
        account.nr_tables.fetch_sub(1, Relaxed);
    }
}

/// Adds `nr` to a counter that may become as large as `limit`.
///
/// # Errors
///
/// `ENOSPC`: it would become larger.
fn take(counter: &Atomic<u64>, nr: u64, limit: u64) -> Result {
    let mut now = counter.load(Relaxed);
    loop {
        let sum = now.checked_add(nr).filter(|&sum| sum <= limit);
        match counter.cmpxchg(now, sum.ok_or(ENOSPC)?, Relaxed) {
            Ok(_) => return Ok(()),
            Err(changed) => now = changed,
        }
    }
}

/// The account of whoever has used this last, for something that is mostly used by one user.
#[pin_data]
pub(crate) struct CurrentAccount {
    #[pin]
    last: Mutex<Option<Handle>>,
}

impl CurrentAccount {
    /// No account yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            last <- new_mutex!(None, "rfutex_current_account"),
        })
    }

    /// Counts one more for the user of the current task.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: the user has as many as are allowed. `ENOMEM`: there is no memory.
    ///
    /// # Context
    ///
    /// Process context, no spinlocks held. May sleep.
    pub(crate) fn charge(&self) -> Result<Charge> {
        let mut last = self.last.lock();
        match &*last {
            Some(handle) if handle.is_of_current() => handle.charge(),
            _ => last.insert(Handle::of_current()?).charge(),
        }
    }

    /// Gives the account back.
    ///
    /// # Context
    ///
    /// As [`Self::charge`].
    pub(crate) fn clear(&self) {
        drop(self.last.lock().take());
    }
}

impl<const WORTH: u64> Drop for Share<WORTH> {
    /// Gives the share back. Nobody may hold a spinlock then: if it is the last one, the account is
    /// removed, which may sleep.
    #[inline]
    fn drop(&mut self) {
        if cfg!(CONFIG_DEBUG_ATOMIC_SLEEP) {
            might_sleep();
        }
        let uid = self.account().uid;
        // Release, so that whoever frees the account does so after this.
        if self.account().shares.fetch_sub(WORTH, Release) == WORTH {
            remove(uid);
        }
    }
}

/// Removes the account of the user `uid` if there is one that nobody has a share of.
///
/// Whoever has given back the last share calls this. By the time it runs, somebody else may have
/// found the account again, or removed it.
#[cold]
fn remove(uid: u32) {
    let mut accounts = ACCOUNTS.lock();
    let account = accounts
        .as_mut()
        .and_then(|accounts| accounts.find_mut(&uid))
        .filter(|entry| entry.get().shares.load(Acquire) == 0)
        // INVARIANT: Nobody has a share of this account, and nobody can get one, because the
        // accounts are locked.
        .map(|entry| entry.remove_node());
    drop(accounts);
    drop(account);
}

/// The real user id of the current task, in the initial user namespace.
#[inline]
fn current_uid() -> u32 {
    current!().uid().into_raw().val
}
