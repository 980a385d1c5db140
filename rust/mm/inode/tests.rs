// SPDX-License-Identifier: GPL-2.0

//! References on a made-up inode, and on one of a file system: which are taken, and which come back.

use super::*;
use crate::lab::kunit::{
    read,
    OnFile, //
};
use kernel::{
    alloc::flags::__GFP_ZERO,
    types::Opaque, //
};

/// An inode and a superblock with nothing behind them.
struct MadeUp {
    inode: KBox<Opaque<bindings::inode>>,
    superblock: KBox<Opaque<bindings::super_block>>,
}

/// Zeroed memory in place of a `T`.
fn zeroed<T>() -> Result<KBox<Opaque<T>>> {
    let memory = KBox::<Opaque<T>>::new_uninit(GFP_KERNEL | __GFP_ZERO)?;
    // SAFETY: Anything is a value of an `Opaque`.
    Ok(unsafe { memory.assume_init() })
}

impl MadeUp {
    fn new(i_count: i32, s_active: i32) -> Result<Self> {
        let made_up = Self {
            inode: zeroed()?,
            superblock: zeroed()?,
        };
        // SAFETY: Both are ours, and zeros are values of theirs.
        unsafe {
            (*made_up.inode.get()).i_sb = made_up.superblock.get();
            (*made_up.inode.get()).i_count.counter = i_count;
            (*made_up.superblock.get()).s_active.counter = s_active;
        }
        Ok(made_up)
    }

    fn host<'rcu>(&self, _rcu: &'rcu rcu::Guard) -> Host<'rcu> {
        // SAFETY: The tests drop it after the section. A box is not null.
        unsafe { Host::from_raw(NonNull::new_unchecked(self.inode.get())) }
    }

    /// `i_count` and `s_active`.
    fn counts(&self) -> (i32, i32) {
        // SAFETY: Both are valid.
        unsafe {
            (
                read(&raw const (*self.inode.get()).i_count),
                read(&raw const (*self.superblock.get()).s_active),
            )
        }
    }
}

/// What comes of taking references on the file's inode, in an RCU section.
fn try_get(on_file: &OnFile, _rcu: &rcu::Guard) -> Result<Result<InodeRef, DeferredPut>> {
    // SAFETY: The file is open.
    Ok(unsafe { Host::from_raw(on_file.file()?.inode()) }.try_get())
}

#[kunit_tests(rfutex_inode)]
mod cases {
    use super::*;

    #[test]
    fn built_in_file_systems_and_those_that_are_mounted_can_be_held() -> Result {
        let made_up = MadeUp::new(1, 1)?;
        let superblock = made_up.superblock.get();
        let rcu = rcu::read_lock();
        let host = made_up.host(&rcu);
        let magics = [
            (bindings::TMPFS_MAGIC, true),
            (bindings::HUGETLBFS_MAGIC, true),
            (bindings::BDEVFS_MAGIC, true),
            (0xa10a_10a1, true),
            (bindings::RAMFS_MAGIC, true),
            (bindings::PIPEFS_MAGIC, false),
            (bindings::DAXFS_MAGIC, false),
            (bindings::GUEST_MEMFD_MAGIC, false),
            (bindings::SECRETMEM_MAGIC, false),
            (bindings::ANON_INODE_FS_MAGIC, false),
            (0, false),
        ];
        let held = magics.map(|(magic, _)| {
            [0, helpers::RFUTEX_SB_KERNMOUNT].map(|flags| {
                // SAFETY: The superblock is ours. Other flags do not matter.
                unsafe {
                    (*superblock).s_magic = magic as usize;
                    (*superblock).s_flags = flags | 1;
                }
                host.can_be_held()
            })
        });
        drop(rcu);
        assert_eq!(held, magics.map(|(_, listed)| [true, listed]));
        Ok(())
    }

    #[test]
    fn memory_of_char_devices_is_not_their_inodes() -> Result {
        let made_up = MadeUp::new(1, 1)?;
        let types = [
            (bindings::S_IFREG, [true, true, false]),
            (bindings::S_IFBLK, [true, true, false]),
            // An inode of no type: a ring of aio.
            (0, [true, true, false]),
            (bindings::S_IFCHR, [false; 3]),
        ];
        let rcu = rcu::read_lock();
        let host = made_up.host(&rcu);
        let mappable = types.map(|(mode, _)| {
            [
                bindings::TMPFS_MAGIC,
                bindings::BDEVFS_MAGIC,
                bindings::PIPEFS_MAGIC,
            ]
            .map(|magic| {
                // SAFETY: Both are ours.
                unsafe {
                    (*made_up.inode.get()).i_mode = mode as u16 | 0o600;
                    (*made_up.superblock.get()).s_magic = magic as usize;
                    (*made_up.superblock.get()).s_flags = helpers::RFUTEX_SB_KERNMOUNT;
                }
                host.mappable_by_users()
            })
        });
        drop(rcu);
        assert_eq!(mappable, types.map(|(_, expected)| expected));
        Ok(())
    }

    #[test]
    fn inode_has_one_number_and_no_other_has_it() -> Result {
        let (one, other) = (MadeUp::new(1, 1)?, MadeUp::new(1, 1)?);
        let rcu = rcu::read_lock();
        let unnumbered = one.host(&rcu).number().is_none();
        let numbers = [&one, &other, &one].map(|inode| inode.host(&rcu).number_or_give());
        let read = one.host(&rcu).number();
        drop(rcu);
        assert!(unnumbered);
        assert!(numbers[0] == numbers[2] && numbers[0] != numbers[1]);
        assert!(read == Some(numbers[0]));
        Ok(())
    }

