// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which arenas this process has mapped, and where.
//!
//! A lock knows nothing but its own address. A thread that has to sleep on it, or to wake
//! others, finds out here whether that is in an arena.
//!
//! The list is never locked: a thread may call fork(2) while another one changes the
//! list, and the child would wait for that one forever.

use crate::Table;
use arc_swap::ArcSwapOption;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One mapping.
#[derive(Debug, Clone)]
struct Mapped {
    start: usize,
    len: usize,
    table: Arc<Table>,
}

/// All mappings in the order of their addresses. `None` if there are none.
static MAPPED: ArcSwapOption<Vec<Mapped>> = ArcSwapOption::const_empty();

/// Whether there ever was one. Most processes have none, and need not look at the list. Whoever
/// has a lock in an arena has been given it by the thread that mapped the arena, so that no more
/// order than that is needed.
static ANY: AtomicBool = AtomicBool::new(false);

/// Replaces the list by what `change` makes of a copy. It may be called several times.
fn update(change: impl Fn(&mut Vec<Mapped>)) {
    MAPPED.rcu(|now| {
        let mut all = now.as_deref().cloned().unwrap_or_default();
        change(&mut all);
        (!all.is_empty()).then(|| Arc::new(all))
    });
}

/// The arena of `table` is mapped at `start`, in `len` bytes where nothing else is.
pub fn add(start: usize, len: usize, table: &Arc<Table>) {
    ANY.store(true, Ordering::Relaxed);
    update(|all| {
        let at = all.partition_point(|mapped| mapped.start < start);
        let table = table.clone();
        all.insert(at, Mapped { start, len, table });
    });
}

/// The arena that is mapped at `start` is about to be unmapped.
pub fn remove(start: usize) {
    update(|all| all.retain(|mapped| mapped.start != start));
}

/// The table in whose arena `addr` lies, and the offset there.
///
/// A thread that wakes others may ask for a lock whose arena another thread is about to drop,
/// or has dropped. It gets the table as it was, which is kept open meanwhile, or nothing. It
/// does not keep the other tables of the list, as it may be about to sleep for long.
pub fn find(addr: usize) -> Option<(Arc<Table>, u64)> {
    if !ANY.load(Ordering::Relaxed) {
        return None;
    }
    let all = MAPPED.load();
    let all = all.as_deref()?;
    let after = all.partition_point(|mapped| mapped.start <= addr);
    let mapped = all.get(after.checked_sub(1)?)?;
    let offset = addr - mapped.start;
    (offset < mapped.len).then(|| (mapped.table.clone(), offset as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rfutex;
    use std::fs::File;
    use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd};

    /// There is no device where these tests run, and nothing is called on the table.
    fn table() -> Arc<Table> {
        let file = File::open("/dev/null").expect("it can be opened");
        // SAFETY: It is a descriptor of our own. That it is not the device makes no
        // difference, as no call is made.
        let rfutex = unsafe { Rfutex::from_raw_fd(file.into_raw_fd()) };
        Arc::new(Table::of(rfutex))
    }

    fn is_found(addr: usize, table: &Arc<Table>, offset: u64) -> bool {
        find(addr).is_some_and(|(found, at)| Arc::ptr_eq(&found, table) && at == offset)
    }

    /// Returns when nobody else has it. Another test may just be looking at a list in which it was.
    fn until_last(table: &Arc<Table>) {
        while Arc::strong_count(table) > 1 {
            std::thread::yield_now();
        }
    }

    /// The tests run side by side, so each has addresses of its own, at which nothing is mapped.
    #[test]
    fn each_address_has_its_arena() {
        let tables = [table(), table()];
        let starts = [0x1000, 0x5000, 0x3000];
        for (nr, start) in starts.into_iter().enumerate() {
            add(start, 0x1000, &tables[nr % 2]);
        }
        for (nr, start) in starts.into_iter().enumerate() {
            assert!(is_found(start, &tables[nr % 2], 0));
            assert!(is_found(start + 0xfff, &tables[nr % 2], 0xfff));
            assert!(find(start - 1).is_none() && find(start + 0x1000).is_none());
        }
        remove(0x5000);
        assert!(find(0x5000).is_none() && find(0x5fff).is_none());
        assert!(is_found(0x3008, &tables[0], 8));
        remove(0x1000);
        remove(0x3000);
        assert!(find(0x1000).is_none() && find(0x3000).is_none());
        tables.iter().for_each(until_last);
    }

    /// Whoever finds a table can use it, even if its arena has been dropped meanwhile.
    #[test]
    fn found_while_others_come_and_go() {
        let stays = table();
        add(0x10_0000, 0x1000, &stays);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let seekers = [(); 2].map(|()| {
                scope.spawn(|| {
                    let mut found = 0;
                    while !stop.load(Ordering::Relaxed) {
                        assert!(is_found(0x10_0010, &stays, 0x10));
                        if let Some((table, offset)) = find(0x11_0020) {
                            assert_eq!(offset, 0x20);
                            // It has not been closed: nothing else can have its number.
                            let file = format!("/proc/self/fd/{}", table.as_fd().as_raw_fd());
                            let file = std::fs::read_link(file).expect("it is open");
                            assert_eq!(file.as_os_str(), "/dev/null");
                            found += 1;
                        }
                    }
                    found
                })
            });
            for _ in 0..2000 {
                add(0x11_0000, 0x1000, &table());
                remove(0x11_0000);
            }
            add(0x11_0000, 0x1000, &table());
            std::thread::yield_now();
            stop.store(true, Ordering::Relaxed);
            let found = seekers.map(|seeker| seeker.join().expect("its own checks"));
            println!("{found:?} times there");
        });
        remove(0x11_0000);
        remove(0x10_0000);
        until_last(&stays);
    }
}
