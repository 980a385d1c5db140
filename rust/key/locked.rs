// SPDX-License-Identifier: GPL-2.0

//! The page-lock resolver: what the threads replaced, to be compared with. Lab builds only.
//!
//! As futex(2) did before 2016: under the folio lock, the folio's mapping stays, and with it the
//! inode. Whoever else holds that lock, for the time of a writeback or for ever, holds up every wait
//! and every wake (000, 002).

use super::{
    Borrowed,
    Kind,
    Place,
    Resolve,
    Visit, //
};
use crate::{
    mm::{
        folio::{
            FolioLock,
            Mapping, //
        },
        gup::{
            Access,
            PageRef, //
        },
        inode::{
            InodeRef,
            Leftover, //
        },
    },
    request::Word,
};
use kernel::{
    prelude::*,
    sync::rcu, //
};

/// See the [module](self).
pub(crate) struct Locked;

/// What was found under the folio lock. The folio is given back before the inode.
struct Found {
    page: PageRef,
    /// The page's file and its index there; none for anonymous memory.
    file: Option<(InodeRef, usize)>,
}

impl Found {
    /// Looks at the page behind `word`; see [`super::page`] for what the steps have in common.
    /// `None`: try again.
    fn find(word: Word, access: Access) -> Result<Option<Self>> {
        super::check_range(word)?;
        let (page, writable) = match PageRef::get(word.addr(), Access::Write) {
            Err(error) if error == EFAULT && access == Access::Read => {
                (PageRef::get(word.addr(), Access::Read)?, false)
            }
            page => (page?, true),
        };
        let lock = FolioLock::take(&page)?;
        let mapping = match page.mapping() {
            Mapping::File(mapping) => mapping,
            Mapping::Anonymous if writable => {
                drop(lock);
                return Ok(Some(Self { page, file: None }));
            }
            Mapping::None if lock.is_moving() => return Ok(None),
            _ => return Err(EFAULT),
        };
        let rcu = rcu::read_lock();
        let attempt = match page.host(mapping, &rcu) {
            Some(host) if !host.acceptable() => return Err(EFAULT),
            // The lock keeps the inode, but perhaps without any reference on it.
            Some(host) => host.try_get(),
            None => Err(Leftover::Nothing),
        };
        drop(rcu);
        let index = page.index();
        drop(lock);
        let result = attempt.map(|inode| (inode, index));
        if result.is_err() {
            // Before what is left over.
            drop(page);
            return Ok(None);
        }
        Ok(Some(Self {
            page,
            file: result.ok(),
        }))
    }

    fn key<'a>(&'a self, word: Word) -> Result<Borrowed<'a>> {
        let page = Some(&self.page);
        match &self.file {
            None => Borrowed::in_process(Kind::Mm, word, page),
            Some((inode, index)) => {
                let host = inode.host();
                let place = Place::Held(host);
                let position = super::position(*index, word);
                Ok(Borrowed::in_file(position, page, host, place))
            }
        }
    }
}

impl Resolve for Locked {
    fn borrow<R, E: Default>(
        word: Word,
        access: Access,
        mut visitor: impl Visit<R, E>,
    ) -> Result<R> {
        super::repeat(|| match Found::find(word, access)? {
            Some(found) => Ok(visitor.visit(&found.key(word)?)),
            None => Ok(Err(E::default())),
        })
    }

    fn borrow_both<R>(
        first: Word,
        second: Word,
        mut f: impl FnMut(&Borrowed<'_>, &Borrowed<'_>) -> Option<R>,
    ) -> Result<R> {
        super::repeat(|| {
            // The two may lie on one folio: each lock is released before the next is taken.
            let mut one = match Found::find(first, Access::Read)? {
                Some(found) => found,
                None => return Ok(Err(())),
            };
            let mut other = match Found::find(second, Access::Write)? {
                Some(found) => found,
                None => return Ok(Err(())),
            };
            let result = f(&one.key(first)?, &other.key(second)?);
            // Both folios before either inode.
            let inodes = (one.file.take(), other.file.take());
            drop((one, other));
            drop(inodes);
            Ok(result.ok_or(()))
        })
    }
}

#[cfg(CONFIG_KUNIT)]
#[kunit_tests(rfutex_locked)]
mod tests {
    use super::{
        super::{
            borrow,
            own,
            Resolver, //
        },
        *, //
    };
    use crate::lab::kunit::{
        killed,
        Access::{
            Read,
            ReadWrite, //
        },
        Mapping as Memory,
        OnFile, //
    };

    #[test]
    fn finds_what_the_page_resolver_finds() -> Result {
        let on_file = OnFile::new()?;
        let anonymous = Memory::anonymous(1, ReadWrite)?;
        for word in [on_file.word(8)?, anonymous.word(8)] {
            let by_page = own(&word)?.id();
            let word = word.by(Resolver::LOCKED);
            assert!(own(&word)?.id() == by_page);
            let borrowed = borrow(&word, |key: &Borrowed<'_>| Ok::<_, ()>(key.id()))?;
            assert!(borrowed == by_page);
        }
        Ok(())
    }

    #[test]
    fn key_refers_to_inode_and_superblock_and_a_borrowed_one_to_the_folio() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?.by(Resolver::LOCKED);
        let before = on_file.counts();
        let during = borrow(&word, |_: &Borrowed<'_>| Ok::<_, ()>(on_file.counts()))?;
        assert!(during == before.plus(1, 1, 1));
        let key = own(&word)?;
        let during = on_file.counts();
        drop(key);
        assert!(during == before.plus(1, 1, 0));
        assert!(on_file.counts() == before);
        Ok(())
    }

    #[test]
    fn waits_for_who_holds_the_folio_lock() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?.by(Resolver::LOCKED);
        let before = on_file.counts();
        // Without the signal it would wait for ever.
        let (owned, borrowed) = killed(|| {
            on_file.with_folio_locked(|| {
                let owned = own(&word).err();
                (owned, borrow(&word, |_: &Borrowed<'_>| Ok::<_, ()>(())))
            })
        })?;
        assert!(owned == Some(EINTR));
        assert!(borrowed == Err(EINTR));
        assert!(on_file.counts() == before);
        Ok(())
    }

    #[test]
    fn two_words_on_one_folio_are_found_together() -> Result {
        let on_file = OnFile::new()?;
        let before = on_file.counts();
        let [first, second] = [8, 16].map(|at| on_file.word(at));
        let (first, second) = (first?.by(Resolver::LOCKED), second?.by(Resolver::LOCKED));
        let (one, other) =
            super::super::borrow_both(&first, &second, |one, other| Some((one.id(), other.id())))?;
        assert!(one == own(&first)?.id() && other == own(&second)?.id());
        assert!(on_file.counts() == before);
        Ok(())
    }

    #[test]
    fn refuses_what_the_page_resolver_refuses() -> Result {
        // The zero page, and then an anonymous one that never changes.
        let memory = Memory::anonymous(1, Read)?;
        let word = memory.word(0).by(Resolver::LOCKED);
        memory.read(0, &mut [0; 1])?;
        assert!(own(&word).err() == Some(EFAULT));
        memory.poke(0)?;
        assert!(own(&word).err() == Some(EFAULT));
        Ok(())
    }
}
