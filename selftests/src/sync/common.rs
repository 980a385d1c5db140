// SPDX-License-Identifier: GPL-2.0
//! Locks in memory that processes share.

use crate::harness::{Mapping, PAGE, fx};
use crate::memory::memfd;
use rfutex::sync::lock_api::{Mutex, RwLock};
use rfutex::sync::{Barrier, Condvar, Latch, Once, RawMutex, RawRwLock, Scope, Semaphore};
use rfutex::{Arena, InArena, Table, TableOptions, Word};
use std::fs::File;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// What can lie in memory that processes share.
///
/// # Safety
///
/// It must be valid when all its bytes are zero, and have no pointers.
pub unsafe trait InCommon: Send + Sync + 'static {}

macro_rules! in_common {
    ($($what:ty),*) => {$(
        // SAFETY: So it is for integers, and the crate says so of its locks.
        unsafe impl<S: Scope> InCommon for $what {}
    )*};
}

in_common!(
    RawMutex<S>,
    RawRwLock<S>,
    Condvar<S>,
    Semaphore<S>,
    Barrier<S>,
    Once<S>,
    Latch<S>
);

// SAFETY: So it is for integers.
unsafe impl InCommon for u64 {}
// SAFETY: As above.
unsafe impl InCommon for AtomicU32 {}
// SAFETY: As above.
unsafe impl InCommon for AtomicU64 {}
// SAFETY: It is the two in some order, which is the same in all processes of a program.
unsafe impl<S: Scope, T: InCommon> InCommon for Mutex<RawMutex<S>, T> {}
// SAFETY: As above.
unsafe impl<S: Scope, T: InCommon> InCommon for RwLock<RawRwLock<S>, T> {}
// SAFETY: So it is if it is so for each.
unsafe impl<T: InCommon, const N: usize> InCommon for [T; N] {}
// SAFETY: As above.
unsafe impl<A: InCommon, B: InCommon> InCommon for (A, B) {}
// SAFETY: As above.
unsafe impl<A: InCommon, B: InCommon, C: InCommon> InCommon for (A, B, C) {}

/// Something that processes have in an arena.
#[repr(transparent)]
struct Whole<T>(T);

// SAFETY: It is so by the other trait, and the tests have nothing else in these arenas.
unsafe impl<T: InCommon> InArena for Whole<T> {}

/// Memory that processes share, mapped.
#[derive(Debug)]
enum Memory {
    File(File, Mapping),
    Arena(Arc<Table>, Arena),
}

/// Something in memory that processes share.
///
/// # Invariants
///
/// The memory begins with a valid `T`, to which there are shared references only.
#[derive(Debug)]
pub struct Common<T> {
    memory: Memory,
    what: PhantomData<T>,
}

impl<T: InCommon> Common<T> {
    const LEN: usize = size_of::<T>().next_multiple_of(PAGE);

    /// As it is when all its bytes are zero.
    pub fn zeroed() -> Self {
        Self::in_file(memfd(Self::LEN))
    }

    /// With this value at first.
    pub fn of(value: T) -> Self {
        let new = Self::zeroed();
        // SAFETY: It is the beginning of a mapping that is large enough and aligned to a page;
        // nobody else knows it yet.
        unsafe { new.place().write(value) };
        new
    }

    /// The same in the arena of a table of its own.
    pub fn of_in_arena(value: T) -> Self {
        let options = TableOptions::new().arena(Self::LEN as u64);
        let table = Table::create(fx(), options).expect("a table");
        let new = Self::in_arena(Arc::new(table));
        // SAFETY: Nobody else knows the memory yet.
        unsafe { new.arena().init(0, Whole(value)) }.expect("it is large enough");
        new
    }

    /// The same memory at another address.
    pub fn again(&self) -> Self {
        let again = match &self.memory {
            Memory::File(file, _) => Self::in_file(file.try_clone().expect("a descriptor")),
            Memory::Arena(table, _) => Self::in_arena(table.clone()),
        };
        assert_ne!(again.place(), self.place());
        again
    }

    fn in_file(file: File) -> Self {
        assert!(align_of::<T>() <= PAGE);
        let map = Mapping::shared_file(&file, Self::LEN);
        // INVARIANT: A new file is zeroed, which is a valid `T`, and `of` puts another there.
        Self {
            memory: Memory::File(file, map),
            what: PhantomData,
        }
    }

    fn in_arena(table: Arc<Table>) -> Self {
        let arena = Arena::map(table.clone()).expect("it is mapped");
        // INVARIANT: As with a file.
        Self {
            memory: Memory::Arena(table, arena),
            what: PhantomData,
        }
    }

    /// The arena in which it is.
    pub fn arena(&self) -> &Arena {
        match &self.memory {
            Memory::File(..) => panic!("it is not in an arena"),
            Memory::Arena(_, arena) => arena,
        }
    }

    fn place(&self) -> NonNull<T> {
        match &self.memory {
            Memory::File(_, map) => NonNull::from(map.atomic::<AtomicU64>(0)).cast(),
            Memory::Arena(_, arena) => {
                let whole = arena.get::<Whole<T>>(0).expect("it is large enough");
                NonNull::from(&whole.0)
            }
        }
    }
}

impl<T: InCommon> Deref for Common<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type invariants. What other processes do to it, they do as its type
        // allows.
        unsafe { self.place().as_ref() }
    }
}

/// The word of `size` bytes with which `lock` begins, on which its threads sleep.
pub fn word_of<L>(lock: &L, size: u32) -> Word<'static> {
    Word::at(std::ptr::from_ref(lock).addr() as u64, size)
}
