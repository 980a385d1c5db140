// SPDX-License-Identifier: GPL-2.0

//! Tests of which words share a key, which have different keys, and which have none.

use super::*;
use crate::key;
use crate::lab::kunit::{
    attach_mm,
    own,
    resolve,
    sized,
    Access::{
        Read,
        ReadWrite, //
    },
    FileSystem,
    Mapping,
    OnFile,
    Sharing::{
        Private,
        Shared, //
    },
    TestFile, //
};
use crate::{
    mm::gup::PageRef,
    word::Location, //
};
use kernel::page::PAGE_SIZE;

/// The key of a word, if a wait, a wake and `RFUTEX_KEY_INFO` find the same one.
///
/// # Errors
///
/// `EDOM`: they find different keys, or fail in different ways. Otherwise the error of all three.
fn id(word: Word) -> Result<KeyId> {
    let owned = own(Resolver::Page, word).map(|key| key.id());
    let resolved = resolve(Resolver::Page, word);
    let described = describe(Resolver::Page, word, Hold::Inode).map(|(key, _)| key);
    match (owned, resolved, described) {
        (Ok(a), Ok(b), Ok(c)) if a == b && b == c => Ok(a),
        (Err(a), Err(b), Err(c)) if a == b && b == c => Err(a),
        _ => Err(EDOM),
    }
}

/// Whether a waiter on the word holds an inode.
fn holds_inode(word: Word) -> Result<bool> {
    Ok(own(Resolver::Page, word)?.held.inode.is_some())
}

