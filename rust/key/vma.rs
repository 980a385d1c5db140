// SPDX-License-Identifier: GPL-2.0

//! The VMA resolver: looks at what is mapped, and touches no page.
//!
//! As the first futexes did (003): a shared mapping of a file is known by the file and the position
//! in it, everything else by the address. What was mmap_lock then is no lock at all here, as long as
//! nobody changes what is mapped; then a VMA's own lock, as long as nobody changes that one.
//!
//! A key does not tell whether there is a page. So a wake on a word that lies beyond the end of the
//! file finds nobody, where the page resolver finds no key. The other differences are in
//! Documentation/rfutex.rst.

use super::{
    Borrowed,
    Kind,
    Place,
    Resolve,
    Visit,
    Witness, //
};
use crate::{
    mm::{
        gup::Access,
        inode::Host,
        speculation::Speculation,
        vma::{
            Area,
            MmapLock,
            VmaLock, //
        },
    },
    request::Word,
};
use kernel::{
    prelude::*,
    sync::rcu, //
};

/// See the [module](self).
pub(crate) struct Vma;

impl Resolve for Vma {
    /// What is written out here is the commonest case alone: nobody changes what is mapped.
    /// `access` is not looked at: who may not write finds out by writing.
    #[inline(always)]
    fn borrow<R, E: Default>(
        word: Word,
        _access: Access,
        mut visitor: impl Visit<R, E>,
    ) -> Result<R> {
        match speculate(word, &mut visitor)? {
            Some(Ok(result)) => Ok(result),
            Some(Err(left)) => slowly(left, word, visitor),
            None => slowly(E::default(), word, visitor),
        }
    }

    fn borrow_both<R>(
        first: Word,
        second: Word,
        mut f: impl FnMut(&Borrowed<'_>, &Borrowed<'_>) -> Option<R>,
    ) -> Result<R> {
        if let Some(result) = speculate_both(first, second, &mut f)? {
            return Ok(result);
        }
        // Two VMA locks could not be taken one after the other: who changes them all waits for the
        // first, and the second waits for that.
        super::again((), || {
            let lock = MmapLock::take()?;
            let one = key(lock.area(first.addr())?, first, Place::Held)?;
            let other = key(lock.area(second.addr())?, second, Place::Held)?;
            Ok(f(&one, &other).ok_or(()))
        })
    }
}

/// One attempt without a lock. `None`: nothing is mapped there, or somebody is changing what is.
#[inline(always)]
fn speculate<R, E>(word: Word, visitor: &mut impl Visit<R, E>) -> Result<Option<Result<R, E>>> {
    let rcu = rcu::read_lock();
    let Some(speculation) = Speculation::begin(&rcu) else {
        return Ok(None);
    };
    let Some(key) = look(speculation, word, &rcu) else {
        return Ok(None);
    };
    Ok(Some(visitor.visit(&key?)))
}

/// The same for two words.
fn speculate_both<R>(
    first: Word,
    second: Word,
    mut f: impl FnMut(&Borrowed<'_>, &Borrowed<'_>) -> Option<R>,
) -> Result<Option<R>> {
    let rcu = rcu::read_lock();
    let Some(speculation) = Speculation::begin(&rcu) else {
        return Ok(None);
    };
    match (
        look(speculation, first, &rcu),
        look(speculation, second, &rcu),
    ) {
        (Some(one), Some(other)) => Ok(f(&one?, &other?)),
        _ => Ok(None),
    }
}

/// The key of `word` as it is without a lock. `None`: as for [`speculate`].
#[inline(always)]
fn look<'a>(
    speculation: Speculation<'a>,
    word: Word,
    rcu: &'a rcu::Guard,
) -> Option<Result<Borrowed<'a>>> {
    let place = |host| Place::Seen(host, Witness::Mapped(speculation), rcu);
    speculation.look(word.addr(), |area| key(area, word, place))
}

