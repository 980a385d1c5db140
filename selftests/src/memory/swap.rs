// SPDX-License-Identifier: GPL-2.0
//! A swap area, and how to get pages there.

use super::page::{State, states_from};
use super::{LoopDevice, Mount, Region, file_in};
use crate::harness::{PAGE, on_each_cpu, until};
use procfs::process::Process;
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;

/// A swap area on a loop device on a file of its own, in use until dropped.
#[derive(Debug)]
pub struct SwapArea {
    path: CString,
    _device: LoopDevice,
}

impl SwapArea {
    /// Swaps to a new area of `len` bytes.
    #[track_caller]
    pub fn new(len: usize) -> Self {
        // No page of it may go to swap, where the kernel would have to read it to read it.
        let file = file_in(Mount::tmpfs("noswap").path(), "swap", len);
        // The header, as mkswap(8) writes it: version, last page, no bad pages; then the magic.
        let mut header = [0u8; 12];
        header[0..4].copy_from_slice(&1u32.to_ne_bytes());
        header[4..8].copy_from_slice(&((len / PAGE - 1) as u32).to_ne_bytes());
        file.write_all_at(&header, 1024).expect("a swap header");
        file.write_all_at(b"SWAPSPACE2", PAGE as u64 - 10)
            .expect("a swap header");

        let device = LoopDevice::new(&file);
        let path = CString::new(device.path().into_os_string().into_vec()).expect("no zero");
        // SAFETY: A path that ends with a zero.
        nix::Error::result(unsafe { libc::swapon(path.as_ptr(), 0) }).expect("swapon");
        Self {
            path,
            _device: device,
        }
    }
}

impl Drop for SwapArea {
    fn drop(&mut self) {
        // SAFETY: A path that ends with a zero.
        nix::Error::result(unsafe { libc::swapoff(self.path.as_ptr()) }).expect("swapoff");
    }
}

/// Reclaims the pages of `region`, until none of them is in memory any more: those of a file are
/// in the file, those of a tmpfs and anonymous ones in swap.
#[track_caller]
pub fn page_out(region: &Region) {
    page_out_part(region, 0, region.len());
}

/// The same with the `len` bytes at `at` of `region`.
#[track_caller]
pub fn page_out_part(region: &Region, at: usize, len: usize) {
    let (word, pages) = (region.word(at), len / PAGE);
    until("pages are reclaimed", || {
        // What the advice leaves out: a page that is in use at the moment, or on its way to a
        // device; a large folio of a file of which some pages were written to since it was last
        // written; and a page that is in the batch of some other processor, on its way to the LRU.
        region.sync();
        on_each_cpu(|| {
            region
                .try_advise(at, len, libc::MADV_PAGEOUT)
                .expect("MADV_PAGEOUT");
        });
        states_from(word, pages)
            .iter()
            .all(|state| !matches!(state, State::Present(_)))
    });
    // Out of the page table and written, a page is in the swap cache still, where no advice
    // reaches it.
    until("pages are out of memory", || {
        let resident = &region.resident()[at / PAGE..][..pages];
        resident.iter().all(|resident| !resident) || reclaim()
    });
}

/// Makes the kernel reclaim some memory of this process's cgroup. Returns false.
#[track_caller]
fn reclaim() -> bool {
    let cgroups = Process::myself().and_then(|process| process.cgroups());
    let cgroups = cgroups.expect("/proc/self/cgroup");
    let mut unified = cgroups.into_iter().filter(|cgroup| cgroup.hierarchy == 0);
    let path = unified.next().expect("a cgroup").pathname;
    let path = format!("/sys/fs/cgroup{path}/memory.reclaim");
    match std::fs::write(&path, "64K swappiness=200") {
        // It found less than that.
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
        result => result.unwrap_or_else(|error| panic!("{path}: {error}")),
    }
    false
}
