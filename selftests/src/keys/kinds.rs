// SPDX-License-Identifier: GPL-2.0
//! Samples of each kind of memory on which a word has a key.

use crate::harness::{Feature, PAGE};
use crate::memory::{
    Disk, HUGE, HugePages, Ksm, Mount, Region, Setting, SysV, file_in, huge_tmpfs, is_huge, memfd,
    memfd_huge, rw, thp,
};
use nix::sys::mman::{MapFlags, ProtFlags};
use nix::sys::stat::{fstat, major, minor};
use rfutex::Word;
use std::any::Any;
use std::fs::File;

/// Memory of one kind, and words in it.
pub struct Sample {
    /// Different words.
    pub words: Vec<Word<'static>>,
    /// The same words in the same order, through another mapping. None where there cannot be one.
    pub again: Vec<Word<'static>>,
    /// Other words still, that have something in common with the first: the place in their file,
    /// or the file.
    pub strangers: Vec<Word<'static>>,
    /// What the key is made of.
    pub object: Object,
    /// What keeps it all. Dropped in this order.
    _keep: Vec<Box<dyn Any>>,
}

/// What a key is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// The address.
    Mm,
    /// An inode, with this device and number if fstat(2) can tell.
    Inode(Option<((u32, u32), u64)>),
}

/// A kind's name, and how to make a sample of it.
pub type Kind = (&'static str, fn() -> Sample);

/// Every kind.
pub const KINDS: &[Kind] = &[
    ("private_anonymous", private_anonymous),
    ("thp", transparent_huge),
    ("ksm", ksm),
    ("hugetlb_private_anonymous", hugetlb_private_anonymous),
    ("hugetlbfs_private", hugetlbfs_private),
    ("hugetlbfs_shared", hugetlbfs_shared),
    ("hugetlbfs_read_only_shared", hugetlbfs_read_only_shared),
    ("shared_anonymous", shared_anonymous),
    ("shared_anonymous_thp", shared_anonymous_thp),
    ("memfd", memfd_small),
    ("memfd_hugetlb", memfd_hugetlb),
    ("sysv", sysv),
    ("tmpfs", || tmpfs(Access::Shared)),
    ("tmpfs_private", || tmpfs(Access::Private)),
    ("tmpfs_read_only_shared", || tmpfs(Access::ReadOnlyShared)),
    ("tmpfs_huge", || tmpfs_huge(Access::Shared)),
    ("tmpfs_huge_private", || tmpfs_huge(Access::Private)),
    ("tmpfs_huge_read_only_private", || {
        tmpfs_huge(Access::ReadOnlyPrivate)
    }),
    ("ext4_shared", || disk("ext4", Access::Shared)),
    ("ext4_private", || disk("ext4", Access::Private)),
    ("ext4_read_only_shared", || {
        disk("ext4", Access::ReadOnlyShared)
    }),
    ("ext4_read_only_private", || {
        disk("ext4", Access::ReadOnlyPrivate)
    }),
    ("xfs_shared", || disk("xfs", Access::Shared)),
    ("xfs_private", || disk("xfs", Access::Private)),
    ("xfs_read_only_shared", || {
        disk("xfs", Access::ReadOnlyShared)
    }),
    ("xfs_read_only_private", || {
        disk("xfs", Access::ReadOnlyPrivate)
    }),
];

/// How a file is mapped where a sample's words are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Shared,
    /// Writable, and each page written: copies, which are anonymous.
    Private,
    ReadOnlyShared,
    /// The pages of the file itself: nothing was copied.
    ReadOnlyPrivate,
}

impl Access {
    fn prot(self) -> ProtFlags {
        match self {
            Self::Shared | Self::Private => rw(),
            Self::ReadOnlyShared | Self::ReadOnlyPrivate => ProtFlags::PROT_READ,
        }
    }

    fn flags(self) -> MapFlags {
        match self {
            Self::Shared | Self::ReadOnlyShared => MapFlags::MAP_SHARED,
            Self::Private | Self::ReadOnlyPrivate => MapFlags::MAP_PRIVATE,
        }
    }
}

/// Two pages' words: neighbours, and the same places of different pages. `unit` is the size of a
/// page, small or huge; of a huge one the head, the first, a middle and the last tail.
fn offsets(unit: usize) -> Vec<usize> {
    match unit {
        PAGE => vec![0, 4, PAGE - 4, PAGE, PAGE + 4, 2 * PAGE - 4],
        _ => vec![
            0,
            4,
            PAGE,
            PAGE + 4,
            unit / 2,
            unit - PAGE,
            unit - PAGE + 4,
            unit,
            unit + PAGE,
        ],
    }
}

fn words(region: &Region, start: usize, unit: usize) -> Vec<Word<'static>> {
    offsets(unit)
        .into_iter()
        .map(|at| region.word(start + at))
        .collect()
}

/// A sample of anonymous memory: two pages of `unit` bytes each.
fn anonymous(region: Region, unit: usize, mut keep: Vec<Box<dyn Any>>) -> Sample {
    let words = words(&region, 0, unit);
    keep.insert(0, Box::new(region));
    Sample {
        words,
        again: vec![],
        strangers: vec![],
        object: Object::Mm,
        _keep: keep,
    }
}

fn private_anonymous() -> Sample {
    anonymous(Region::private(2 * PAGE), PAGE, vec![])
}

fn transparent_huge() -> Sample {
    anonymous(thp(2 * HUGE), HUGE, vec![])
}

fn ksm() -> Sample {
    let ksm = Ksm::new();
    anonymous(ksm.merged(2), PAGE, vec![Box::new(ksm)])
}

