// SPDX-License-Identifier: GPL-2.0

//! The page resolver: looks at the page behind the address, and takes no page lock.
//!
//! The steps are numbered; their order is the design. Where each comes from:
//!
//! - (000) Mel Gorman, "futex: Remove requirement for lock_page in get_futex_key", RFC of 2013, and
//!   Chris Mason's answer to it.
//! - (001) Linus Torvalds, "Some more lock_page work", 2020: take the reference, then look again.
//! - (002) Version 3 of the first, with Davidlohr Bueso, 2016; it became 65d8fc777f6d.
//! - (004) Andrea Arcangeli and Oleg Nesterov, "introduce get_compound_page", 2013: references on
//!   THP tails.
//!
//! Userspace can provoke every race here. None of them is worth more than another try.

use super::{
    Borrowed,
    KeyId,
    Kind,
    Owned,
    Place,
    Seen, //
};
use crate::{
    lab::{
        self,
        Point, //
    },
    mm::{
        folio::{
            FileMapping,
            Mapping, //
        },
        gup::{
            Access,
            PageRef, //
        },
        inode::Host, //
    },
    request::Word,
};
use kernel::{
    prelude::*,
    sync::rcu, //
};

/// What steps 1 to 3 found.
pub(super) enum Found {
    /// The address is the key: the word is private, or on this anonymous page.
    Address(KeyId, Option<PageRef>),
    /// A page of a file.
    File(PageRef, FileMapping),
}

/// Steps 1 to 3: which page, and what it belongs to. A private word needs none. `None`: try again.
#[inline(always)]
pub(super) fn find(word: &Word, access: Access) -> Result<Option<Found>> {
    if word.private() {
        let id = KeyId::in_current_mm(Kind::Private, word.addr())?;
        return Ok(Some(Found::Address(id, None)));
    }
    // 1. The page, without mmap_lock where it is there.
    // 2. Its folio. Our reference keeps the folio whole from here on.                       (004)
    let page = PageRef::get(word.addr(), access)?;
    // 3. What it belongs to.
    let mapping = if lab::fault(Point::NoMapping) {
        Mapping::None
    } else {
        page.mapping()
    };
    match mapping {
        // A read-only anonymous page never changes: waiting on it is a mistake.
        Mapping::Anonymous if !page.writable() => Err(EFAULT),
        Mapping::Anonymous => {
            // No lock, no RCU: the address is the key.                                     (000)
            let id = KeyId::in_current_mm(Kind::Mm, word.addr())?;
            Ok(Some(Found::Address(id, Some(page))))
        }
        Mapping::File(mapping) => Ok(Some(Found::File(page, mapping))),
        // The one slow path. The folio is given back before the next try.              (000, 002)
        Mapping::None if page.is_moving()? => Ok(None),
        Mapping::None => Err(EFAULT),
    }
}

/// Resolves a word for a wake; see [`super::borrow`].
#[inline(never)]
pub(super) fn borrow<R>(
    word: &Word,
    access: Access,
    mut f: impl FnMut(&Borrowed) -> Option<R>,
) -> Result<R> {
    super::retry(|| {
        let Some(found) = find(word, access)? else {
            return Ok(None);
        };
        Ok(settle(found, word)?.and_then(|key| f(&key)))
    })
}

/// Steps 4 and 5, for a wake; see [`super::borrow`]. `None`: try again.
#[inline(always)]
pub(super) fn settle(found: Found, word: &Word) -> Result<Option<Borrowed>> {
    let (page, mapping) = match found {
        Found::Address(id, _) => return Ok(Some(Borrowed { id, place: None })),
        Found::File(page, mapping) => (page, mapping),
    };
    // 4. From here on, no inode is freed.
    let rcu = rcu::read_lock();
    // 5.
    let Some(host) = host(&page, mapping, &rcu)? else {
        return Ok(None);
    };
    // 6 and 7 are for those who stay.
    let id = KeyId::in_inode(host.addr(), &page, word);
    Ok(Some(Borrowed {
        id,
        place: Some(Place {
            _rcu: rcu,
            page,
            mapping,
        }),
    }))
}

