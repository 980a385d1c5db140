// SPDX-License-Identifier: GPL-2.0
//! `make profile`: in which functions, and at which instructions, one operation
//! spends what it costs.
//!
//! While the guest repeats the operation, QEMU is told to translate and to log
//! every instruction by itself. What is between two entries of system calls is
//! one call; calls that an interrupt came into are left out.

mod listing;
mod trace;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use comfy_table::Table;
use rfutex_figures::record::Record;
use rfutex_guest::plan::{Plan, Stage};
use rustc_demangle::demangle;

use super::{Bench, NO_LIMIT, table};
use crate::qmp::Monitor;
use crate::report::Report;
use crate::session::guest_module;
use crate::vng::Limits;

use super::symbols::Symbols;
use trace::Profile;

/// How long QEMU's log becomes.
const ENOUGH: u64 = 24 << 20;

/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Seconds that the guest goes on, by its own clock, which is slow while its
/// instructions are logged.
const REPEAT: u32 = 2;

/// Which operation.
#[derive(Args, Clone, Debug)]
pub struct Operation {
    /// The operation, as the table of results calls it
    name: String,
    /// The memory of its words
    #[arg(long, default_value = "private")]
    words: String,
    /// A resolver, or none in an arena; or contender, which is futex(2) in most cases
    #[arg(long, default_value = "page")]
    resolver: String,
}

impl Operation {
    /// The build that has the resolver.
    fn build(&self) -> &'static str {
        if self.resolver == "locked" {
            "lab"
        } else {
            "module"
        }
    }
}

impl Bench<'_> {
    /// Prints what an operation costs, function by function, and writes it
    /// instruction by instruction to a file.
    pub fn profile(&self, operation: &Operation) -> Result<bool> {
        let temp = tempfile::tempdir()?;
        let (socket, log) = (temp.path().join("qmp"), temp.path().join("trace"));
        let mut session = self.options.session(
            self.kernel.places,
            self.interrupt,
            Limits {
                silence: Duration::from_secs(120),
                total: Duration::from_secs(300),
            },
        )?;
        session.count_instructions();
        // The addresses are those of System.map.
        session.machine.append.push("nokaslr".to_owned());
        let given = session.machine.qemu_opts.take().unwrap_or_default();
        session.machine.qemu_opts = Some(format!("{given} {}", Monitor::option(&socket)));
        let mut argv = vec!["/bin/rfutex-bench".to_owned(), "repeat".to_owned()];
        argv.extend([&operation.name, &operation.words, &operation.resolver].map(String::clone));
        argv.push(format!("--seconds={REPEAT}"));
        let module = guest_module(operation.build());
        let plan = Plan {
            limit: NO_LIMIT,
            stages: vec![
                Stage::Insmod {
                    module,
                    parameters: Vec::new(),
                },
                Stage::Exec { argv },
            ],
            ..Plan::default()
        };
        let mut symbols = Symbols::read(&self.kernel.places.kdir.join("System.map"))?;
        let mut logged = Ok(());
        let mut report = Report::default();
        let ran = session.run_with(&self.kernel.root, &plan, "profile", &mut report, |line| {
            match Record::parse(line) {
                Some(Record::Symbols(of_module)) => symbols.add(of_module),
                Some(Record::Repeating { .. }) => logged = log_instructions(&socket, &log),
                _ => println!("{line}"),
            }
        })?;
        logged?;
        ensure!(ran.exited == Some(0), "the operation was not repeated");
        let profile = Profile::read(&log, &symbols)?;
        println!("{}", functions(&profile).trim_fmt());
        let path = self.kernel.places.build.join("profile").join(format!(
            "{}-{}-{}.txt",
            operation.name, operation.words, operation.resolver
        ));
        fs::create_dir_all(path.parent().context("a directory")?)?;
        let module = self.kernel.places.modules.join(operation.build());
        let binaries = [
            module.join("rfutex.ko"),
            self.kernel.places.kdir.join("vmlinux.unstripped"),
        ];
        fs::write(&path, listing::of(&profile, &binaries)?)?;
        println!("instruction by instruction: {}", path.display());
        Ok(true)
    }
}

/// Has QEMU log each instruction to `log`, until that is enough.
fn log_instructions(socket: &Path, log: &Path) -> Result<()> {
    let mut monitor = Monitor::connect(socket)?;
    monitor.command(&format!("logfile {}", log.display()))?;
    monitor.command("singlestep on")?;
    monitor.command("log exec,nochain")?;
    let began = Instant::now();
    while fs::metadata(log).map_or(0, |log| log.len()) < ENOUGH && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
    }
    monitor.command("log none")?;
    monitor.command("singlestep off")
}

/// The functions, the dearest first.
fn functions(profile: &Profile) -> Table {
    let mut table = table::new(&["function", "instructions a call", "of all"], 1);
    let all = profile.per_call();
    for (function, count) in profile.functions() {
        let count = count as f64 / profile.calls as f64;
        table.add_row([
            format!("{:#}", demangle(function)),
            format!("{count:.1}"),
            format!("{:.1} %", count / all * 100.0),
        ]);
    }
    let calls = format!("(all of them, mean of {} calls)", profile.calls);
    table.add_row([calls, format!("{all:.1}"), String::new()]);
    table
}
