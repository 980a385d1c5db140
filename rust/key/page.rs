// SPDX-License-Identifier: GPL-2.0

//! The page resolver, which looks up the page at the address, and does not take the page lock.
//!
//! Its steps are numbered, because their order is what makes it correct. A number in parentheses
//! tells from which discussion a step comes:
//!
//! - (000) Mel Gorman, "futex: Remove requirement for lock_page in get_futex_key", RFC of 2013, and
//!   Chris Mason's answer to it.
//! - (001) Linus Torvalds, "Some more lock_page work", 2020: take the reference, then look again.
//! - (002) Version 3 of (000), with Davidlohr Bueso, 2016, which became commit 65d8fc777f6d.
//! - (004) Andrea Arcangeli and Oleg Nesterov, "introduce get_compound_page", 2013: references on
//!   tail pages of a THP.
//!
//! User space can provoke every race here. The resolver answers each of them by trying again.

use super::{
    resolver::{
        unwritable_anonymous,
        without_mapping, //
    },
    Borrowed,
    Check,
    Object,
    Resolve,
    Resolver,
    Visit, //
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
        inode::DeferredPut,
        task, //
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

/// The page resolver. See the [module](self).
pub(crate) struct Page;

impl Resolve for Page {
    #[inline(always)]
    fn resolve<R>(
        addr: usize,
        access: Access,
        any_file: bool,
        mut visitor: impl Visit<R>,
    ) -> Result<R> {
        // This first attempt has only what the two most common cases need: a page of a file, and a
        // writable anonymous page. Its steps 1 to 3 are the same as in `find`.
        let unwritable = match PageRef::get(addr, Access::Write) {
            Ok(page) => {
                let attempt = match look(&page) {
                    Mapping::File(mapping) => on_file(page, mapping, addr, any_file, &mut visitor)?,
                    Mapping::Anonymous => on_anonymous(&page, addr, &mut visitor)?,
                    Mapping::None => {
                        settle(&page, addr, Access::Write)?;
                        drop(page);
                        Err(DeferredPut::Nothing)
                    }
                };
                match attempt {
                    Ok(result) => return Ok(result),
                    // No lock is held here, so this may sleep to put the references.
                    Err(deferred) => drop(deferred),
                }
                task::before_retry()?;
                None
            }
            Err(error) => Some(error),
        };
        slowly(unwritable, addr, access, any_file, visitor)
    }
}

/// Handles all other cases, and tries as often as necessary.
///
/// If the first attempt has already found that there is no writable page, `unwritable` is the error
/// of that.
#[cold]
#[inline(never)]
fn slowly<R>(
    mut unwritable: Option<Error>,
    addr: usize,
    access: Access,
    any_file: bool,
    mut visitor: impl Visit<R>,
) -> Result<R> {
    super::resolver::repeat(|| {
        let found = match unwritable.take() {
            Some(error) => find_unwritable(addr, access, error)?,
            None => find(addr, access)?,
        };
        match found {
            Found::File(page, mapping) => on_file(page, mapping, addr, any_file, &mut visitor),
            Found::Anonymous(page) => on_anonymous(&page, addr, &mut visitor),
            Found::Changing => Ok(Err(DeferredPut::Nothing)),
        }
    })
}

/// Visits the key of a word on an anonymous page. The key is the address, so neither a lock nor RCU
/// is needed (000).
#[inline(always)]
fn on_anonymous<R>(
    page: &PageRef,
    addr: usize,
    visitor: &mut impl Visit<R>,
) -> Result<Result<R, DeferredPut>> {
    Ok(visitor.visit(&Borrowed::in_process(addr, Some(page))?))
}

/// What steps 1 to 3 found.
enum Found {
    /// A page of a file, which belonged to this mapping.
    File(PageRef, FileMapping),
    /// An anonymous page.
    Anonymous(PageRef),
    /// Something that was just being changed. The caller has to try again.
    Changing,
}

/// Steps 1 to 3: finds the page, and what it belongs to.
fn find(addr: usize, access: Access) -> Result<Found> {
    // 1. Get the page. That takes mmap_lock only if the page has to be faulted in.
    // 2. Get its folio. From here on, our reference keeps the folio from being split.       (004)
    match PageRef::get(addr, Access::Write) {
        // 3. Read what it belongs to.
        Ok(page) => match look(&page) {
            Mapping::File(mapping) => Ok(Found::File(page, mapping)),
            mapping => judge(page, mapping, addr, Access::Write),
        },
        Err(error) => find_unwritable(addr, access, error),
    }
}

/// Does what [`find`] does, after looking for a writable page has failed with `error`.
fn find_unwritable(addr: usize, access: Access, error: Error) -> Result<Found> {
    // `get_user_pages_fast()` may return another error than EFAULT for an address that is not one
    // of user space, because the end of the range overflows before the range is checked.
    super::check_range(addr)?;
    if error != EFAULT || access == Access::Write {
        return Err(error);
    }
    let page = PageRef::get(addr, Access::Read)?;
    let mapping = look(&page);
    judge(page, mapping, addr, Access::Read)
}

/// Reads what the page belongs to.
#[inline(always)]
fn look(page: &PageRef) -> Mapping {
    if lab::fault(Point::NoMapping) {
        Mapping::None
    } else {
        page.mapping()
    }
}

/// The rest of step 3: decides what follows from what the page belongs to. The page was looked up
/// at `addr`, for this kind of `access`.
fn judge(page: PageRef, mapping: Mapping, addr: usize, access: Access) -> Result<Found> {
    match mapping {
        Mapping::File(mapping) => Ok(Found::File(page, mapping)),
        Mapping::Anonymous if access == Access::Read => {
            unwritable_anonymous(Resolver::Page, addr).map(|()| Found::Changing)
        }
        Mapping::Anonymous => Ok(Found::Anonymous(page)),
        Mapping::None => settle(&page, addr, access).map(|()| Found::Changing),
    }
}

/// Handles a page that belongs to nothing, as [`without_mapping`] says. If the page is just being
/// moved, waits until that is done (000, 002).
///
/// This is the only path that takes the folio lock.
///
/// # Errors
///
/// `EFAULT`: the page never belongs to anything. `EINTR`: the task was killed.
#[cold]
#[inline(never)]
fn settle(page: &PageRef, addr: usize, access: Access) -> Result {
    let moving = FolioLock::take(page)?.is_moving();
    without_mapping(Resolver::Page, page, moving, addr, access)
}

/// Steps 4 to 9, for a page of a file.
#[inline(always)]
fn on_file<R>(
    page: PageRef,
    mapping: FileMapping,
    addr: usize,
    any_file: bool,
    visitor: &mut impl Visit<R>,
) -> Result<Result<R, DeferredPut>> {
    // 4. Enter an RCU read-side critical section: no inode is freed from here on.
    let rcu = rcu::read_lock();
    let result = match borrow(&page, mapping, addr, any_file, &rcu)? {
        // Steps 6 and 7 are in `Borrowed::own` and `Borrowed::id`.
        Some(key) => visitor.visit(&key),
        None => Err(DeferredPut::Nothing),
    };
    // 8. Leave the RCU read-side critical section.
    drop(rcu);
    // 9. Put the folio before anything that may turn out to be the last iput(), as dropping the
    //    result may.                                                                      (000)
    drop(page);
    Ok(result)
}

/// Step 5: checks that the page still belongs to the mapping, and makes the key from the number of
/// the inode that hosts the mapping. Returns `None` if the caller has to try again.
///
/// # Errors
///
/// `EFAULT`: the inode cannot be held, and `any_file` is false.
#[inline(always)]
fn borrow<'a>(
    page: &'a PageRef,
    mapping: FileMapping,
    addr: usize,
    any_file: bool,
    rcu: &'a rcu::Guard,
) -> Result<Option<Borrowed<'a>>> {
    match page.host(mapping, rcu) {
        Some(host) if !lab::fault(Point::HostGone) => {
            let object = Object::Seen(host, Check::Page(mapping), rcu);
            Borrowed::on_page(host, page, addr, any_file, object).map(Some)
        }
        _ => {
            trace::retry(Resolver::Page, Step::HostGone);
            Ok(None)
        }
    }
}