/// Calls `visitor` with the key of a word that is not private.
fn with_borrowed<R>(
    word: Word,
    visitor: impl FnMut(&Borrowed<'_>) -> Result<R, DeferredPut>,
) -> Result<R> {
    visit(Resolver::Page, word, Access::Read, Hold::Inode, visitor)
}

/// Whether a word at `addr` has no key, so that nobody can wait or wake there.
fn refused(addr: usize) -> bool {
    id(Word::at(addr, Location::Address)).err() == Some(EFAULT)
}

/// A file of four pages, and its second to fourth mapped for reading and writing.
fn file_and_mapping(file_system: &FileSystem) -> Result<(TestFile, Mapping)> {
    let file = file_system.file(4)?;
    let mapping = Mapping::of(&file, 1, 3, ReadWrite, Shared)?;
    Ok((file, mapping))
}

/// The private word at `addr`.
fn private_at(addr: usize) -> Word {
    Word::at(addr, Location::PrivateAddress)
}

#[kunit_tests(rfutex_key)]
mod cases {
    use super::*;

    #[test]
    fn anonymous_page_is_known_by_mm_and_address() -> Result {
        let mapping = Mapping::anonymous(2, ReadWrite)?;
        let key = id(mapping.word(PAGE_SIZE + 24))?;
        assert!(key.kind() == Kind::Mm);
        assert_eq!(key.index(), (mapping.at(PAGE_SIZE) >> PAGE_SHIFT) as u64);
        assert_eq!(key.offset(), 24);
        assert!(!holds_inode(mapping.word(0))?);
        assert!(id(mapping.word(PAGE_SIZE + 24))? == key);
        assert!(id(mapping.word(PAGE_SIZE + 25))? != key);
        assert!(id(mapping.word(24))? != key);
        Ok(())
    }

    #[test]
    fn private_is_known_by_mm_and_address_whatever_is_there() -> Result {
        let file_system = FileSystem::mount(c"tmpfs")?;
        let (_file, shared) = file_and_mapping(&file_system)?;
        let anonymous = Mapping::anonymous(1, ReadWrite)?;
        for mapping in [&shared, &anonymous] {
            let key = id(mapping.private_word(8))?;
            assert!(key.kind() == Kind::Private);
            assert_eq!(key.index(), (mapping.at(0) >> PAGE_SHIFT) as u64);
            assert_eq!(key.offset(), 8);
            assert!(!holds_inode(mapping.private_word(8))?);
        }
        // Nothing has to be mapped there.
        let addr = anonymous.at(0);
        drop(anonymous);
        assert!(id(private_at(addr))?.kind() == Kind::Private);
        Ok(())
    }

    #[test]
    fn private_and_shared_never_meet() -> Result {
        let file_system = FileSystem::mount(c"tmpfs")?;
        let (_file, shared) = file_and_mapping(&file_system)?;
        let anonymous = Mapping::anonymous(1, ReadWrite)?;
        for mapping in [&shared, &anonymous] {
            assert!(id(mapping.word(8))? != id(mapping.private_word(8))?);
        }
        Ok(())
    }

    #[test]
    fn file_page_is_known_by_inode_and_position() -> Result {
        let file_system = FileSystem::mount(c"tmpfs")?;
        let (file, mapping) = file_and_mapping(&file_system)?;
        let key = id(mapping.word(PAGE_SIZE + 40))?;
        assert!(key.kind() == Kind::Inode);
        assert!(key.is_inode(file.number()));
        assert_eq!(key.index(), 2);
        assert_eq!(key.offset(), 40);
        assert!(holds_inode(mapping.word(PAGE_SIZE + 40))?);
        Ok(())
    }

    #[test]
    fn two_mappings_of_a_file_page_share_a_key() -> Result {
        let file_system = FileSystem::mount(c"tmpfs")?;
        let (file, mapping) = file_and_mapping(&file_system)?;
        let other = Mapping::of(&file, 0, 4, ReadWrite, Shared)?;
        let read_only = Mapping::of(&file, 2, 1, Read, Shared)?;
        let key = id(mapping.word(PAGE_SIZE + 16))?;
        assert!(id(other.word(2 * PAGE_SIZE + 16))? == key);
        assert!(id(read_only.word(16))? == key);
        // The same offset in the two mappings is a different position in the file.
        assert!(id(other.word(PAGE_SIZE + 16))? != key);
        Ok(())
    }

    #[test]
    fn other_page_offset_or_file_is_another_key() -> Result {
        let file_system = FileSystem::mount(c"tmpfs")?;
        let (_file, mapping) = file_and_mapping(&file_system)?;
        let (_other_file, other) = file_and_mapping(&file_system)?;
        let key = id(mapping.word(16))?;
        assert!(id(mapping.word(16))? == key);
        assert!(id(mapping.word(PAGE_SIZE + 16))? != key);
        assert!(id(mapping.word(17))? != key);
        assert!(id(mapping.word(20))? != key);
        let elsewhere = id(other.word(16))?;
        assert!(elsewhere != key);
        assert!(elsewhere.index() == key.index() && elsewhere.offset() == key.offset());
        Ok(())
    }

    #[test]
    fn size_is_no_part_of_the_key() -> Result {
        let file_system = FileSystem::mount(c"tmpfs")?;
        let (_file, shared) = file_and_mapping(&file_system)?;
        let anonymous = Mapping::anonymous(1, ReadWrite)?;
        for mapping in [&shared, &anonymous] {
            let key = id(mapping.word(64))?;
            for size in [1, 2, 4, 8] {
                assert!(id(sized(mapping.at(64), size)?)? == key);
            }
        }
        Ok(())
    }

    #[test]
    fn private_mapping_of_a_file_is_the_process_own_where_it_may_write() -> Result {
        let file_system = FileSystem::mount(c"tmpfs")?;
        let (file, shared) = file_and_mapping(&file_system)?;
        shared.write(0, b"there")?;
        let read_only = Mapping::of(&file, 1, 1, Read, Private)?;
        let writable = Mapping::of(&file, 1, 1, ReadWrite, Private)?;
        assert!(id(read_only.word(8))? == id(shared.word(8))?);
        // The resolver makes the kernel copy the page first, because the word will be in the copy
        // when it is written.
        let key = id(writable.word(8))?;
        assert!(key.kind() == Kind::Mm);
        assert_eq!(key.index(), (writable.at(0) >> PAGE_SHIFT) as u64);
        let mut bytes = [0; 5];
        writable.read(0, &mut bytes)?;
        assert_eq!(&bytes, b"there");
        // A copy that the process cannot write to is a read-only anonymous page.
        read_only.poke(0)?;
        assert!(refused(read_only.at(8)));
        Ok(())
    }

    #[test]
    fn read_only_anonymous_memory_has_no_key() -> Result {
        let mapping = Mapping::anonymous(2, Read)?;
        // The word lies on the zero page, then on no page at all, then on a page of its own.
        mapping.read(0, &mut [0; 1])?;
        assert!(refused(mapping.at(0)));
        assert!(refused(mapping.at(PAGE_SIZE)));
        mapping.poke(PAGE_SIZE)?;
        assert!(refused(mapping.at(PAGE_SIZE)));
        Ok(())
    }

    #[test]
    fn what_is_not_mapped_has_no_key() -> Result {
        let mapping = Mapping::anonymous(1, ReadWrite)?;
        let addr = mapping.at(0);
        assert!(!refused(addr));
        drop(mapping);
        assert!(refused(addr));
        assert!(refused(0));
        Ok(())
    }

    #[test]
    fn beyond_the_end_of_a_file_there_is_no_key() -> Result {
        let file_system = FileSystem::mount(c"tmpfs")?;
        let file = file_system.file(1)?;
        let mapping = Mapping::of(&file, 0, 2, ReadWrite, Shared)?;
        assert!(!refused(mapping.at(0)));
        assert!(refused(mapping.at(PAGE_SIZE)));
        Ok(())
    }

    #[test]
    fn kernel_addresses_have_no_key() -> Result {
        attach_mm()?;
        let own_stack = 0u64;
        let kernel = core::ptr::from_ref(&own_stack).addr();
        let page = kernel & kernel::page::PAGE_MASK;
        for addr in [kernel, page, 1 << 63, 1 << 62, usize::MAX, usize::MAX & !7] {
            assert!(refused(addr));
            assert!(id(private_at(addr)).err() == Some(EFAULT));
        }
        Ok(())
    }

    #[test]
    fn user_space_ends_where_it_ends() -> Result {
        attach_mm()?;
        // This finds the last byte of user space bit by bit.
        let last = (0..usize::BITS).rev().fold(0, |addr, bit| {
            let next = addr | 1 << bit;
            if uaccess::access_ok(next) {
                next
            } else {
                addr
            }
        });
        assert!(last > 1 << 32);
        assert!(id(private_at(last)).is_ok());
        assert!(id(private_at(last + 1)).err() == Some(EFAULT));
        Ok(())
    }

    #[test]
    fn file_whose_inode_cannot_be_held_has_keys_only_where_nothing_is_held() -> Result {
        let key = |word, hold| match key::resolve(Resolver::Page, word, Access::Read, hold) {
            Err(error) if error != EFAULT => Err(EDOM),
            result => Ok(result.ok()),
        };
        for (internal, magic, can_be_held) in [
            (false, 4711, true),
            (true, 4711, false),
            (true, crate::bindings::RAMFS_MAGIC as usize, true),
        ] {
            let file_system = if internal {
                FileSystem::mount_internal(c"ramfs")?
            } else {
                FileSystem::mount(c"ramfs")?
            };
            let file = file_system.file(1)?;
            let mapping = Mapping::of(&file, 0, 1, ReadWrite, Shared)?;
            mapping.write(0, &[1])?;
            file.set_magic(magic);
            let held = key(mapping.word(0), Hold::Inode)?;
            let not_held = key(mapping.word(0), Hold::Nothing)?;
            assert_eq!(held.is_some(), can_be_held);
            assert!(not_held.is_some() && (held.is_none() || held == not_held));
            // A private word has a key whatever the inode is.
            assert!(id(mapping.private_word(0)).is_ok());
        }
        Ok(())
    }

    #[test]
    fn what_is_shown_is_where_the_word_lies() -> Result {
        let mapping = Mapping::anonymous(1, ReadWrite)?;
        let described = |word| describe(Resolver::Page, word, Hold::Inode);
        let position = described(mapping.word(0))?.1.ok_or(EDOM)?;
        assert_eq!((position.order, position.index), (0, 0));
        assert!(described(mapping.private_word(0))?.1.is_none());
        Ok(())
    }

    #[test]
    fn owned_key_refers_to_inode_and_superblock_alone() -> Result {
        let on_file = OnFile::new()?;
        let before = on_file.counts();
        let key = own(Resolver::Page, on_file.word(8)?)?;
        let during = on_file.counts();
        let second = own(Resolver::Page, on_file.word(16)?)?;
        let both = on_file.counts();
        drop((key, second));
        assert!(during == before.plus(1, 1, 0));
        assert!(both == before.plus(2, 2, 0));
        assert!(on_file.counts() == before);
        Ok(())
    }

    #[test]
    fn borrowed_key_refers_to_the_folio_alone() -> Result {
        let on_file = OnFile::new()?;
        let before = on_file.counts();
        let (holds, during) = with_borrowed(on_file.word(8)?, |key: &Borrowed<'_>| {
            Ok((key.still_holds(), on_file.counts()))
        })?;
        assert!(holds);
        assert!(during == before.plus(0, 0, 1));
        assert!(on_file.counts() == before);
        Ok(())
    }

    #[test]
    fn key_refers_to_nothing() -> Result {
        let on_file = OnFile::new()?;
        let before = on_file.counts();
        let key = id(on_file.word(8)?)?;
        let bare = OwnedKey::bare(key);
        assert!(on_file.counts() == before);
        drop(bare);
        assert!(on_file.counts() == before);
        Ok(())
    }

    #[test]
    fn borrowed_key_holds_as_long_as_the_page_is_where_it_was() -> Result {
        let (here, elsewhere) = (OnFile::new()?, OnFile::new()?);
        let elsewhere = PageRef::get(elsewhere.mapping()?.at(8), Access::Write)?;
        let other = match elsewhere.mapping() {
            crate::mm::folio::Mapping::File(mapping) => mapping,
            _ => return Err(EDOM),
        };
        let before = here.counts();
        let (held, id, owned) = with_borrowed(here.word(8)?, |key: &Borrowed<'_>| {
            let held = key.still_holds();
            // Make it look as if the page had belonged to the other mapping when it was resolved.
            let mut key = *key;
            if let Object::Seen(_, Check::Page(mapping), _) = &mut key.object {
                *mapping = other;
            }
            // The results are returned, so that any references in them are dropped only after the
            // RCU read-side critical section.
            Ok((held, key.id().is_ok(), key.own()))
        })?;
        drop(elsewhere);
        let became_owned = owned.is_ok();
        drop(owned);
        assert!(held);
        assert!(!id);
        assert!(!became_owned);
        assert!(here.counts() == before);
        Ok(())
    }

    #[test]
    fn private_word_on_a_file_refers_to_nothing() -> Result {
        let on_file = OnFile::new()?;
        let before = on_file.counts();
        let word = on_file.mapping()?.private_word(8);
        let owned = own(Resolver::Page, word)?;
        let during = on_file.counts();
        drop(owned);
        assert!(during == before);
        Ok(())
    }

    #[test]
    fn wait_that_is_going_to_fail_takes_no_reference() -> Result {
        let on_file = OnFile::new()?;
        let before = on_file.counts();
        let mut during = None;
        let seen = core::cell::Cell::new(None);
        for resolver in Resolver::ALL {
            let result = key::own(resolver, on_file.word(8)?, || {
                seen.set(Some(on_file.counts()));
                Err::<(), _>(EAGAIN)
            })?;
            during = seen.take();
            assert!(result.err() == Some(EAGAIN));
            // The resolvers that look at the page have a reference on its folio.
            let page = i32::from(resolver != Resolver::Vma);
            assert!(during == Some(before.plus(0, 0, page)));
            assert!(on_file.counts() == before);
        }
        assert!(during.is_some());
        Ok(())
    }

    #[test]
    fn owned_key_outlives_file_and_mount() -> Result {
        let mut on_file = OnFile::new()?;
        let trace = on_file.file_system.trace();
        let key = own(Resolver::Page, on_file.word(8)?)?;
        on_file.close();
        // Nobody has the file open and it has no name, but the key still holds its inode.
        let with_root = on_file.file_system.nr_inodes()?;
        drop(on_file);
        trace.wait_for(Some(1))?;
        drop(key);
        let after = trace.active();
        assert_eq!(with_root, 2);
        assert_eq!(after, None);
        Ok(())
    }
}
