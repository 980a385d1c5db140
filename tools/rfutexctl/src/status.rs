// SPDX-License-Identifier: GPL-2.0
//! `status`: the module, its parameters, its tables, and how many wait.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use rfutex::{Features, Hold, Query, Resolver};

use crate::device::{self, failed};
use crate::source::{Device, Listing, Source};

/// Where the kernel shows the module.
const MODULE: &str = "/sys/module/rfutex";

/// The features, with the names of what they let one do.
const FEATURES: [(Features, &str); 15] = [
    (Features::WAIT, "wait"),
    (Features::WAKE, "wake"),
    (Features::KEY_INFO, "key-info"),
    (Features::REQUEUE, "requeue"),
    (Features::WAKE_OP, "wake-op"),
    (Features::WAKE_OP_SIZES, "wake-op-sizes"),
    (Features::WAITV, "waitv"),
    (Features::SWAP, "swap"),
    (Features::WATCHES, "watches"),
    (Features::WAKEV, "wakev"),
    (Features::URING, "io_uring"),
    (Features::TABLES, "tables"),
    (Features::OWNERS, "owners"),
    (Features::ROBUST, "robust"),
    (Features::LIST, "list"),
];

/// Runs the command. Returns the exit status.
pub fn run(out: &mut impl Write) -> Result<u8> {
    let rfutex = device::open()?;
    let query = rfutex.query().map_err(|e| failed("RFUTEX_QUERY", e))?;
    // An older module has no listing. The rest is worth saying even so.
    let listing = if query.features.contains(Features::LIST) {
        Some(Device::default().list()?)
    } else {
        None
    };
    show(&query, Path::new(MODULE), listing.as_ref(), out)?;
    Ok(0)
}

fn show(
    query: &Query,
    module: &Path,
    listing: Option<&Listing>,
    out: &mut impl Write,
) -> Result<()> {
    let features = FEATURES.iter().filter(|(f, _)| query.features.contains(*f));
    let features: Vec<_> = features.map(|(_, name)| *name).collect();
    let mut line = |name: &str, value: String| writeln!(out, "{:<14}{value}", format!("{name}:"));
    line("interface", format!("version {}", query.version))?;
    if let Ok(version) = fs::read_to_string(module.join("srcversion")) {
        line("source", version.trim().to_owned())?;
    }
    line("features", features.join(" "))?;
    if query.features.contains(Features::LAB) {
        line("build", "lab: slower, for tests only".to_owned())?;
    }
    line("resolver", resolver(query.resolver))?;
    line("hold", hold(query.hold))?;
    line("buckets", query.nr_buckets.to_string())?;
    for (name, value) in parameters(module) {
        line("parameter", format!("{name}={value}"))?;
    }
    let Some(listing) = listing else {
        line(
            "waiters",
            "unknown: this module cannot list them".to_owned(),
        )?;
        return Ok(());
    };
    for table in &listing.tables {
        let in_table = listing.records.iter().filter(|r| r.table == table.name);
        let waiters = match in_table.count() {
            1 => "1 waiter".to_owned(),
            n => format!("{n} waiters"),
        };
        line("table", format!("{}, {waiters}", table.name))?;
    }
    for note in &listing.notes {
        line("note", note.clone())?;
    }
    Ok(())
}

/// The parameters that the kernel shows, sorted by name. Of a module in Rust it shows only those
/// that C code has declared.
fn parameters(module: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(module.join("parameters"));
    let value = |entry: fs::DirEntry| {
        let value = fs::read_to_string(entry.path()).ok()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        Some((name, value.trim().to_owned()))
    };
    entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(value)
        .collect()
}

/// The name of a resolver.
pub fn resolver(resolver: Resolver) -> String {
    match resolver {
        Resolver::Page => "page".to_owned(),
        Resolver::Vma => "vma".to_owned(),
        Resolver::Locked => "locked".to_owned(),
        other => format!("{other:?}"),
    }
}

fn hold(hold: Hold) -> String {
    match hold {
        Hold::Inode => "inode".to_owned(),
        Hold::Nothing => "nothing".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;
    use crate::source::tests::MadeUpSource;

    fn query() -> Query {
        Query {
            version: 4,
            resolver: Resolver::Page,
            features: Features(Features::WAIT.0 | Features::LIST.0 | Features::LAB.0),
            sizes: 15,
            nr_buckets: 512,
            hold: Hold::Inode,
            max_watches: 65536,
            arena_size: 0,
            max_arena_pages: 65536,
            max_tables: 1024,
            robust_size: 0,
        }
    }

    #[test]
    fn everything_has_a_line() {
        let module = tempfile::tempdir().unwrap();
        fs::write(module.path().join("srcversion"), "ABCD\n").unwrap();
        fs::create_dir(module.path().join("parameters")).unwrap();
        fs::write(module.path().join("parameters/tables"), "1024\n").unwrap();
        fs::write(module.path().join("parameters/hold"), "inode\n").unwrap();
        let listing = MadeUpSource(vec![record()]).list().unwrap();
        let mut out = Vec::new();
        show(&query(), module.path(), Some(&listing), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\
interface:    version 4
source:       ABCD
features:     wait list
build:        lab: slower, for tests only
resolver:     page
hold:         inode
buckets:      512
parameter:    hold=inode
parameter:    tables=1024
table:        default, 1 waiter
"
        );
    }

    #[test]
    fn an_older_module_has_no_waiters_to_show() {
        let mut out = Vec::new();
        show(&query(), Path::new("/nowhere"), None, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.ends_with("unknown: this module cannot list them\n"),
            "{text}"
        );
    }
}
