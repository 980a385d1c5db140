// SPDX-License-Identifier: GPL-2.0

//! The VMA resolver: looks at what is mapped, and touches no page.
//!
//! As the first futexes did (003): a shared mapping of a file is known by the file and the position
//! in it, everything else by the address. What was mmap_lock then is a VMA's own lock here, where
//! nobody is changing the mapping.
//!
//! A key does not tell whether there is a page. So a wake on a word that lies beyond the end of the
//! file finds nobody, where the page resolver finds no key. The other differences are in
//! Documentation/rfutex.rst.

use super::{
    Borrowed,
    Kind,
    Place,
    Resolve,
    Visit, //
};
use crate::{
    mm::{
        gup::Access,
        vma::{
            Area,
            MmapLock,
            VmaLock, //
        },
    },
    request::Word,
};
use kernel::prelude::*;

/// See the [module](self).
pub(crate) struct Vma;

impl Resolve for Vma {
    /// What is written out here is the commonest case alone: nobody is about to change the VMA.
    /// `access` is not looked at: who may not write finds out by writing.
    #[inline(always)]
    fn borrow<R, E: Default>(
        word: Word,
        _access: Access,
        mut visitor: impl Visit<R, E>,
    ) -> Result<R> {
        let Some(lock) = VmaLock::try_take(word.addr()) else {
            return slowly(word, visitor);
        };
        let result = visitor.visit(&key(lock.area(), word)?);
        drop(lock);
        match result {
            Ok(result) => Ok(result),
            Err(left) => super::again(left, move || attempt(word, &mut visitor)),
        }
    }

    fn borrow_both<R>(
        first: Word,
        second: Word,
        mut f: impl FnMut(&Borrowed<'_>, &Borrowed<'_>) -> Option<R>,
    ) -> Result<R> {
        super::repeat(|| {
            let lock = MmapLock::take()?;
            let one = key(lock.area(first.addr())?, first)?;
            let other = key(lock.area(second.addr())?, second)?;
            Ok(f(&one, &other).ok_or(()))
        })
    }
}

/// With mmap_lock: nothing is mapped there, or somebody is changing what is.
#[cold]
#[inline(never)]
fn slowly<R, E: Default>(word: Word, mut visitor: impl Visit<R, E>) -> Result<R> {
    super::repeat(|| attempt(word, &mut visitor))
}

/// One attempt with mmap_lock.
fn attempt<R, E>(word: Word, visitor: &mut impl Visit<R, E>) -> Result<Result<R, E>> {
    let lock = MmapLock::take()?;
    let result = visitor.visit(&key(lock.area(word.addr())?, word)?);
    drop(lock);
    Ok(result)
}

/// The key of `word`, which lies in the area.
#[inline(always)]
fn key<'a>(area: Area<'a>, word: Word) -> Result<Borrowed<'a>> {
    match area.shared_file(word.addr())? {
        None => Borrowed::in_process(Kind::Mm, word, None),
        // The lock keeps the area, the area its file, and the file the inode.
        Some((host, position)) if host.mappable_by_users() => {
            Ok(Borrowed::in_file(position, None, host, Place::Held(host)))
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

    #[test]
    fn mmap_lock_will_do() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?.by(Resolver::VMA);
        let before = on_file.counts();
        let undisturbed = own(&word)?.id();
        let (owned, hits) = forced(Point::VmaLocked, 1, || own(&word).map(|key| key.id()));
        assert!(owned? == undisturbed);
        assert_eq!(hits, 1);
        let (borrowed, hits) = forced(Point::VmaLocked, 1, || borrowed(word, Resolver::VMA));
        assert!(borrowed? == undisturbed);
        assert_eq!(hits, 1);
        assert!(on_file.counts() == before);
        Ok(())
    }

    #[test]
    fn another_attempt_begins_with_no_lock() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?.by(Resolver::VMA);
        // In the first attempt with the VMA's lock or without, and in those that follow.
        for without in [0, 1] {
            let mut left = 3;
            let (result, _) = forced(Point::VmaLocked, without, || {
                borrow(&word, |key: &Borrowed<'_>| {
                    left -= 1;
                    if left == 0 {
                        Ok(key.id())
                    } else {
                        Err(())
                    }
                })
            });
            assert!(result? == own(&word)?.id());
            assert_eq!(left, 0);
        }
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
        for first in &words {
            for second in &words {
                let (one, other) = super::super::borrow_both(first, second, |one, other| {
                    Some((one.id(), other.id()))
                })?;
                assert!(one == own(first)?.id() && other == own(second)?.id());
            }
        }
        assert!(on_file.counts() == before);
        Ok(())
    }
}
