// SPDX-License-Identifier: GPL-2.0

//! The VMA resolver, which looks at what is mapped at the address, and touches no page.
//!
//! The first implementation of futex(2), in 2003, did the same (thread 003): a word in a shared
//! mapping of a file is identified by the file and the position in it, any other word by its
//! address. That implementation took mmap_lock. This resolver takes no lock as long as nobody
//! changes the address space. Otherwise, or if the inode has no number yet, it takes the read lock
//! of the VMA; and it takes mmap_lock only if somebody is changing that VMA, if nothing is mapped
//! there, or if the kernel does not export to modules what locks a VMA.
//!
//! Because the resolver does not look at pages, a word has a key even if there is no page: a wake
//! on a word that lies beyond the end of the file finds nobody, where the page resolver returns
//! `EFAULT`. The other differences are described in Documentation/rfutex.rst.

use super::{
    resolver::repeat,
    Borrowed,
    Check,
    Object,
    Resolve,
    Resolver,
    Visit, //
};
use crate::{
    mm::{
        gup::Access,
        inode::{
            DeferredPut,
            Host, //
        },
        number::Number,
        speculation::Speculation,
        vma::{
            Area,
            MmapLock,
            VmaLock, //
        },
    },
    trace::{
        self,
        Step, //
    },
};
use kernel::{
    prelude::*,
    sync::rcu, //
};

/// The VMA resolver. See the [module](self).
pub(crate) struct Vma;

impl Resolve for Vma {
    /// Ignores `access`, because a caller that is going to write to the word notices then that it
    /// may not; and `any_file`, because it always refuses what `Host::mappable_by_users` does.
    #[inline(always)]
    fn resolve<R>(
        addr: usize,
        _access: Access,
        _any_file: bool,
        mut visitor: impl Visit<R>,
    ) -> Result<R> {
        // The most common case is that nobody changes the address space.
        match speculate(addr, &mut visitor)? {
            Some(Ok(result)) => return Ok(result),
            Some(Err(deferred)) => drop(deferred),
            None => {}
        }
        locked(addr, visitor)
    }
}

/// Resolves the word with locks: nothing may be mapped there, the inode may have no number yet, or
/// somebody may be changing the address space.
#[cold]
#[inline(never)]
fn locked<R>(addr: usize, mut visitor: impl Visit<R>) -> Result<R> {
    repeat(|| attempt(addr, &mut visitor))
}

/// Makes one attempt without a lock. Returns `None` if only an attempt with a lock can tell.
#[inline(always)]
fn speculate<R>(
    addr: usize,
    visitor: &mut impl Visit<R>,
) -> Result<Option<Result<R, DeferredPut>>> {
    let rcu = rcu::read_lock();
    let Some(speculation) = Speculation::begin(&rcu) else {
        return Ok(with_lock(Step::MmapLocked));
    };
    let Some(area) = speculation.area(addr) else {
        return Ok(with_lock(Step::NoArea));
    };
    // What was seen may already be something else, which must not be given a number. So the number
    // is only read here.
    let key = key(area, addr, Host::number, |host| {
        Object::Seen(host, Check::Mapped(speculation), &rcu)
    });
    if !speculation.holds() {
        return Ok(with_lock(Step::AreaChanged));
    }
    match key? {
        Some(key) => Ok(Some(visitor.visit(&key))),
        None => Ok(with_lock(Step::NoNumber)),
    }
}

/// What [`speculate`] returns if it could not tell, because of this `step`.
#[inline(always)]
fn with_lock<R>(step: Step) -> Option<R> {
    trace::retry(Resolver::Vma, step);
    None
}

/// Makes one attempt with the read lock of the VMA, or else with mmap_lock.
fn attempt<R>(addr: usize, visitor: &mut impl Visit<R>) -> Result<Result<R, DeferredPut>> {
    if let Some(lock) = VmaLock::try_take(addr) {
        return visit_kept(lock.area(), addr, visitor);
    }
    #[cfg(RFUTEX_VMA_LOCK)]
    trace::retry(Resolver::Vma, Step::VmaLocked);
    let lock = MmapLock::take()?;
    visit_kept(lock.area(addr)?, addr, visitor)
}

/// Visits the key of the word at `addr`, which lies in `area`, while a lock keeps what is mapped
/// there. So an inode that has no number yet can be given one.
fn visit_kept<R>(
    area: Area<'_>,
    addr: usize,
    visitor: &mut impl Visit<R>,
) -> Result<Result<R, DeferredPut>> {
    let number = |host: Host<'_>| Some(host.number_or_give());
    match key(area, addr, number, Object::Kept)? {
        Some(key) => Ok(visitor.visit(&key)),
        None => Ok(Err(DeferredPut::Nothing)),
    }
}