#[cfg(RFUTEX_KUNIT)]
#[kunit_tests(rfutex_resolver)]
mod tests {
    use super::{
        super::{
            KeyId,
            OwnedKey,
            Resolver, //
        },
        *, //
    };
    use crate::{
        lab::kunit::{
            self,
            forced,
            killed,
            Access::ReadWrite,
            Mapping as Memory,
            OnFile, //
        },
        word::Word, //
    };

    /// The key that a wait finds.
    fn own(word: Word) -> Result<OwnedKey> {
        kunit::own(Resolver::Page, word)
    }

    /// The key that a wake finds.
    fn resolve(word: Word) -> Result<KeyId> {
        kunit::resolve(Resolver::Page, word)
    }

    /// The key that a wait finds, and the one that a wake finds.
    fn both(word: Word) -> (Result<OwnedKey>, Result<KeyId>) {
        let owned = own(word);
        (owned, resolve(word))
    }

    #[test]
    fn locked_folio_stops_nobody() -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        // Without the signal, a resolver that takes the lock would wait for ever.
        let (owned, borrowed) = killed(|| on_file.with_folio_locked(|| both(word)))?;
        let for_wait = owned.map(|key| key.id());
        assert!(for_wait? == borrowed?);
        Ok(())
    }

    fn wait_tries_again(point: Point) -> Result {
        let on_file = OnFile::new()?;
        let word = on_file.word(8)?;
        let before = on_file.counts();
        let undisturbed = own(word)?.id();
        let (result, hits) = forced(point, 3, || own(word));
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
        let undisturbed = own(word)?.id();
        let (found, hits) = forced(point, 3, || resolve(word));
        let after = on_file.counts();
        assert!(found? == undisturbed);
        assert_eq!(hits, times);
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
    fn wake_looks_again_when_the_mapping_changed() -> Result {
        wake_tries_again(Point::MappingChanged, 3)
    }

    #[test]
    fn wake_takes_no_reference_that_could_fail() -> Result {
        wake_tries_again(Point::InodeGoing, 0)
    }

    #[test]
    fn anonymous_page_on_its_way_is_looked_at_again() -> Result {
        let memory = Memory::anonymous(1, ReadWrite)?;
        let word = memory.word(8);
        let undisturbed = own(word)?.id();
        let (owned, hits) = forced(Point::NoMapping, 2, || own(word));
        assert_eq!(hits, 2);
        assert!(owned?.id() == undisturbed);
        let (found, hits) = forced(Point::NoMapping, 2, || resolve(word));
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
        let again = matches!(borrow(&page, left, word.addr(), false, &rcu), Ok(None));
        drop(rcu);
        assert!(again);
        Ok(())
    }

    #[test]
    fn page_that_gets_no_mapping_is_given_up() -> Result {
        // Reading memory that was never written maps the zero page, which has no mapping.
        let memory = Memory::anonymous(1, crate::lab::kunit::Access::Read)?;
        memory.read(0, &mut [0; 1])?;
        let (owned, borrowed) = both(memory.word(0));
        let errors = (owned.err(), borrowed.err());
        assert!(errors == (Some(EFAULT), Some(EFAULT)));
        Ok(())
    }

    #[test]
    fn page_that_was_removed_from_its_file_is_not_given_up() -> Result {
        let on_file = OnFile::new()?;
        let addr = on_file.word(8)?.addr();
        let removed = PageRef::get(addr, Access::Write)?;
        on_file.file()?.resize(0)?;
        let found_nothing = settle(&removed, addr, Access::Write);
        on_file.file()?.resize(1)?;
        let found_another = settle(&removed, addr, Access::Write);
        let belongs_to_nothing = matches!(removed.mapping(), Mapping::None);
        drop(removed);
        assert!(belongs_to_nothing);
        assert!(found_nothing.is_ok());
        assert!(found_another.is_ok());
        Ok(())
    }

    #[test]
    fn anonymous_page_that_was_mapped_meanwhile_is_not_given_up() -> Result {
        let memory = Memory::anonymous(1, ReadWrite)?;
        let addr = memory.at(8);
        memory.write(8, &[0; 4])?;
        let page = PageRef::get(addr, Access::Read)?;
        let mapping = page.mapping();
        let judged = judge(page, mapping, addr, Access::Read);
        assert!(matches!(judged, Ok(Found::Changing)));
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
            let (result, hits) = killed(|| forced(point, u32::MAX, || own(word)));
            assert!(result.err() == Some(EINTR));
            assert_eq!(hits, 1);
        }
        for point in [Point::NoMapping, Point::HostGone, Point::MappingChanged] {
            let (result, hits) = killed(|| forced(point, u32::MAX, || resolve(word)));
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
            killed(|| on_file.with_folio_locked(|| forced(Point::NoMapping, 1, || own(word))))?;
        let error = result.err();
        assert!(error == Some(EINTR));
        assert_eq!(hits, 1);
        assert!(on_file.counts() == before);
        Ok(())
    }
}