/// With locks: nothing is mapped there, or somebody is changing what is.
#[cold]
#[inline(never)]
fn slowly<R, E: Default>(left: E, word: Word, mut visitor: impl Visit<R, E>) -> Result<R> {
    super::again(left, || attempt(word, &mut visitor))
}

/// One attempt with the VMA's lock, or with mmap_lock.
fn attempt<R, E>(word: Word, visitor: &mut impl Visit<R, E>) -> Result<Result<R, E>> {
    if let Some(lock) = VmaLock::try_take(word.addr()) {
        return Ok(visitor.visit(&key(lock.area(), word, Place::Held)?));
    }
    let lock = MmapLock::take()?;
    Ok(visitor.visit(&key(lock.area(word.addr())?, word, Place::Held)?))
}

/// The key of `word`, which lies in the area. The `place` is what keeps an inode.
#[inline(always)]
fn key<'a>(
    area: Area<'a>,
    word: Word,
    place: impl FnOnce(Host<'a>) -> Place<'a>,
) -> Result<Borrowed<'a>> {
    match area.shared_file(word.addr())? {
        None => Borrowed::in_process(Kind::Mm, word, None),
        Some((host, position)) if host.mappable_by_users() => {
            Ok(Borrowed::in_file(position, None, host, place(host)))
        }
        Some(_) => Err(EFAULT),
    }
}

#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
#[kunit_tests(rfutex_vma)]
mod tests {
    use super::{
        super::{
            borrow,
            own,
            KeyId,
            Resolver, //
        },
        *, //
    };
    use crate::lab::{
        kunit::{
            forced,
            killed,
            Access::ReadWrite,
            Mapping,
            OnFile, //
        },
        Point, //
    };

    /// What a wake finds by `resolver`.
    fn borrowed(word: Word, resolver: Resolver) -> Result<KeyId> {
        let word = word.by(resolver);
        borrow(&word, |key: &Borrowed<'_>| Ok::<_, ()>(key.id()))
    }

    #[test]
    fn finds_what_the_page_resolver_finds() -> Result {
        let on_file = OnFile::new()?;
        let anonymous = Mapping::anonymous(2, ReadWrite)?;
        for word in [on_file.word(8)?, anonymous.word(8), anonymous.word(4100)] {
            let by_page = borrowed(word, Resolver::PAGE)?;
            assert!(borrowed(word, Resolver::VMA)? == by_page);
            assert!(own(&word.by(Resolver::VMA))?.id() == by_page);
        }
        Ok(())
    }

    #[test]
    fn owned_key_refers_to_inode_and_superblock_alone() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?.by(Resolver::VMA);
        let before = on_file.counts();
        let key = own(&word)?;
        let during = on_file.counts();
        drop(key);
        assert!(during == before.plus(1, 1, 0));
        assert!(on_file.counts() == before);
        Ok(())
    }

    #[test]
    fn borrowed_key_refers_to_nothing() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?.by(Resolver::VMA);
        let before = on_file.counts();
        let during = borrow(&word, |_: &Borrowed<'_>| Ok::<_, ()>(on_file.counts()))?;
        assert!(during == before);
        assert!(on_file.counts() == before);
        Ok(())
    }

