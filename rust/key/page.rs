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
    Kind,
    Place,
    Resolve,
    Visit,
    Witness, //
};
use crate::{
    lab::{
        self,
        Point, //
    },
    mm::{
        folio::{
            FileMapping,
            FolioLock,
            Mapping, //
        },
        gup::{
            Access,
            PageRef, //
        },
        task, //
    },
    request::Word,
};
use kernel::{
    prelude::*,
    sync::rcu, //
};

/// See the [module](self).
pub(crate) struct Page;

impl Resolve for Page {
    /// What is written out here is the commonest case alone: a page of a file, there and writable,
    /// and nobody changes anything. All else is [`slowly`]'s.
    #[inline(always)]
    fn borrow<R, E: Default>(
        word: Word,
        access: Access,
        mut visitor: impl Visit<R, E>,
    ) -> Result<R> {
        let page = match PageRef::get(word.addr(), Access::Write) {
            Ok(page) => page,
            Err(error) => return slowly(Start::Unwritable(error), word, access, visitor),
        };
        let found = look(&page);
        let Mapping::File(mapping) = found else {
            return slowly(Start::Page(page, found), word, access, visitor);
        };
        match on_file(page, mapping, word, &mut visitor)? {
            Ok(result) => Ok(result),
            Err(left) => slowly(Start::Again(left), word, access, visitor),
        }
    }

    fn borrow_both<R>(
        first: Word,
        second: Word,
        mut f: impl FnMut(&Borrowed<'_>, &Borrowed<'_>) -> Option<R>,
    ) -> Result<R> {
        super::repeat(|| {
            // Both pages first, since that may sleep; then both inodes.
            let (Some(one), Some(other)) =
                (find(first, Access::Read)?, find(second, Access::Write)?)
            else {
                return Ok(Err(()));
            };
            let rcu = rcu::read_lock();
            let result = match (one.key(first, &rcu)?, other.key(second, &rcu)?) {
                (Some(one), Some(other)) => f(&one, &other).ok_or(()),
                _ => Err(()),
            };
            drop(rcu);
            Ok(result)
        })
    }
}

/// Step 3: what the page belongs to.
#[inline(always)]
fn look(page: &PageRef) -> Mapping {
    if lab::fault(Point::NoMapping) {
        Mapping::None
    } else {
        page.mapping()
    }
}

/// Steps 4 to 9, for a page of a file.
#[inline(always)]
fn on_file<R, E: Default>(
    page: PageRef,
    mapping: FileMapping,
    word: Word,
    visitor: &mut impl Visit<R, E>,
) -> Result<Result<R, E>> {
    // 4. From here on, no inode is freed.
    let rcu = rcu::read_lock();
    // 5.
    let result = match key_on_file(&page, mapping, word, &rcu)? {
        // 6 and 7 are for those who stay: see `Borrowed::own`.
        Some(key) => visitor.visit(&key),
        None => Err(E::default()),
    };
    // 8.
    drop(rcu);
    // 9. The folio goes before anything that may be a last iput(), as what is in the result may.
    //                                                                                     (000)
    drop(page);
    Ok(result)
}

/// Step 5: still the same mapping, and an inode behind it, of a file system that we may refer to.
/// `None`: try again.
#[inline(always)]
fn key_on_file<'a>(
    page: &'a PageRef,
    mapping: FileMapping,
    word: Word,
    rcu: &'a rcu::Guard,
) -> Result<Option<Borrowed<'a>>> {
    match page.host(mapping, rcu) {
        Some(host) if !host.acceptable() => Err(EFAULT),
        Some(host) if !lab::fault(Point::HostGone) => {
            let place = Place::Seen(host, Witness::Page(mapping), rcu);
            let position = super::position(page.index(), word);
            let key = Borrowed::in_file(position, Some(page), host, place);
            Ok(Some(key))
        }
        _ => Ok(None),
    }
}

/// Where [`slowly`] begins.
enum Start<E> {
    /// At the beginning, with what is left over from another attempt.
    Again(E),
    /// With this instead of a page that can be written to.
    Unwritable(Error),
    /// With a page that can be written to, and what it belongs to.
    Page(PageRef, Mapping),
}

/// What steps 1 to 3 found.
struct Found {
    page: PageRef,
    /// The file's mapping; none for anonymous memory.
    mapping: Option<FileMapping>,
}

/// All that may happen, as often as it takes.
#[inline(never)]
fn slowly<R, E: Default>(
    start: Start<E>,
    word: Word,
    access: Access,
    mut visitor: impl Visit<R, E>,
) -> Result<R> {
    let mut found = match start {
        Start::Again(left) => {
            drop(left);
            task::before_retry()?;
            None
        }
        Start::Unwritable(error) => Some(find_unwritable(word, access, error)?),
        Start::Page(page, mapping) => Some(judge(page, mapping, true)?),
    };
    loop {
        let attempt = match found {
            None => find(word, access)?,
            Some(found) => found,
        };
        let result = match attempt {
            None => Err(E::default()),
            Some(Found {
                page,
                mapping: Some(mapping),
            }) => on_file(page, mapping, word, &mut visitor)?,
            Some(Found {
                page,
                mapping: None,
            }) => visitor.visit(&Borrowed::in_process(Kind::Mm, word, Some(&page))?),
        };
        match result {
            Ok(result) => return Ok(result),
            // No lock is held here: now it may sleep to let go.
            Err(left) => drop(left),
        }
        task::before_retry()?;
        found = None;
    }
}

