// SPDX-License-Identifier: GPL-2.0

//! What `/proc/PID/fdinfo` shows of the module's files. There is one line for each thing, as in the
//! rest of such a file: a name, a colon, a tab, and the value.

#![deny(unsafe_code)]

use crate::{
    key::{
        Hold,
        Resolver, //
    },
    table::Table, //
};
use kernel::{
    seq_file::SeqFile,
    seq_print, //
};

/// Shows which table a file works on: the one that all share, or one that is told apart from others
/// by a number, which reveals nothing.
pub(crate) fn show_table(m: &SeqFile, table: &Table) {
    if table.is_own() {
        seq_print!(m, "rfutex-table:\town-{:016x}\n", table.cookie());
    } else {
        seq_print!(m, "rfutex-table:\tdefault\n");
    }
}

/// Shows which resolver a file uses.
pub(crate) fn show_resolver(m: &SeqFile, resolver: Resolver) {
    seq_print!(m, "rfutex-resolver:\t{}\n", resolver.name());
}

/// Shows what tasks hold that sleep on words of files, and how many waiters there are in the table.
///
/// # Context
///
/// Process context, no locks held. May sleep.
pub(crate) fn show_waiters(m: &SeqFile, table: &Table) {
    let hold = match table.hold() {
        Hold::Inode => "inode",
        Hold::Nothing => "nothing",
    };
    seq_print!(m, "rfutex-hold:\t{hold}\n");
    seq_print!(m, "rfutex-waiters:\t{}\n", table.nr_waiting());
}

/// Shows how many watches of a set wait, and how many have something to be read.
pub(crate) fn show_watches(m: &SeqFile, armed: u32, pending: u32) {
    seq_print!(m, "rfutex-armed:\t{armed}\n");
    seq_print!(m, "rfutex-pending:\t{pending}\n");
}