fn hugetlb_private_anonymous() -> Sample {
    // And a child's copies.
    let pages = HugePages::new(4);
    let region = pages.anonymous(2 * HUGE, MapFlags::MAP_PRIVATE);
    anonymous(region, HUGE, vec![Box::new(pages)])
}

/// How long the files of samples are, in pages: words are on the second and the third.
const FILE_PAGES: usize = 3;

/// A sample of the pages of a file: the words are on its second and third page, of `unit` bytes
/// each, mapped from there on; a second mapping begins at its first. `other` is a file alike.
fn file(
    file: File,
    other: File,
    unit: usize,
    access: Access,
    mut keep: Vec<Box<dyn Any>>,
) -> Sample {
    let len = FILE_PAGES * unit;
    let whole = Region::shared(&file, 0, len);
    let another = Region::shared(&other, 0, len);
    whole.touch();
    another.touch();
    let here = Region::reserve(2 * unit, unit);
    here.map_over(0, 2 * unit, &file, unit, access.prot(), access.flags());
    if access == Access::Private {
        here.touch();
    }

    let in_file = words(&whole, unit, unit);
    let mut strangers = words(&another, unit, unit);
    let (again, object) = if access == Access::Private {
        // A copy has nothing to do with the file any more.
        strangers.extend(&in_file);
        (vec![], Object::Mm)
    } else {
        let stat = fstat(&file).expect("fstat");
        let dev = (major(stat.st_dev) as u32, minor(stat.st_dev) as u32);
        (in_file, Object::Inode(Some((dev, stat.st_ino))))
    };
    let words = words(&here, 0, unit);
    keep.insert(0, Box::new((here, whole, another, file, other)));
    Sample {
        words,
        again,
        strangers,
        object,
        _keep: keep,
    }
}

fn hugetlbfs(access: Access) -> Sample {
    // Two files, copies of two pages, and a child's copies of these.
    let pages = HugePages::new(2 * FILE_PAGES + 4);
    let len = FILE_PAGES * HUGE;
    let (mount, one) = pages.file("one", len);
    let other = file_in(mount.path(), "other", len);
    file(
        one,
        other,
        HUGE,
        access,
        vec![Box::new(mount), Box::new(pages)],
    )
}

fn hugetlbfs_private() -> Sample {
    hugetlbfs(Access::Private)
}

fn hugetlbfs_shared() -> Sample {
    hugetlbfs(Access::Shared)
}

fn hugetlbfs_read_only_shared() -> Sample {
    hugetlbfs(Access::ReadOnlyShared)
}

fn memfd_small() -> Sample {
    let len = FILE_PAGES * PAGE;
    file(memfd(len), memfd(len), PAGE, Access::Shared, vec![])
}

fn memfd_hugetlb() -> Sample {
    let pages = HugePages::new(2 * FILE_PAGES);
    let len = FILE_PAGES * HUGE;
    file(
        memfd_huge(len),
        memfd_huge(len),
        HUGE,
        Access::Shared,
        vec![Box::new(pages)],
    )
}

fn tmpfs(access: Access) -> Sample {
    let mount = Mount::tmpfs("huge=never");
    let [one, other] = ["one", "other"].map(|name| file_in(mount.path(), name, FILE_PAGES * PAGE));
    file(one, other, PAGE, access, vec![Box::new(mount)])
}

fn tmpfs_huge(access: Access) -> Sample {
    let len = FILE_PAGES * HUGE;
    let (mount, one) = huge_tmpfs("one", len);
    let other = file_in(mount.path(), "other", len);
    file(one, other, HUGE, access, vec![Box::new(mount)])
}

fn disk(fstype: &'static str, access: Access) -> Sample {
    let disk = Disk::new(fstype);
    let [one, other] = ["one", "other"].map(|name| file_in(disk.path(), name, FILE_PAGES * PAGE));
    file(one, other, PAGE, access, vec![Box::new(disk)])
}

/// A sample of memory that has no file of the user's; `again` maps the same as `region`, `other`
/// another object of the kind.
fn nameless(region: Region, again: Option<Region>, other: Region, unit: usize) -> Sample {
    other.touch();
    Sample {
        words: words(&region, 0, unit),
        again: again.as_ref().map_or(vec![], |again| words(again, 0, unit)),
        strangers: words(&other, 0, unit),
        object: Object::Inode(None),
        _keep: vec![Box::new((region, again, other))],
    }
}

fn sysv() -> Sample {
    let (one, other) = (SysV::new(2 * PAGE), SysV::new(2 * PAGE));
    let region = one.attach();
    region.touch();
    nameless(region, Some(one.attach()), other.attach(), PAGE)
}

fn shared_anonymous() -> Sample {
    let [region, other] = [(); 2].map(|()| {
        let region = Region::anonymous(2 * PAGE, rw(), MapFlags::MAP_SHARED);
        region.touch();
        region
    });
    // A second mapping of what has no name: mremap(2) of nothing duplicates shared memory.
    let again = region.duplicate();
    nameless(region, Some(again), other, PAGE)
}

fn shared_anonymous_thp() -> Sample {
    Feature::Thp.need();
    let setting = Setting::set(
        "/sys/kernel/mm/transparent_hugepage/shmem_enabled",
        "always",
    );
    let [region, other] = [(); 2].map(|()| {
        // The kernel puts what is that long at a multiple of a huge page.
        let region = Region::anonymous(2 * HUGE, rw(), MapFlags::MAP_SHARED);
        region.touch();
        assert!(
            is_huge(region.word(0)) && is_huge(region.word(HUGE)),
            "huge pages"
        );
        region
    });
    drop(setting);
    let again = region.duplicate();
    nameless(region, Some(again), other, HUGE)
}
