// SPDX-License-Identifier: GPL-2.0
//! `make gdb`: a debugger on the guest's kernel, with the symbols of the kernel and
//! of the module.

use std::fs;
use std::io::{PipeWriter, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use anyhow::{Context, Result, ensure};
use rfutex_guest::plan::Stage;
use rfutex_guest::trial;

use crate::interrupt::Interrupt;
use crate::own::{Job, UNLIMITED};
use crate::qmp::Monitor;
use crate::report::Report;
use crate::session::Sections;
use crate::terminal::Terminal;

/// What runs in the VM unless the user says what: every basic command of the device.
const COMMAND: &[&str] = &["rfutex-selftests", "smoke::"];

/// The sections that a debugger wants to know of: not those which are gone when the
/// module is loaded, nor those of which nothing is left to look at.
const SECTIONS: &[&str] = &[".text", ".data", ".rodata", ".bss"];

/// A debugger, and what it needs to know.
struct Debugger<'a> {
    vmlinux: &'a Path,
    module: &'a Path,
    arguments: &'a [String],
    interrupt: &'a Interrupt,
    /// A directory for sockets and scripts.
    dir: &'a Path,
}

/// Runs `argv` in the VM once a debugger has come, which gets `arguments` besides.
/// Ends the VM when the debugger ends, and returns that one's exit status.
pub fn run(job: &Job<'_>, argv: &[String], arguments: &[String]) -> Result<ExitCode> {
    let argv = if argv.is_empty() {
        COMMAND.iter().map(|&word| word.to_owned()).collect()
    } else {
        argv.to_vec()
    };
    let vmlinux = job.places.kdir.join("vmlinux");
    ensure!(vmlinux.exists(), "{} is missing", vmlinux.display());
    let module = job.places.module(job.build);
    let (root, mut session, place) = job.prepare(&argv)?;
    job.places.add_module(&root, job.build)?;
    let plan = job.plan(vec![Stage::Debugger, Stage::Own { argv, place }]);

    let dir = tempfile::Builder::new().prefix("rfutex-").tempdir()?;
    let debugger = Debugger {
        vmlinux: &vmlinux,
        module: &module,
        arguments,
        interrupt: job.interrupt,
        dir: dir.path(),
    };
    session.limits = UNLIMITED;
    let machine = &mut session.machine;
    machine.append.push("nokaslr".to_owned());
    let given = machine.qemu_opts.take().unwrap_or_default();
    machine.qemu_opts = Some(format!("{given} {}", debugger.qemu_options()));
    // Not inherited by QEMU, or the command would never see the end of it.
    let (input, start) = std::io::pipe()?;
    machine.input = Some(Arc::new(input.into()));
    let (sender, loaded) = mpsc::channel();
    session.loaded = Some(sender);
    thread::scope(|scope| {
        let debugger = scope.spawn(move || debugger.debug(&loaded, start));
        let mut report = Report::default();
        let ran = session.run(&root, &plan, "gdb", &mut report);
        // If the module was never loaded, no debugger need be waited for.
        drop(session);
        let status = debugger
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        // That the VM ended early is for the debugger to say.
        ran?;
        let status = status.context("the module was not loaded")?;
        Ok(ExitCode::from(
            u8::try_from(trial::exit_status(status)).unwrap_or(1),
        ))
    })
}

impl Debugger<'_> {
    /// What QEMU is told: to take a debugger, and a monitor, at sockets of ours. Nobody
    /// else has them, however many run at a time.
    fn qemu_options(&self) -> String {
        let socket = self.dir.join("gdb").display().to_string();
        format!(
            "{} -chardev socket,id=gdb,path={socket},server=on,wait=off -gdb chardev:gdb",
            Monitor::option(&self.dir.join("monitor"))
        )
    }

    /// Waits until the module is loaded, stops the machine, and debugs it from there.
    /// `start` is what has the guest go on when the debugger does. Returns how the
    /// debugger ended, or nothing if the module was not loaded.
    fn debug(
        &self,
        loaded: &Receiver<Sections>,
        mut start: PipeWriter,
    ) -> Result<Option<ExitStatus>> {
        let Ok(sections) = loaded.recv() else {
            return Ok(None);
        };
        let mut monitor = Monitor::connect(&self.dir.join("monitor"))?;
        monitor.command("stop")?;
        // This is all that the command will read.
        writeln!(start, "go on")?;
        drop(start);
        let script = self.dir.join("script");
        fs::write(&script, self.script(&sections))?;
        let mut gdb = Command::new("gdb");
        gdb.arg("-q").arg("-x").arg(&script);
        gdb.args(self.arguments).arg(self.vmlinux);
        let status = self.attend(&mut gdb);
        // It may be gone already.
        let _ = monitor.command("quit");
        status.map(Some)
    }

    /// Runs gdb, on the terminal if there is one.
    fn attend(&self, gdb: &mut Command) -> Result<ExitStatus> {
        let terminal = Terminal::ours();
        let mut child = match &terminal {
            Some(terminal) => terminal.lend_to(gdb)?,
            None => gdb.process_group(0).spawn().context("gdb cannot be run")?,
        };
        self.interrupt.wait(&mut child)
    }

    /// What gdb does first.
    fn script(&self, sections: &Sections) -> String {
        let wanted = sections
            .iter()
            .filter(|(name, _)| SECTIONS.iter().any(|prefix| name.starts_with(prefix)));
        let places: String = wanted
            .map(|(name, address)| format!(" -s {name} {address:#x}"))
            .collect();
        format!(
            "set confirm off\nadd-symbol-file {}{places}\nset confirm on\ntarget remote {}\n",
            self.module.display(),
            self.dir.join("gdb").display()
        )
    }
}
