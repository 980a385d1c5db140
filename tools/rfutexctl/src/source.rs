// SPDX-License-Identifier: GPL-2.0
//! Where the records come from: the device, or a test that makes them up.

use anyhow::Result;
use rfutex::{KeyKind, OwnerKind, Rfutex, Waiter};

use crate::device::{self, failed};
use crate::facts::Proc;
use crate::record::{FileId, Kind, Owner, Record, What, position};
use crate::tables;

/// A table that was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Whether those who sleep in it hold the inodes of their files.
    pub holds_inodes: bool,
}

/// The waiters at one time.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The waiters of all tables that were listed.
    pub records: Vec<Record>,
    /// The tables.
    pub tables: Vec<Table>,
    /// What could not be listed, in sentences.
    pub notes: Vec<String>,
}

impl Listing {
    /// Whether those who sleep in the table `name` hold the inodes of their files.
    pub fn holds_inodes(&self, name: &str) -> bool {
        let table = self.tables.iter().find(|table| table.name == name);
        table.is_some_and(|table| table.holds_inodes)
    }
}

/// Where the records come from.
pub trait Source {
    /// Lists the waiters.
    ///
    /// # Errors
    ///
    /// The module cannot be asked, or is gone.
    fn list(&mut self) -> Result<Listing>;
}

/// The device, and the tables of other processes.
///
/// The device is opened for each listing: while it is open, the module cannot be unloaded.
#[derive(Debug, Default)]
pub struct Device {
    proc: Proc,
}

impl Source for Device {
    fn list(&mut self) -> Result<Listing> {
        self.proc.forget();
        let rfutex = device::open()?;
        let mut listing = Listing::default();
        let holds_inodes = rfutex.query().map_err(|e| failed("RFUTEX_QUERY", e))?.hold;
        let default = Table {
            name: tables::DEFAULT.to_owned(),
            holds_inodes: holds_inodes == rfutex::Hold::Inode,
        };
        self.add(&rfutex, default, &mut listing)?;
        let found = tables::find();
        for (described, table) in &found.open {
            let table_of = Table {
                name: described.name.clone(),
                holds_inodes: described.holds_inodes,
            };
            self.add(table, table_of, &mut listing)?;
        }
        let is_or_are = |n: usize, one: &str, many: &str| match n {
            1 => format!("1 {one}"),
            n => format!("{n} {many}"),
        };
        for (n, one, many) in [
            (
                found.refused.len(),
                "table of other processes may not be listed.",
                "tables of other processes may not be listed.",
            ),
            (
                found.hidden,
                "process may not be asked whether it has tables of its own.",
                "processes may not be asked whether they have tables of their own.",
            ),
        ] {
            if n > 0 {
                listing.notes.push(is_or_are(n, one, many));
            }
        }
        Ok(listing)
    }
}

impl Device {
    fn add(&self, rfutex: &Rfutex, table: Table, listing: &mut Listing) -> Result<()> {
        let waiters = rfutex.waiters().map_err(|e| failed("RFUTEX_LIST", e))?;
        for waiter in waiters {
            let waiter = waiter.map_err(|e| failed("the listing", e))?;
            let mut record = of_waiter(waiter, &table.name);
            record.path = record
                .process
                .zip(record.file)
                .and_then(|(process, file)| self.proc.path(process, file));
            listing.records.push(record);
        }
        listing.tables.push(table);
        Ok(())
    }
}

/// The record of a waiter in the table `table`, without the name of its file.
fn of_waiter(waiter: Waiter, table: &str) -> Record {
    Record {
        what: match waiter.what {
            rfutex::What::Thread => What::Thread,
            rfutex::What::Watch => What::Watch,
            rfutex::What::RepeatedWatch => What::RepeatedWatch,
            rfutex::What::Request => What::Request,
            _ => What::Unknown,
        },
        thread: waiter.thread,
        process: waiter.process,
        comm: waiter.comm.to_string_lossy().into_owned(),
        table: table.to_owned(),
        kind: match waiter.kind {
            KeyKind::Private => Kind::Private,
            KeyKind::Mm => Kind::Mm,
            KeyKind::Inode => Kind::Inode,
            KeyKind::Arena => Kind::Arena,
            _ => Kind::Unknown,
        },
        object: waiter.object,
        file: waiter.file.map(|file| FileId {
            dev: file.dev,
            ino: file.ino,
        }),
        position: waiter.position.map(|at| position(at.index, at.offset)),
        addr: waiter.addr,
        size: waiter.size,
        val: waiter.val,
        mask: waiter.mask,
        age: waiter.age,
        owner: waiter.owner.map(|owner| Owner {
            thread: owner.kind == OwnerKind::Thread,
            number: owner.number,
        }),
        cookie: waiter.cookie,
        path: None,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Records that are made up, in tables that hold inodes.
    #[derive(Debug, Default)]
    pub struct MadeUpSource(pub Vec<Record>);

    impl Source for MadeUpSource {
        fn list(&mut self) -> Result<Listing> {
            let names: std::collections::BTreeSet<_> =
                self.0.iter().map(|record| record.table.clone()).collect();
            Ok(Listing {
                records: self.0.clone(),
                tables: names
                    .into_iter()
                    .map(|name| Table {
                        name,
                        holds_inodes: true,
                    })
                    .collect(),
                notes: Vec::new(),
            })
        }
    }

    #[test]
    fn a_table_that_was_not_listed_holds_nothing() {
        let listing = MadeUpSource(vec![crate::record::tests::record()]).list();
        let listing = listing.unwrap();
        assert!(listing.holds_inodes("default"));
        assert!(!listing.holds_inodes("own-1"));
    }
}