/// The key of the word at `addr`, which lies in `area`; `None` if the inode has no number.
///
/// `number` returns the number of an inode, and `object` says what keeps that inode valid.
///
/// # Errors
///
/// `EFAULT`: the word lies on something that two processes cannot meet on.
#[inline(always)]
fn key<'a>(
    area: Area<'a>,
    addr: usize,
    number: impl FnOnce(Host<'a>) -> Option<Number>,
    object: impl FnOnce(Host<'a>) -> Object<'a>,
) -> Result<Option<Borrowed<'a>>> {
    match area.shared_file(addr)? {
        None => Borrowed::in_process(addr, None).map(Some),
        Some((host, position)) if host.mappable_by_users() => {
            let number = number(host);
            Ok(number.map(|number| Borrowed::in_file(number, position, None, object(host))))
        }
        Some(_) => Err(EFAULT),
    }
}

#[cfg(RFUTEX_KUNIT)]
#[kunit_tests(rfutex_vma)]
mod tests {
    use super::{
        super::{
            visit,
            Hold,
            KeyId,
            OwnedKey,
            Resolver, //
        },
        *, //
    };
    use crate::{
        lab::{
            kunit::{
                self,
                forced,
                killed,
                resolve,
                Access::ReadWrite,
                Mapping,
                OnFile, //
            },
            Point, //
        },
        word::Word, //
    };

    /// The key that a wait finds.
    fn own(word: Word) -> Result<OwnedKey> {
        kunit::own(Resolver::Vma, word)
    }

    /// The key that a wake finds.
    fn found(word: Word) -> Result<KeyId> {
        resolve(Resolver::Vma, word)
    }

    /// Calls `visitor` with the key of the word.
    fn with_borrowed<R>(
        word: Word,
        visitor: impl FnMut(&Borrowed<'_>) -> Result<R, DeferredPut>,
    ) -> Result<R> {
        visit(Resolver::Vma, word, Access::Read, Hold::Inode, visitor)
    }

    /// A file whose inode has a number already, so that the resolver needs no lock to find a key.
    fn numbered() -> Result<OnFile> {
        let on_file = OnFile::new()?;
        resolve(Resolver::Page, on_file.word(0)?)?;
        Ok(on_file)
    }

    #[test]
    fn finds_what_the_page_resolver_finds() -> Result {
        let on_file = OnFile::new()?;
        let anonymous = Mapping::anonymous(2, ReadWrite)?;
        for word in [on_file.word(8)?, anonymous.word(8), anonymous.word(4100)] {
            // The first resolver that looks at the inode gives it a number.
            let by_vma = found(word)?;
            assert!(resolve(Resolver::Page, word)? == by_vma);
            assert!(found(word)? == by_vma);
            assert!(own(word)?.id() == by_vma);
        }
        Ok(())
    }

    #[test]
    fn owned_key_refers_to_inode_and_superblock_alone() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        let key = own(word)?;
        let during = on_file.counts();
        drop(key);
        assert!(during == before.plus(1, 1, 0));
        assert!(on_file.counts() == before);
        Ok(())
    }

    #[test]
    fn borrowed_key_refers_to_nothing() -> Result {
        let on_file = numbered()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        let during = with_borrowed(word, |_: &Borrowed<'_>| Ok(on_file.counts()))?;
        assert!(during == before);
        assert!(on_file.counts() == before);
        Ok(())
    }

    /// Runs `what`, in which the resolver has to take a lock: mmap_lock if `mmap_lock` is true,
    /// else the VMA's.
    ///
    /// # Errors
    ///
    /// `EDOM`: the resolver did not try to do without that lock exactly once.
    fn locked<T>(mmap_lock: bool, what: impl FnOnce() -> T) -> Result<T> {
        let vma_locked = u32::from(mmap_lock);
        let ((result, second), first) = forced(Point::MmapLocked, 1, || {
            forced(Point::VmaLocked, vma_locked, what)
        });
        if (first, second) == (1, vma_locked) {
            Ok(result)
        } else {
            Err(EDOM)
        }
    }

    #[test]
    fn either_lock_will_do() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        let undisturbed = own(word)?.id();
        for mmap_lock in [false, true] {
            let owned = locked(mmap_lock, || own(word).map(|key| key.id()))?;
            assert!(owned? == undisturbed);
            let resolved = locked(mmap_lock, || found(word))?;
            assert!(resolved? == undisturbed);
            assert!(on_file.counts() == before);
        }
        Ok(())
    }

