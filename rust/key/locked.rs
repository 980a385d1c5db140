// SPDX-License-Identifier: GPL-2.0

//! The page-lock resolver, which exists only in lab builds, to compare the others with.
//!
//! This is what futex(2) did before 2016, and what the threads (see [`super::page`]) replaced:
//! while the folio lock is held, the folio's mapping does not change, and so the inode stays. A
//! task that holds the folio lock for long, for example while it waits for I/O, delays every wait
//! and every wake on that folio (000, 002).

use super::{
    resolver::{
        unwritable_anonymous,
        without_mapping, //
    },
    Borrowed,
    Object,
    Resolve,
    Resolver,
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
        inode::DeferredPut, //
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

/// The page-lock resolver. See the [module](self).
pub(crate) struct Locked;

impl Resolve for Locked {
    fn resolve<R>(
        addr: usize,
        access: Access,
        any_file: bool,
        mut visitor: impl Visit<R>,
    ) -> Result<R> {
        super::resolver::repeat(|| attempt(addr, access, any_file, &mut visitor))
    }
}

/// Makes one attempt. See [`super::page`] for the steps that both resolvers have in common.
fn attempt<R>(
    addr: usize,
    access: Access,
    any_file: bool,
    visitor: &mut impl Visit<R>,
) -> Result<Result<R, DeferredPut>> {
    super::check_range(addr)?;
    let (page, found_for) = match PageRef::get(addr, Access::Write) {
        Err(error) if error == EFAULT && access == Access::Read => {
            (PageRef::get(addr, Access::Read)?, Access::Read)
        }
        page => (page?, Access::Write),
    };
    let lock = FolioLock::take(&page)?;
    let mapping = match page.mapping() {
        Mapping::File(mapping) => mapping,
        Mapping::Anonymous if found_for == Access::Write => {
            return Ok(visitor.visit(&Borrowed::in_process(addr, Some(&page))?));
        }
        Mapping::Anonymous => {
            drop(lock);
            unwritable_anonymous(Resolver::Locked, addr)?;
            return Ok(Err(DeferredPut::Nothing));
        }
        Mapping::None => {
            let moving = lock.is_moving();
            drop(lock);
            without_mapping(Resolver::Locked, &page, moving, addr, found_for)?;
            return Ok(Err(DeferredPut::Nothing));
        }
    };
    let rcu = rcu::read_lock();
    let result = match page.host(mapping, &rcu) {
        // The folio lock keeps the inode from being freed. But its reference count may be zero
        // already, so that no reference can be taken.
        Some(host) => {
            let object = Object::Kept(host);
            visitor.visit(&Borrowed::on_page(host, &page, addr, any_file, object)?)
        }
        None => {
            trace::retry(Resolver::Locked, Step::HostGone);
            Err(DeferredPut::Nothing)
        }
    };
    drop(rcu);
    drop(lock);
    // The folio is put before any references that the result may have.
    drop(page);
    Ok(result)
}

#[cfg(RFUTEX_KUNIT)]
#[kunit_tests(rfutex_locked)]
mod tests {
    use super::{
        super::{
            visit,
            Hold,
            OwnedKey,
            Resolver, //
        },
        *, //
    };
    use crate::{
        lab::kunit::{
            self,
            killed,
            resolve,
            Access::{
                Read,
                ReadWrite, //
            },
            Mapping as Memory,
            OnFile, //
        },
        word::Word, //
    };

    /// The key that a wait finds.
    fn own(word: Word) -> Result<OwnedKey> {
        kunit::own(Resolver::Locked, word)
    }

    /// Calls `visitor` with the key of the word.
    fn with_borrowed<R>(
        word: Word,
        visitor: impl FnMut(&Borrowed<'_>) -> Result<R, DeferredPut>,
    ) -> Result<R> {
        visit(Resolver::Locked, word, Access::Read, Hold::Inode, visitor)
    }

    #[test]
    fn finds_what_the_page_resolver_finds() -> Result {
        let on_file = OnFile::new()?;
        let anonymous = Memory::anonymous(1, ReadWrite)?;
        for word in [on_file.word(8)?, anonymous.word(8)] {
            let by_page = resolve(Resolver::Page, word)?;
            assert!(own(word)?.id() == by_page);
            assert!(resolve(Resolver::Locked, word)? == by_page);
        }
        Ok(())
    }

    #[test]
    fn owned_key_refers_to_inode_and_superblock_and_a_borrowed_one_to_the_folio() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        let during = with_borrowed(word, |_: &Borrowed<'_>| Ok(on_file.counts()))?;
        assert!(during == before.plus(0, 0, 1));
        let key = own(word)?;
        let during = on_file.counts();
        drop(key);
        assert!(during == before.plus(1, 1, 0));
        assert!(on_file.counts() == before);
        Ok(())
    }

    #[test]
    fn waits_for_who_holds_the_folio_lock() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        // Without the signal, the resolver would wait for ever.
        let (owned, resolved) = killed(|| {
            on_file.with_folio_locked(|| {
                let owned = own(word).err();
                (owned, resolve(Resolver::Locked, word).err())
            })
        })?;
        assert!(owned == Some(EINTR));
        assert!(resolved == Some(EINTR));
        assert!(on_file.counts() == before);
        Ok(())
    }

    #[test]
    fn refuses_what_the_page_resolver_refuses() -> Result {
        // The word lies on the zero page at first, then on a read-only anonymous page.
        let memory = Memory::anonymous(1, Read)?;
        let word = memory.word(0);
        memory.read(0, &mut [0; 1])?;
        assert!(own(word).err() == Some(EFAULT));
        memory.poke(0)?;
        assert!(own(word).err() == Some(EFAULT));
        Ok(())
    }
}