/// Resolves a word for a wait; see [`super::own`]. Shows the page to `look` while it is there.
#[inline]
pub(super) fn own<T>(
    word: &Word,
    access: Access,
    look: impl Fn(Option<&PageRef>) -> T,
) -> Result<(Owned, T)> {
    super::retry(|| {
        let (page, mapping) = match find(word, access)? {
            None => return Ok(None),
            Some(Found::Address(id, page)) => {
                return Ok(Some((Owned { id, inode: None }, look(page.as_ref()))));
            }
            Some(Found::File(page, mapping)) => (page, mapping),
        };
        // 4. From here on, no inode is freed.
        let rcu = rcu::read_lock();
        // 5.
        let Some(host) = host(&page, mapping, &rcu)? else {
            return Ok(None);
        };
        // 6. A reference on the superblock and on the inode, unless they are going.         (002)
        let attempt = match host.try_get() {
            Ok(inode) if lab::fault(Point::InodeGoing) => Err(inode.give_back(&rcu)),
            // 7. The reference first, then look again: an inode that was recycled in place between
            //    5 and 6 no longer has this page.                                          (001)
            Ok(inode) if !page.belongs_to(mapping) || lab::fault(Point::MappingChanged) => {
                Err(inode.give_back(&rcu))
            }
            attempt => attempt,
        };
        let result = attempt.map(|inode| {
            let id = KeyId::in_inode(inode.addr(), &page, word);
            let inode = Some(inode);
            (Owned { id, inode }, look(Some(&page)))
        });
        // 8.
        drop(rcu);
        // 9. The folio goes before anything that may be a last iput(), as `result` may be.  (000)
        drop(page);
        Ok(result.ok())
    })
}

/// Step 5: still the same mapping, and an inode behind it that we take. `None`: try again.
#[inline]
fn host<'rcu>(
    page: &PageRef,
    mapping: FileMapping,
    rcu: &'rcu rcu::Guard,
) -> Result<Option<Host<'rcu>>> {
    match page.host(mapping, rcu) {
        Some(host) if host.acceptable() => Ok(Some(host).filter(|_| !lab::fault(Point::HostGone))),
        Some(_) => Err(EFAULT),
        None => Ok(None),
    }
}

/// What [`own`] can be asked to look at.
pub(super) fn seen(page: &PageRef) -> Seen {
    Seen {
        order: page.folio_order(),
        index: page.index_in_folio(),
    }
}

#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
#[kunit_tests(rfutex_resolver)]
mod tests {
    use super::*;
    use crate::lab::kunit::{
        forced,
        killed,
        Access::ReadWrite,
        Mapping as Memory,
        OnFile, //
    };

    /// What a wake finds.
    fn borrowed(word: &Word) -> Result<KeyId> {
        super::super::borrow(word, |key| Some(key.id()))
    }

    /// A wait's key and what a wake finds.
    fn both(word: &Word) -> (Result<Owned>, Result<KeyId>) {
        let owned = own(word, Access::Read, |_| ()).map(|(key, ())| key);
        (owned, borrowed(word))
    }

