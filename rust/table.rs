// SPDX-License-Identifier: GPL-2.0

//! The hash table, which decides in which bucket the waiters on a key queue.

#![deny(unsafe_code)]

#[cfg(RFUTEX_KUNIT)]
mod tests;

use crate::{
    account::TableCharge,
    arena::Arena,
    key::{
        Hold,
        KeyId, //
    },
    lab,
    mm::{
        arch,
        random,
        siphash,
        task,
        totalram,
        uaccess::Mismatch, //
    },
    queue::{
        Bucket,
        BucketSlot,
        Buckets,
        Pair, //
    },
    word::Word,
};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::Arc, //
};

/// The number of buckets, on a machine with enough memory, if the user does not choose one.
///
/// More would not be worth their memory: with a hundred thousand waiters, there are two per bucket
/// on average, and about one counter in six is not zero. So a wake that finds nobody seldom has to
/// search a queue.
const DEFAULT_BUCKETS: usize = 1 << 16;

/// If the user does not choose the number, the buckets use at most one part in this many of the
/// memory.
const DEFAULT_SHARE: usize = 256;

/// If the user does not choose the number, there are at least this many buckets for each possible
/// CPU, so that CPUs seldom compete for the same lock.
const MIN_PER_CPU: usize = 256;

/// The largest number of buckets that the user can choose.
const MAX_BUCKETS: u32 = 1 << 20;

/// A hash table of waiters.
pub(crate) struct Table {
    buckets: Buckets,
    /// The key of the hash that chooses the bucket.
    secret: Secret,
    /// The key of the hash that hides the numbers of objects from users.
    cookie_key: siphash::Key,
    hold: Hold,
    arena: Option<Arena>,
    /// What is charged to the user who has made the table, if it is one of his own. This is dropped
    /// after the memory was freed.
    charge: Option<TableCharge>,
}

/// The key of the table's hash.
///
/// Without knowing it, and without measuring how long operations on buckets take, nobody can choose
/// words whose keys collide. The hash is made to be fast. It is not a cryptographic hash.
#[derive(Clone, Copy)]
pub(crate) struct Secret([u64; 3]);

impl Secret {
    fn new([a, b]: [u64; 2]) -> Self {
        // The third part is a multiplier. It is the first part, made odd.
        Self([a, b, a | 1])
    }

    /// A random secret, which nobody can guess.
    fn random() -> Self {
        Self::new([random::number(), random::number()])
    }

    /// A secret that a test chooses.
    #[cfg(RFUTEX_KUNIT)]
    pub(crate) fn chosen(parts: [u64; 2]) -> Self {
        Self::new(parts)
    }

    /// The hash of a key.
    ///
    /// The two numbers of the key are each combined with a part of the secret, multiplied, and the
    /// two halves of the product are folded into one. This is then done a second time, with the
    /// third part of the secret, because the first result may differ from that of another key in a
    /// few bits only.
    #[inline]
    pub(crate) fn hash(self, id: KeyId) -> u64 {
        let fold = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            (product as u64) ^ (product >> 64) as u64
        };
        let (object, position) = id.parts();
        fold(fold(object ^ self.0[0], position ^ self.0[1]), self.0[2])
    }
}

/// The default number of buckets on a machine with `ram_bytes` of memory and `cpus` possible CPUs.
fn by_default(ram_bytes: usize, cpus: usize) -> usize {
    let affordable = ram_bytes / DEFAULT_SHARE / size_of::<Bucket>();
    // Round down to a power of two.
    let affordable = (affordable / 2 + 1).next_power_of_two();
    affordable
        .min(DEFAULT_BUCKETS)
        .max(MIN_PER_CPU.saturating_mul(cpus))
        .min(MAX_BUCKETS as usize)
}

impl Table {
    /// Makes a table of `nr_buckets` buckets, which is rounded up to a power of two. 0 means the
    /// default number for this machine. Tasks that sleep on words of files hold what `hold` says.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `nr_buckets` is too large. `ENOMEM`: there is no memory.
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    pub(crate) fn new(nr_buckets: u32, hold: Hold) -> Result<Arc<Self>> {
        if nr_buckets > MAX_BUCKETS {
            return Err(EINVAL);
        }
        let nr = match nr_buckets {
            0 => by_default(totalram::bytes(), kernel::cpu::nr_cpu_ids() as usize),
            nr => nr as usize,
        };
        let nr = nr.next_power_of_two();
        if lab::fault(lab::Point::Allocate) {
            return Err(ENOMEM);
        }
        // The memory is not charged to the cgroup of the task that loads the module.
        Self::with_flags(nr, hold, None, None, GFP_KERNEL)
    }