    #[test]
    fn recycled_inode_has_another_number() -> Result {
        let inode = MadeUp::new(1, 1)?;
        let rcu = rcu::read_lock();
        let before = inode.host(&rcu).number_or_give();
        // As `inode_init_always()` does.
        inode
            .host(&rcu)
            .sequence()
            .store(0, kernel::sync::atomic::Relaxed);
        let after = inode.host(&rcu).number_or_give();
        drop(rcu);
        assert!(before != after);
        Ok(())
    }

    #[test]
    fn superblock_that_is_going_is_left_alone() -> Result {
        let made_up = MadeUp::new(1, 0)?;
        let rcu = rcu::read_lock();
        let attempt = made_up.host(&rcu).try_get();
        drop(rcu);
        let nothing = matches!(attempt, Err(DeferredPut::Nothing));
        assert!(nothing);
        assert_eq!(made_up.counts(), (1, 0));
        Ok(())
    }

    #[test]
    fn inode_that_is_going_is_left_alone() -> Result {
        let made_up = MadeUp::new(0, 1)?;
        let rcu = rcu::read_lock();
        let attempt = made_up.host(&rcu).try_get();
        let inside = made_up.counts();
        drop(rcu);
        let superblock = matches!(attempt, Err(DeferredPut::Superblock(_)));
        drop(attempt);
        assert!(superblock);
        // What may sleep comes after the section.
        assert_eq!(inside, (0, 2));
        assert_eq!(made_up.counts(), (0, 1));
        Ok(())
    }

    #[test]
    fn superblock_first_then_inode() -> Result {
        let made_up = MadeUp::new(0, 0)?;
        let rcu = rcu::read_lock();
        let attempt = made_up.host(&rcu).try_get();
        drop(rcu);
        let nothing = matches!(attempt, Err(DeferredPut::Nothing));
        drop(attempt);
        assert!(nothing);
        assert_eq!(made_up.counts(), (0, 0));
        Ok(())
    }

    #[test]
    fn reference_is_one_on_each() -> Result {
        let on_file = OnFile::new()?;
        let before = on_file.counts();
        let rcu = rcu::read_lock();
        let attempt = try_get(&on_file, &rcu)?;
        drop(rcu);
        let during = on_file.counts();
        let got = attempt.is_ok();
        drop(attempt);
        assert!(got);
        assert!(during == before.plus(1, 1, 0));
        assert!(on_file.counts() == before);
        Ok(())
    }

    #[test]
    fn giving_back_one_of_many_leaves_only_the_superblock() -> Result {
        let on_file = OnFile::new()?;
        let before = on_file.counts();
        let rcu = rcu::read_lock();
        let attempt = try_get(&on_file, &rcu)?;
        let deferred = attempt.map(|inode| inode.give_back(&rcu));
        let inside = on_file.counts();
        drop(rcu);
        let superblock = matches!(deferred, Ok(DeferredPut::Superblock(_)));
        drop(deferred);
        assert!(superblock);
        assert!(inside == before.plus(0, 1, 0));
        assert!(on_file.counts() == before);
        Ok(())
    }

    #[test]
    fn giving_back_the_last_one_waits_for_the_end_of_the_section() -> Result {
        let mut on_file = OnFile::new()?;
        let before = on_file.counts();
        let rcu = rcu::read_lock();
        let attempt = try_get(&on_file, &rcu)?;
        drop(rcu);
        // Now the file is nobody's but ours; the page cache has the folio.
        on_file.close();
        let alone = on_file.counts();
        let rcu = rcu::read_lock();
        let deferred = attempt.map(|inode| inode.give_back(&rcu));
        let inside = on_file.counts();
        drop(rcu);
        let both = matches!(deferred, Ok(DeferredPut::Both(_)));
        let nr_before = on_file.file_system.nr_inodes()?;
        drop(deferred);
        let nr_after = on_file.file_system.nr_inodes()?;
        assert!(alone == before.plus(0, 1, -1));
        assert!(inside == alone);
        assert!(both);
        // The root stays.
        assert_eq!((nr_before, nr_after), (2, 1));
        Ok(())
    }

    #[test]
    fn inode_that_is_recycled_gets_its_count_back_and_no_iput() -> Result {
        // As XFS does it: count 1 and I_FREEING. An iput() on it is a bug, which DEBUG_VFS sees.
        let made_up = MadeUp::new(1, 1)?;
        // SAFETY: The inode is ours.
        unsafe {
            (*made_up.inode.get()).i_state.__state = bindings::inode_state_flags_enum_I_FREEING;
        }
        let rcu = rcu::read_lock();
        let attempt = made_up.host(&rcu).try_get();
        let taken = made_up.counts();
        let deferred = attempt.map(|inode| inode.give_back(&rcu));
        let given = made_up.counts();
        drop(rcu);
        let superblock = matches!(deferred, Ok(DeferredPut::Superblock(_)));
        drop(deferred);
        assert_eq!(taken, (2, 2));
        assert_eq!(given, (1, 2));
        assert!(superblock);
        assert_eq!(made_up.counts(), (1, 1));
        Ok(())
    }
}
