// SPDX-License-Identifier: GPL-2.0

//! Tests of which references are taken and put, on made-up inodes and on those of a file system.

use super::*;
use crate::lab::kunit::{
    read,
    OnFile, //
};
use kernel::{
    alloc::flags::__GFP_ZERO,
    types::Opaque, //
};

/// An inode and a superblock that are just zeroed memory, with a few fields set.
struct MadeUp {
    inode: KBox<Opaque<bindings::inode>>,
    superblock: KBox<Opaque<bindings::super_block>>,
}

/// Zeroed memory in place of a `T`.
fn zeroed<T>() -> Result<KBox<Opaque<T>>> {
    let memory = KBox::<Opaque<T>>::new_uninit(GFP_KERNEL | __GFP_ZERO)?;
    // SAFETY: Any bytes, initialised or not, are a valid value of an `Opaque`.
    Ok(unsafe { memory.assume_init() })
}

impl MadeUp {
    fn new(i_count: i32, s_active: i32) -> Result<Self> {
        let made_up = Self {
            inode: zeroed()?,
            superblock: zeroed()?,
        };
        // SAFETY: Both were just allocated and nobody else has a pointer to them, and zeroed memory
        // is a valid value of either type.
        unsafe {
            (*made_up.inode.get()).i_sb = made_up.superblock.get();
            (*made_up.inode.get()).i_count.counter = i_count;
            (*made_up.superblock.get()).s_active.counter = s_active;
        }
        Ok(made_up)
    }

    fn host<'rcu>(&self, _rcu: &'rcu rcu::Guard) -> Host<'rcu> {
        // SAFETY: The tests drop `self` after the RCU read-side critical section, so that the inode
        // is valid for `'rcu`. The pointer of a box is never null.
        unsafe { Host::from_raw(NonNull::new_unchecked(self.inode.get())) }
    }

    /// The values of `i_count` and `s_active`.
    fn counts(&self) -> (i32, i32) {
        // SAFETY: Both boxes are owned by `self`, so that the counters in them are valid.
        unsafe {
            (
                read(&raw const (*self.inode.get()).i_count),
                read(&raw const (*self.superblock.get()).s_active),
            )
        }
    }
}

/// Tries to take references on the inode of the file, in an RCU read-side critical section.
fn try_get(on_file: &OnFile, _rcu: &rcu::Guard) -> Result<Result<InodeRef, DeferredPut>> {
    // SAFETY: The file is open, as `file()` has just checked, and so keeps its inode for this call.
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
            (helpers::TMPFS_MAGIC, true),
            (helpers::HUGETLBFS_MAGIC, true),
            (helpers::BDEVFS_MAGIC, true),
            (0xa10a_10a1, true),
            (helpers::RAMFS_MAGIC, true),
            (helpers::PIPEFS_MAGIC, false),
            (helpers::DAXFS_MAGIC, false),
            (helpers::GUEST_MEMFD_MAGIC, false),
            (helpers::SECRETMEM_MAGIC, false),
            (helpers::ANON_INODE_FS_MAGIC, false),
            (0, false),
        ];
        let held = magics.map(|(magic, _)| {
            [0, helpers::RFUTEX_SB_KERNMOUNT].map(|flags| {
                // The flag 1 is there to see that other flags do not matter.
                // SAFETY: `made_up` owns the superblock, and no other thread accesses it.
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
            // The inode of a ring of aio has no type.
            (0, [true, true, false]),
            (bindings::S_IFCHR, [false; 3]),
        ];
        let rcu = rcu::read_lock();
        let host = made_up.host(&rcu);
        let mappable = types.map(|(mode, _)| {
            [
                helpers::TMPFS_MAGIC,
                helpers::BDEVFS_MAGIC,
                helpers::PIPEFS_MAGIC,
            ]
            .map(|magic| {
                // SAFETY: `made_up` owns both, and no other thread accesses them.
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
        // `inode_init_always()` does the same.
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
        // The reference on the superblock is put after the critical section, because that may
        // sleep.
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
        // From now on, only the test has a reference on the inode, and only the page cache has one
        // on the folio.
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
        // The inode of the root directory is left.
        assert_eq!((nr_before, nr_after), (2, 1));
        Ok(())
    }

    #[test]
    fn inode_that_is_recycled_gets_its_count_back_and_no_iput() -> Result {
        // An inode that XFS recycles has a count of 1 and I_FREEING set. An iput() on it would be a
        // bug, which CONFIG_DEBUG_VFS detects.
        let made_up = MadeUp::new(1, 1)?;
        // SAFETY: `made_up` owns the inode, and no other thread accesses it.
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