    #[test]
    fn locked_folio_stops_nobody() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        // The signal is for a resolver that takes the lock: it would wait for ever.
        let (owned, borrowed) = killed(|| on_file.with_folio_locked(|| both(&word)))?;
        let for_wait = owned.map(|key| key.id());
        assert!(for_wait? == borrowed?);
        Ok(())
    }

    fn wait_tries_again(point: Point) -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        let undisturbed = own(&word, Access::Read, |_| ())?.0.id();
        let (result, hits) = forced(point, 3, || own(&word, Access::Read, |_| ()));
        let during = on_file.counts();
        let found = result.map(|(key, ())| key.id());
        let after = on_file.counts();
        assert!(found? == undisturbed);
        assert_eq!(hits, 3);
        assert!(during == before.plus(1, 1, 0));
        assert!(after == before);
        Ok(())
    }

    fn wake_tries_again(point: Point, times: u32) -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        let undisturbed = own(&word, Access::Read, |_| ())?.0.id();
        let (result, hits) = forced(point, 3, || {
            super::super::borrow(&word, |key| Some((key.id(), on_file.counts())))
        });
        let (found, during) = result?;
        let after = on_file.counts();
        assert!(found == undisturbed);
        assert_eq!(hits, times);
        assert!(during == before.plus(0, 0, 1));
        assert!(after == before);
        Ok(())
    }

    #[test]
    fn wait_looks_again_when_the_page_has_no_mapping() -> Result {
        wait_tries_again(Point::NoMapping)
    }

    #[test]
    fn wait_looks_again_when_the_mapping_has_no_host() -> Result {
        wait_tries_again(Point::HostGone)
    }

    #[test]
    fn wait_looks_again_when_the_inode_is_going() -> Result {
        wait_tries_again(Point::InodeGoing)
    }

    #[test]
    fn wait_looks_again_when_the_mapping_changed() -> Result {
        wait_tries_again(Point::MappingChanged)
    }

    #[test]
    fn wake_looks_again_when_the_page_has_no_mapping() -> Result {
        wake_tries_again(Point::NoMapping, 3)
    }

    #[test]
    fn wake_looks_again_when_the_mapping_has_no_host() -> Result {
        wake_tries_again(Point::HostGone, 3)
    }

    #[test]
    fn wake_takes_no_reference_that_could_fail() -> Result {
        wake_tries_again(Point::InodeGoing, 0)?;
        wake_tries_again(Point::MappingChanged, 0)
    }

    #[test]
    fn anonymous_page_on_its_way_is_looked_at_again() -> Result {
        let memory = Memory::anonymous(1, ReadWrite)?;
        let word = memory.word(8);
        let undisturbed = own(&word, Access::Read, |_| ())?.0.id();
        let (owned, hits) = forced(Point::NoMapping, 2, || own(&word, Access::Read, |_| ()));
        assert_eq!(hits, 2);
        assert!(owned?.0.id() == undisturbed);
        let (found, hits) = forced(Point::NoMapping, 2, || borrowed(&word));
        assert_eq!(hits, 2);
        assert!(found? == undisturbed);
        Ok(())
    }

    #[test]
    fn page_that_left_its_mapping_is_looked_at_again() -> Result {
        let (one, other) = (OnFile::new()?, OnFile::new()?);
        let page = PageRef::get(one.mapping()?.at(0), Access::Read)?;
        let elsewhere = PageRef::get(other.mapping()?.at(0), Access::Read)?;
        let Mapping::File(left) = elsewhere.mapping() else {
            return Err(EINVAL);
        };
        let rcu = rcu::read_lock();
        let again = matches!(host(&page, left, &rcu), Ok(None));
        drop(rcu);
        assert!(again);
        Ok(())
    }

    #[test]
    fn page_that_gets_no_mapping_is_given_up() -> Result {
        // The zero page.
        let memory = Memory::anonymous(1, crate::lab::kunit::Access::Read)?;
        memory.read(0, &mut [0; 1])?;
        let (owned, borrowed) = both(&memory.word(0));
        let errors = (owned.err(), borrowed.err());
        assert!(errors == (Some(EFAULT), Some(EFAULT)));
        Ok(())
    }

    #[test]
    fn fatal_signal_ends_the_tries() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        for point in [
            Point::NoMapping,
            Point::HostGone,
            Point::InodeGoing,
            Point::MappingChanged,
        ] {
            let (result, hits) =
                killed(|| forced(point, u32::MAX, || own(&word, Access::Read, |_| ())));
            assert!(result.err() == Some(EINTR));
            assert_eq!(hits, 1);
        }
        for point in [Point::NoMapping, Point::HostGone] {
            let (result, hits) = killed(|| forced(point, u32::MAX, || borrowed(&word)));
            let error = result.err();
            assert!(error == Some(EINTR));
            assert_eq!(hits, 1);
        }
        assert!(on_file.counts() == before);
        Ok(())
    }

    #[test]
    fn fatal_signal_ends_the_wait_for_the_folio_lock() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        let (result, hits) = killed(|| {
            on_file.with_folio_locked(|| {
                forced(Point::NoMapping, 1, || own(&word, Access::Read, |_| ()))
            })
        })?;
        let error = result.err();
        assert!(error == Some(EINTR));
        assert_eq!(hits, 1);
        assert!(on_file.counts() == before);
        Ok(())
    }
}