    /// Makes a table that belongs to a user, and has an `arena` if there is one. The parameters are
    /// otherwise those of [`Self::new`], but `nr_buckets` must not be 0.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    ///
    /// # Context
    ///
    /// As [`Self::new`]. The memory is charged to the memory cgroup of the current task.
    pub(crate) fn own(
        nr_buckets: u32,
        hold: Hold,
        arena: Option<Arena>,
        charge: TableCharge,
    ) -> Result<Arc<Self>> {
        if !(1..=MAX_BUCKETS).contains(&nr_buckets) {
            return Err(EINVAL);
        }
        let nr = (nr_buckets as usize).next_power_of_two();
        if lab::fault(lab::Point::Allocate) {
            return Err(ENOMEM);
        }
        Self::with_flags(nr, hold, arena, Some(charge), GFP_KERNEL_ACCOUNT)
    }

    /// Makes a table of `nr` buckets, a power of two, in memory that is allocated with `flags`.
    fn with_flags(
        nr: usize,
        hold: Hold,
        arena: Option<Arena>,
        charge: Option<TableCharge>,
        flags: Flags,
    ) -> Result<Arc<Self>> {
        let table = Self {
            buckets: Buckets::new(nr, flags)?,
            secret: Secret::random(),
            cookie_key: siphash::Key::random(),
            hold,
            arena,
            charge,
        };
        Ok(Arc::new(table, flags)?)
    }

    /// The memory of the table, if it has any.
    #[inline]
    pub(crate) fn arena(&self) -> Option<&Arena> {
        self.arena.as_ref()
    }

    /// The key of a word in the arena.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the table has no arena. `EFAULT`: the word lies beyond its end.
    #[inline]
    pub(crate) fn key_in_arena(&self, word: Word) -> Result<KeyId> {
        self.arena.as_ref().ok_or(EINVAL)?.key(word)
    }

    /// Compares a word in the arena. See [`Arena::compare`].
    #[inline]
    pub(crate) fn compare_in_arena(&self, word: Word, val: u64) -> Result<(), Mismatch> {
        match &self.arena {
            Some(arena) => arena.compare(word, val),
            // There is no key of such a word, so nobody gets as far as this.
            None => Err(Mismatch::Changed),
        }
    }

    /// Changes a word in the arena. See [`Arena::update`].
    pub(crate) fn update_in_arena(&self, word: Word, new: impl Fn(u64) -> u64) -> Result<u64> {
        self.arena.as_ref().ok_or(EINVAL)?.update(word, new)
    }

    /// Where the waiters on the key `id` are.
    #[inline]
    pub(crate) fn slot(&self, id: KeyId) -> BucketSlot<'_> {
        self.buckets.at_hash(self.secret.hash(id))
    }

    /// Locks the buckets of two keys. See [`Buckets::pair`].
    ///
    /// # Context
    ///
    /// Does not sleep. The caller must not hold the lock of any bucket.
    #[inline]
    pub(crate) fn pair(&self, from: KeyId, to: KeyId) -> Pair<'_> {
        self.buckets
            .pair(self.secret.hash(from), self.secret.hash(to))
    }

    /// A number that stands for the object of the key for as long as the table exists, and reveals
    /// nothing else about the object.
    pub(crate) fn object_cookie(&self, id: KeyId) -> u64 {
        self.cookie_key.hash(id.object())
    }

    /// A number that stands for what lies at the kernel address `addr`, and does not reveal the
    /// address.
    #[cfg(CONFIG_TRACEPOINTS)]
    pub(crate) fn address_cookie(&self, addr: usize) -> u64 {
        self.cookie_key.hash(addr as u64)
    }

    /// What tasks hold while they sleep on words of files.
    #[inline]
    pub(crate) fn hold(&self) -> Hold {
        self.hold
    }

    /// Whether anybody waits here, or is about to.
    pub(crate) fn anybody_waits(&self) -> bool {
        // Whoever is not counted yet reads his word after what the caller has seen.
        arch::smp_mb();
        self.buckets.as_slice().iter().any(Bucket::has_waiters)
    }

    /// The buckets.
    pub(crate) fn buckets(&self) -> &[Bucket] {
        self.buckets.as_slice()
    }

    /// Whether the table is one of a user's own, not the one that all share.
    pub(crate) fn is_own(&self) -> bool {
        self.charge.is_some()
    }

    /// A number that stands for the table for as long as it exists, and reveals nothing else.
    pub(crate) fn cookie(&self) -> u64 {
        // No object has the number 0.
        self.cookie_key.hash(0)
    }

    /// How many wait here, or are about to.
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep.
    pub(crate) fn nr_waiting(&self) -> u64 {
        /// After so many buckets, other tasks get a chance to run.
        const BATCH: usize = 4096;
        let mut nr = 0i64;
        for buckets in self.buckets().chunks(BATCH) {
            let counters = buckets.iter().flat_map(Bucket::nr_waiters);
            nr += counters.map(i64::from).sum::<i64>();
            task::cond_resched();
        }
        nr as u64
    }

    /// The number of buckets.
    pub(crate) fn nr_buckets(&self) -> usize {
        self.buckets.as_slice().len()
    }

    /// The values of all counters of all buckets.
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn nr_waiters(&self) -> impl Iterator<Item = i32> + '_ {
        self.buckets.as_slice().iter().flat_map(Bucket::nr_waiters)
    }
}
