// SPDX-License-Identifier: GPL-2.0
//! Memory of every kind that a word can lie on, and what the kernel says about it.
//!
//! The constructors give mapped memory whose state was *observed* to be what its name says: a huge
//! page is one in `/proc/kpageflags`, a merged page is one, a page in swap has left the page table.
//! Where the kernel did not give what was asked for, the constructor fails, and the test with it.
//!
//! Everything is undone on drop, and what a killed process cannot undo is undone by the kernel:
//! file systems are mounted in a mount namespace of the calling thread, loop devices clear
//! themselves, files have no name. Only a [`Setting`] (a sysctl) needs its drop to run.
//!
//! A test runs in a process of its own, one at a time: some of this is system-wide state.

mod disk;
mod huge;
mod ksm;
mod maps;
mod mount;
mod page;
mod region;
mod secret;
mod setting;
mod shm;
mod swap;
mod uffd;

pub use disk::{Disk, FileSystem, LoopDevice};
pub use huge::{HugePages, collapse, split, thp};
pub use ksm::Ksm;
pub use maps::{FileMapping, mapping_of, named_mapping};
pub use mount::{Mount, private_mounts};
pub use page::{Folio, Page, State, folio_of, is_locked, page_of, state_of};
pub use region::{PAGE, Region, Word};
pub use secret::secret;
pub use setting::Setting;
pub use shm::SysV;
pub use swap::{SwapArea, page_out};
pub use uffd::Uffd;

/// Bytes in a PMD-sized huge page.
pub const HUGE: usize = 2 << 20;

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// How long to wait for something that the kernel does in the background.
const PATIENCE: Duration = Duration::from_secs(20);

/// Calls `look` until it gives something, for at most 20 seconds.
///
/// # Errors
///
/// `what` did not happen in time, or `look` failed.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > PATIENCE {
            bail!("{what}: not within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
