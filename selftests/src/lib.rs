// SPDX-License-Identifier: GPL-2.0
//! The selftests: what user space sees of rfutex, tried from user space.
//!
//! They need root in a machine of their own (the VM) with the module loaded.
//! Tests marked `[lab]` need its lab build; those marked `[oracle]` are about the
//! oracle itself.
//!
//! What they are made of is there for the benchmark, too: [`harness`], and
//! memory of every kind in [`memory`].

#![expect(
    clippy::new_without_default,
    clippy::len_without_is_empty,
    reason = "these make what is loud and short-lived, for programs of our own"
)]

#[macro_use]
pub mod harness;
mod address_space;
#[cfg(target_arch = "x86_64")]
mod compat;
mod ctl;
mod deadline;
mod errors;
mod fuzz;
mod history;
mod hold;
mod keys;
mod leap;
mod lifetime;
mod list;
pub mod memory;
mod monitor;
mod numbers;
mod oracle;
mod owner;
mod per_thread;
mod priority;
mod requeue;
mod resolvers;
mod robust;
mod sandbox;
mod signal;
mod smoke;
mod swap;
mod sync;
mod table;
mod tap;
mod trace;
mod uring;
pub mod vmstat;
mod wait;
mod waitv;
mod wake_op;
mod watch;

use libtest_mimic::Arguments;
use std::process::ExitCode;

/// Runs those that the command line asks for; with `--tap`, tells the results as KTAP.
pub fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("oracle") {
        return oracle::command(std::env::args().skip(1));
    }
    if std::env::args().nth(1).as_deref() == Some("fuzz") {
        return fuzz::command(std::env::args().skip(1));
    }
    if std::env::args().nth(1).as_deref() == Some("robust") {
        return robust::command(std::env::args().skip(1));
    }
    let (tap, args): (Vec<_>, Vec<_>) = std::env::args().partition(|arg| arg == tap::OPTION);
    if !tap.is_empty() {
        return tap::run(&args[1..]);
    }
    let mut args = Arguments::from_args();
    // Tests change what belongs to the whole process.
    args.test_threads = Some(1);
    let trials = [
        smoke::trials(),
        errors::trials(),
        wait::trials(),
        deadline::trials(),
        deadline::multi::trials(),
        signal::trials(),
        lifetime::trials(),
        #[cfg(target_arch = "x86_64")]
        compat::trials(),
        #[cfg(target_arch = "x86_64")]
        compat::multi::trials(),
        keys::trials(),
        history::trials(),
        hold::trials(),
        numbers::trials(),
        resolvers::trials(),
        requeue::trials(),
        wake_op::trials(),
        watch::trials(),
        uring::trials(),
        waitv::trials(),
        swap::trials(),
        owner::trials(),
        list::trials(),
        robust::trials(),
        table::trials(),
        priority::trials(),
        priority::latency::trials(),
        address_space::trials(),
        sandbox::trials(),
        monitor::trials(),
        trace::trials(),
        per_thread::trials(),
        sync::trials(),
        ctl::trials(),
        oracle::trials(),
        fuzz::trials(),
    ];
    libtest_mimic::run(&args, trials.into_iter().flatten().collect()).exit_code()
}