    /// Runs `what` where the resolver has to take a lock: the VMA's, or with `mmap_lock` that one.
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
        let word = on_file.word(8)?.by(Resolver::VMA);
        let before = on_file.counts();
        let undisturbed = own(&word)?.id();
        for mmap_lock in [false, true] {
            let owned = locked(mmap_lock, || own(&word).map(|key| key.id()))?;
            assert!(owned? == undisturbed);
            let borrowed = locked(mmap_lock, || borrowed(word, Resolver::VMA))?;
            assert!(borrowed? == undisturbed);
            assert!(on_file.counts() == before);
        }
        Ok(())
    }

    #[test]
    fn another_attempt_begins_with_no_lock() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?.by(Resolver::VMA);
        let attempts = |left: &mut u32| {
            borrow(&word, |key: &Borrowed<'_>| {
                *left -= 1;
                if *left == 0 {
                    Ok(key.id())
                } else {
                    Err(())
                }
            })
        };
        // In the first attempt without a lock or with either, and in those that follow.
        let (mut none, mut vma, mut mmap) = (3, 3, 3);
        let found = [
            attempts(&mut none),
            locked(false, || attempts(&mut vma))?,
            locked(true, || attempts(&mut mmap))?,
        ];
        for found in found {
            assert!(found? == own(&word)?.id());
        }
        assert_eq!((none, vma, mmap), (0, 0, 0));
        Ok(())
    }

    #[test]
    fn key_holds_as_long_as_nothing_else_is_mapped() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?.by(Resolver::VMA);
        let before = on_file.counts();
        let seq = Speculation::begin(&rcu::read_lock()).ok_or(EDOM)?.seq();
        drop(Mapping::anonymous(1, ReadWrite)?);
        let (mut held, mut holds, mut attempts) = (false, true, 0);
        let owned = borrow(&word, |key: &Borrowed<'_>| {
            let mut key = *key;
            attempts += 1;
            // The second has a lock.
            if let Place::Seen(_, Witness::Mapped(speculation), _) = &mut key.place {
                held = speculation.holds();
                *speculation = speculation.begun_at(seq);
                holds = key.holds();
            }
            key.own()
        })?;
        let during = on_file.counts();
        assert!(held && !holds);
        assert_eq!(attempts, 2);
        assert!(owned.id() == own(&word)?.id());
        drop(owned);
        assert!(during == before.plus(1, 1, 0));
        assert!(on_file.counts() == before);
        Ok(())
    }

    #[test]
    fn fatal_signal_ends_the_attempts() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?.by(Resolver::VMA);
        let mut visits = 0;
        let result = killed(|| {
            borrow(&word, |_: &Borrowed<'_>| {
                visits += 1;
                Err::<(), _>(())
            })
        });
        assert!(result == Err(EINTR));
        assert_eq!(visits, 1);
        Ok(())
    }

    #[test]
    fn locked_folio_stops_nobody() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?.by(Resolver::VMA);
        let (owned, borrowed) = on_file.with_folio_locked(|| {
            (
                own(&word).map(|key| key.id()),
                borrowed(word, Resolver::VMA),
            )
        })?;
        assert!(owned? == borrowed?);
        Ok(())
    }

    #[test]
    fn nothing_is_found_where_nothing_is_mapped() -> Result {
        let memory = Mapping::anonymous(1, ReadWrite)?;
        let word = memory.word(0).by(Resolver::VMA);
        assert!(own(&word).is_ok());
        drop(memory);
        assert!(own(&word).err() == Some(EFAULT));
        assert!(borrowed(word, Resolver::VMA) == Err(EFAULT));
        Ok(())
    }

    #[test]
    fn two_words_are_found_together() -> Result {
        let on_file = OnFile::new()?;
        let anonymous = Mapping::anonymous(1, ReadWrite)?;
        let before = on_file.counts();
        let words = [
            on_file.word(8)?.by(Resolver::VMA),
            anonymous.word(8).by(Resolver::VMA),
            on_file.mapping()?.private_word(8).by(Resolver::VMA),
        ];
        // Without a lock, with mmap_lock, and with that after an attempt without.
        for (locked, times) in [(0, 1), (1, 1), (0, 2)] {
            for (first, second) in words.iter().flat_map(|&a| words.map(|b| (a, b))) {
                let mut left = times;
                let (found, _) = forced(Point::MmapLocked, locked, || {
                    super::super::borrow_both(&first, &second, |one, other| {
                        left -= 1;
                        (left == 0).then(|| (one.id(), other.id()))
                    })
                });
                assert!(found? == (own(&first)?.id(), own(&second)?.id()));
            }
        }
        assert!(on_file.counts() == before);
        Ok(())
    }
}
