// SPDX-License-Identifier: GPL-2.0
//! Memory of every kind that a word can lie on, and what the kernel says about it.
//!
//! The constructors give mapped memory whose state was *observed* to be what its name says: a huge
//! page is one in `/proc/kpageflags`, a merged page is one, a page in swap has left the page table.
//! Where the kernel did not give what was asked for, the constructor panics, and so fails the test.
//!
//! Everything is undone on drop, and what a killed process cannot undo, the kernel does: file
//! systems are mounted in a mount namespace of the calling thread, loop devices clear themselves,
//! files have no name. Only a [`Setting`] (a sysctl) needs its drop to run.

mod caches;
mod compaction;
mod disk;
mod each;
mod fuse;
mod huge;
mod ksm;
mod maps;
mod mount;
mod overlay;
mod page;
mod region;
mod setting;
mod special;
mod swap;
mod uffd;

pub use caches::{drop_inodes, drop_pages};
pub use compaction::Compaction;
pub use disk::{Disk, Frozen, LoopDevice};
pub use each::EachKind;
pub use fuse::Fuse;
pub use huge::{
    HugePages, collapse, huge_tmpfs, is_huge, split, split_file, thp, try_collapse, try_split,
    try_split_file,
};
pub use ksm::Ksm;
pub use maps::{mapping_of, named_mapping};
pub use mount::{Mount, file_in, inodes, map_new, map_unlinked};
pub use overlay::Overlay;
pub use page::{
    State, folio_if_present, folio_of, is_locked, nr_abandoned, page_of, state_of, states_from,
};
pub use region::{Region, RegionWord, rw};
pub use setting::Setting;
pub use special::{AioRing, SysV, memfd, memfd_huge, memfd_to_seal, pci_memory, secret};
pub use swap::{SwapArea, page_out, page_out_part};
pub use uffd::Uffd;

/// Bytes in a PMD-sized huge page.
pub const HUGE: usize = 2 << 20;
