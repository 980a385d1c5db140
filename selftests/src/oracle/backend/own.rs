// SPDX-License-Identifier: GPL-2.0
//! The table of a scenario's own, as one process has it.

use crate::harness::{PAGE, receive_file};
use crate::memory::Region;
use crate::oracle::memory::ARENA;
use crate::oracle::script::Remap;
use nix::sys::mman::ProtFlags;
use rfutex::Table;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, OnceLock};

/// The last one that was adopted. Nobody forks while an actor looks at it.
static OWN: Mutex<Option<Own>> = Mutex::new(None);

/// Where tables are sent to.
static SOCKET: OnceLock<UnixDatagram> = OnceLock::new();

struct Own {
    table: Arc<Table>,
    /// What is mapped of the arena, and behind its end.
    mapped: Vec<Region>,
}

/// For a new process: tables come from this socket. One that it has inherited is not its own.
pub fn begin(socket: UnixDatagram) {
    *OWN.lock().expect("nobody panics") = None;
    SOCKET.set(socket).expect("the first call");
}

/// The table.
pub fn table() -> Arc<Table> {
    let own = OWN.lock().expect("nobody panics");
    own.as_ref().expect("one was adopted").table.clone()
}

/// Makes a table that of this process, instead of the last one: the file that has this number here,
/// or one that was sent. Returns the address at which its arena is mapped.
pub fn adopt(number: Option<RawFd>) -> i64 {
    let file = match number {
        // SAFETY: It is a file that the conductor has open, or had when this process was forked,
        // and that neither of them closes.
        Some(number) => unsafe { BorrowedFd::borrow_raw(number) }
            .try_clone_to_owned()
            .expect("dup"),
        None => receive_file(SOCKET.get().expect("a socket")),
    };
    let table = Table::try_from(file).expect("a table");
    let arena = Region::shared(&table, 0, 2 * ARENA);
    let base = arena.base();
    *OWN.lock().expect("nobody panics") = Some(Own {
        table: Arc::new(table),
        mapped: vec![arena],
    });
    base as i64
}

/// Changes what this process has mapped at the page of the arena that has this address.
pub fn remap(addr: u64, how: Remap) {
    let mut own = OWN.lock().expect("nobody panics");
    let mapped = &mut own.as_mut().expect("one was adopted").mapped;
    let place = mapped
        .iter()
        .position(|region| (region.base()..region.base() + region.len()).contains(&(addr as usize)))
        .expect("it is mapped");
    let mut before = mapped.swap_remove(place);
    let mut page = before.split_off((addr as usize - before.base()) / PAGE * PAGE);
    let behind = page.split_off(PAGE);
    mapped.extend([before, behind]);
    match how {
        Remap::Unmap => drop(page),
        Remap::Protect => {
            page.protect(ProtFlags::PROT_NONE);
            mapped.push(page);
        }
        Remap::Move => {
            let moved = page.relocate();
            mapped.extend([page, moved]);
        }
    }
}
