// SPDX-License-Identifier: GPL-2.0
//! Huge pages: transparent ones, made, split and collapsed; and those of hugetlbfs.

use super::{HUGE, Mount, Region, Setting, file_in, folio_if_present, folio_of, page_of, rw};
use crate::harness::{PAGE, until};
use nix::sys::mman::MapFlags;
use procfs::PhysicalPageFlags;
use rfutex::Word;
use std::fs::{self, File};
use std::path::Path;

/// The order of a huge page.
const ORDER: u32 = (HUGE / PAGE).ilog2();

/// Whether `word` lies on a transparent huge page of 2 MiB.
#[track_caller]
pub fn is_huge(word: Word<'static>) -> bool {
    folio_if_present(word).is_some_and(|(page, folio)| {
        page.flags.contains(PhysicalPageFlags::THP) && folio.order == ORDER
    })
}

#[track_caller]
fn assert_huge(region: &Region) {
    for at in (0..region.len()).step_by(HUGE) {
        let word = region.word(at);
        assert!(
            is_huge(word),
            "no huge page at {:#x}: {:?}, {:?}",
            word.addr(),
            page_of(word),
            folio_of(word)
        );
    }
}

/// `len` bytes of private anonymous memory on transparent huge pages. A test that asks for
/// it is skipped if the kernel has none.
#[track_caller]
pub fn thp(len: usize) -> Region {
    assert!(len.is_multiple_of(HUGE), "{len:#x} bytes are no huge pages");
    let region = Region::reserve(len, HUGE);
    region.map_over_anonymous(0, len);
    region.advise(libc::MADV_HUGEPAGE);
    region.touch();
    assert_huge(&region);
    region
}

/// A tmpfs with `huge=always`, and a file `name` of `len` bytes there, all of it on huge pages. A
/// test that asks for it is skipped if the kernel has none.
#[track_caller]
pub fn huge_tmpfs(name: &str, len: usize) -> (Mount, File) {
    let mount = Mount::tmpfs("huge=always");
    let file = file_in(mount.path(), name, len);
    let region = Region::shared(&file, 0, len);
    region.touch();
    assert_huge(&region);
    (mount, file)
}

#[track_caller]
fn debugfs_split(what: &str) {
    fs::write("/sys/kernel/debug/split_huge_pages", what)
        .unwrap_or_else(|error| panic!("{what} to split_huge_pages: {error}"));
}

/// Whether the ends of each huge page of `region` are on small pages.
#[track_caller]
fn is_split(region: &Region) -> bool {
    region.read();
    (0..region.len())
        .step_by(HUGE)
        .flat_map(|at| [at, at + HUGE - PAGE])
        .all(|at| folio_if_present(region.word(at)).is_some_and(|(_, folio)| folio.order == 0))
}

/// Tries to split the huge pages of `region` into small ones. Returns whether they are: the kernel
/// leaves out what somebody else has a reference on at the moment.
#[track_caller]
pub fn try_split(region: &Region) -> bool {
    let (start, end) = (region.base(), region.base() + region.len());
    debugfs_split(&format!("{},{start:#x},{end:#x}", std::process::id()));
    is_split(region)
}

/// The same with the file at `path`, which is mapped at `region` from its beginning.
#[track_caller]
pub fn try_split_file(path: &Path, region: &Region) -> bool {
    let pages = region.len() / PAGE;
    debugfs_split(&format!("{},0x0,{pages:#x}", path.display()));
    is_split(region)
}

/// Splits the huge pages of `region` into small ones.
#[track_caller]
pub fn split(region: &Region) {
    until("huge pages are split", || try_split(region));
}

/// The same with the file at `path`, which is mapped at `region` from its beginning.
#[track_caller]
pub fn split_file(path: &Path, region: &Region) {
    until("huge pages are split", || try_split_file(path, region));
}

/// Tries to collapse the small pages of `region` into huge ones. Returns whether they are: the
/// kernel gives up when a page is in use at the moment.
#[track_caller]
pub fn try_collapse(region: &Region) -> bool {
    match region.try_advise(0, region.len(), libc::MADV_COLLAPSE) {
        Ok(()) => {
            region.read();
            (0..region.len())
                .step_by(HUGE)
                .all(|at| is_huge(region.word(at)))
        }
        Err(nix::Error::EAGAIN | nix::Error::EBUSY) => false,
        Err(error) => panic!("MADV_COLLAPSE: {error}"),
    }
}

/// Collapses the small pages of `region` into huge ones.
#[track_caller]
pub fn collapse(region: &Region) {
    until("pages are collapsed", || try_collapse(region));
}

/// Pages for hugetlbfs, of 2 MiB.
#[derive(Debug)]
pub struct HugePages {
    _setting: Setting,
}

impl HugePages {
    /// Makes `nr` more of them.
    #[track_caller]
    pub fn new(nr: usize) -> Self {
        const PATH: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
        let now = fs::read_to_string(PATH).expect(PATH);
        let wanted = now.trim().parse::<usize>().expect("a number") + nr;
        let setting = Setting::set(PATH, wanted);
        assert_eq!(
            setting.read(),
            wanted.to_string(),
            "huge pages that there are"
        );
        Self { _setting: setting }
    }

    /// How many there are in the machine that nothing is on.
    #[track_caller]
    pub fn free() -> usize {
        const PATH: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
        let free = fs::read_to_string(PATH).expect(PATH);
        free.trim().parse().expect("a number")
    }

    /// A hugetlbfs, and a file `name` of `len` bytes there.
    #[track_caller]
    pub fn file(&self, name: &str, len: usize) -> (Mount, File) {
        let mount = Mount::new(Path::new("none"), "hugetlbfs", "pagesize=2M");
        let file = file_in(mount.path(), name, len);
        (mount, file)
    }

    /// `len` bytes of anonymous memory on them, private or shared by `flags`.
    #[track_caller]
    pub fn anonymous(&self, len: usize, flags: MapFlags) -> Region {
        let flags = flags | MapFlags::MAP_HUGETLB | MapFlags::MAP_HUGE_2MB;
        let region = Region::anonymous(len, rw(), flags);
        region.touch();
        region
    }
}
