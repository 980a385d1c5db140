// SPDX-License-Identifier: GPL-2.0
//! A swap area, and how to get pages there.

use super::page::{State, states_from};
use super::{LoopDevice, Region};
use crate::harness::{PAGE, until};
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
        let file = tempfile::tempfile().expect("a file");
        file.set_len(len as u64).expect("the length of a file");
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

/// Reclaims the pages of `region`, until none of them is in the page table any more. Anonymous
/// pages leave swap entries. Those of a file are out of memory too when it returns, and have lost
/// nothing: dirty ones went to the file or to swap.
#[track_caller]
pub fn page_out(region: &Region) {
    page_out_part(region, 0, region.len());
}

/// The same with the `len` bytes at `at` of `region`, which are anonymous.
#[track_caller]
pub fn page_out_part(region: &Region, at: usize, len: usize) {
    until("pages are reclaimed", || {
        // The kernel leaves out a page that is in use at the moment, or written to its device.
        region
            .try_advise(at, len, libc::MADV_PAGEOUT)
            .expect("MADV_PAGEOUT");
        let states = states_from(region.word(at), len / PAGE);
        states.iter().all(|&state| state == State::Swapped)
            || states.iter().all(|&state| state == State::Absent)
                && !region.resident().contains(&true)
    });
}