    #[test]
    fn nothing_counts_that_was_seen_while_it_changed() -> Result {
        let on_file = numbered()?;
        let anonymous = Mapping::anonymous(1, ReadWrite)?;
        // With a lock, the same is found. The lock matters most to the key of anonymous memory,
        // which is not checked again when it is used.
        for word in [on_file.word(8)?, anonymous.word(8)] {
            let undisturbed = found(word)?;
            let ((again, changed), locked) = forced(Point::VmaLocked, 1, || {
                forced(Point::AreaChanged, 1, || found(word))
            });
            assert!(again? == undisturbed);
            assert_eq!((changed, locked), (1, 1));
        }
        Ok(())
    }

    #[test]
    fn another_attempt_begins_with_no_lock() -> Result {
        let on_file = numbered()?;
        let word = on_file.word(8)?;
        let attempts = |left: &mut u32| {
            with_borrowed(word, |key: &Borrowed<'_>| {
                *left -= 1;
                if *left == 0 {
                    key.id()
                } else {
                    Err(DeferredPut::Nothing)
                }
            })
        };
        // The first attempt is made without a lock, with the VMA's lock, or with mmap_lock. The
        // attempts that follow it begin anew.
        let (mut none, mut vma, mut mmap) = (3, 3, 3);
        let found = [
            attempts(&mut none),
            locked(false, || attempts(&mut vma))?,
            locked(true, || attempts(&mut mmap))?,
        ];
        for key in found {
            assert!(key? == own(word)?.id());
        }
        assert_eq!((none, vma, mmap), (0, 0, 0));
        Ok(())
    }

    #[test]
    fn key_holds_as_long_as_nothing_else_is_mapped() -> Result {
        let on_file = numbered()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        let seq = Speculation::begin(&rcu::read_lock()).ok_or(EDOM)?.seq();
        drop(Mapping::anonymous(1, ReadWrite)?);
        let (mut held, mut holds, mut attempts) = (false, true, 0);
        let owned = with_borrowed(word, |key: &Borrowed<'_>| {
            let mut key = *key;
            attempts += 1;
            // This is true of the first attempt only: the second has a lock.
            if let Object::Seen(_, Check::Mapped(speculation), _) = &mut key.object {
                held = speculation.holds();
                *speculation = speculation.begun_at(seq);
                holds = key.still_holds();
            }
            key.own()
        })?;
        let during = on_file.counts();
        assert!(held && !holds);
        assert_eq!(attempts, 2);
        assert!(owned.id() == own(word)?.id());
        drop(owned);
        assert!(during == before.plus(1, 1, 0));
        assert!(on_file.counts() == before);
        Ok(())
    }

    #[test]
    fn fatal_signal_ends_the_attempts() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let mut visits = 0;
        let result = killed(|| {
            with_borrowed(word, |_: &Borrowed<'_>| {
                visits += 1;
                Err::<(), _>(DeferredPut::Nothing)
            })
        });
        assert!(result == Err(EINTR));
        assert_eq!(visits, 1);
        Ok(())
    }

    #[test]
    fn locked_folio_stops_nobody() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let (owned, resolved) =
            on_file.with_folio_locked(|| (own(word).map(|key| key.id()), found(word)))?;
        assert!(owned? == resolved?);
        Ok(())
    }

    #[test]
    fn nothing_is_found_where_nothing_is_mapped() -> Result {
        let memory = Mapping::anonymous(1, ReadWrite)?;
        let word = memory.word(0);
        assert!(own(word).is_ok());
        drop(memory);
        assert!(own(word).err() == Some(EFAULT));
        assert!(found(word) == Err(EFAULT));
        Ok(())
    }

    #[test]
    fn number_is_given_under_a_lock_alone() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let seen = core::cell::Cell::new(None);
        let visits = || {
            with_borrowed(word, |key: &Borrowed<'_>| {
                seen.set(Some(matches!(key.object, Object::Kept(_))));
                key.id()
            })
        };
        let first = visits()?;
        assert!(seen.take() == Some(true));
        // Now that the inode has a number, no lock is needed.
        assert!(visits()? == first);
        assert!(seen.take() == Some(false));
        Ok(())
    }
}