/// Steps 1 to 3: which page, and what it belongs to. `None`: try again.
fn find(word: Word, access: Access) -> Result<Option<Found>> {
    // 1. The page, without mmap_lock where it is there.
    // 2. Its folio. Our reference keeps the folio whole from here on.                       (004)
    match PageRef::get(word.addr(), Access::Write) {
        Ok(page) => {
            let mapping = look(&page);
            judge(page, mapping, true)
        }
        Err(error) => find_unwritable(word, access, error),
    }
}

/// The same where there was an `error` instead of a page that can be written to.
fn find_unwritable(word: Word, access: Access, error: Error) -> Result<Option<Found>> {
    // What is not of the user's may overflow before it is seen.
    super::check_range(word)?;
    if error != EFAULT || access == Access::Write {
        return Err(error);
    }
    let page = PageRef::get(word.addr(), Access::Read)?;
    let mapping = look(&page);
    judge(page, mapping, false)
}

/// The rest of step 3: what follows from what the page belongs to.
fn judge(page: PageRef, mapping: Mapping, writable: bool) -> Result<Option<Found>> {
    let mapping = match mapping {
        Mapping::File(mapping) => Some(mapping),
        // A read-only anonymous page never changes: waiting on it is a mistake.
        Mapping::Anonymous if !writable => return Err(EFAULT),
        // No lock, no RCU: the address is the key.                                         (000)
        Mapping::Anonymous => None,
        // The one slow path. The folio is given back before the next try.              (000, 002)
        Mapping::None if FolioLock::take(&page)?.is_moving() => return Ok(None),
        Mapping::None => return Err(EFAULT),
    };
    Ok(Some(Found { page, mapping }))
}

impl Found {
    /// The key, with steps 4 and 5 if the page belongs to a file. `None`: try again.
    fn key<'a>(&'a self, word: Word, rcu: &'a rcu::Guard) -> Result<Option<Borrowed<'a>>> {
        match self.mapping {
            Some(mapping) => key_on_file(&self.page, mapping, word, rcu),
            None => Borrowed::in_process(Kind::Mm, word, Some(&self.page)).map(Some),
        }
    }
}

#[cfg(CONFIG_KUNIT)]
#[cfg(RFUTEX_LAB)]
#[kunit_tests(rfutex_resolver)]
mod tests {
    use super::{
        super::{
            borrow,
            own,
            KeyId,
            Owned, //
        },
        *, //
    };
    use crate::lab::kunit::{
        forced,
        killed,
        Access::ReadWrite,
        Mapping as Memory,
        OnFile, //
    };

    /// What a wake finds.
    fn borrowed(word: &Word) -> Result<KeyId> {
        borrow(word, |key: &Borrowed<'_>| Ok::<_, ()>(key.id()))
    }

    /// A wait's key and what a wake finds.
    fn both(word: &Word) -> (Result<Owned>, Result<KeyId>) {
        let owned = own(word);
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
        let undisturbed = own(&word)?.id();
        let (result, hits) = forced(point, 3, || own(&word));
        let during = on_file.counts();
        let found = result.map(|key| key.id());
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
        let undisturbed = own(&word)?.id();
        let (result, hits) = forced(point, 3, || {
            borrow(&word, |key: &Borrowed<'_>| {
                Ok::<_, ()>((key.id(), on_file.counts()))
            })
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
        let undisturbed = own(&word)?.id();
        let (owned, hits) = forced(Point::NoMapping, 2, || own(&word));
        assert_eq!(hits, 2);
        assert!(owned?.id() == undisturbed);
        let (found, hits) = forced(Point::NoMapping, 2, || borrowed(&word));
        assert_eq!(hits, 2);
        assert!(found? == undisturbed);
        Ok(())
    }

    #[test]
    fn page_that_left_its_mapping_is_looked_at_again() -> Result {
        let (one, other) = (OnFile::new()?, OnFile::new()?);
        let (word, elsewhere) = (one.word(0)?, other.word(0)?);
        let page = PageRef::get(word.addr(), Access::Read)?;
        let Mapping::File(left) = PageRef::get(elsewhere.addr(), Access::Read)?.mapping() else {
            return Err(EINVAL);
        };
        let rcu = rcu::read_lock();
        let again = matches!(key_on_file(&page, left, word, &rcu), Ok(None));
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
            let (result, hits) = killed(|| forced(point, u32::MAX, || own(&word)));
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
        let (result, hits) =
            killed(|| on_file.with_folio_locked(|| forced(Point::NoMapping, 1, || own(&word))))?;
        let error = result.err();
        assert!(error == Some(EINTR));
        assert_eq!(hits, 1);
        assert!(on_file.counts() == before);
        Ok(())
    }
}
