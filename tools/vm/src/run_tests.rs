// SPDX-License-Identifier: GPL-2.0
//! The tests of `make run` and `make gdb`: what a user brings is there in the VM, and
//! comes back from it.

use std::fs;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wait_timeout::ChildExt;

use crate::Options;
use crate::install_tests;
use crate::interrupt::Interrupt;
use crate::recording;
use crate::report::Report;
use crate::screen::{self, LIMIT, Screen};
use crate::session::Places;

/// What a user writes. It leaves a file behind, uses all of its standard files, and
/// ends with what the device says.
const PROGRAM: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <linux/rfutex.h>
int main(void)
{
	int word = 0, c, dev = open("/dev/rfutex", O_RDWR);
	FILE *out = fopen("out", "w");

	while ((c = getchar()) != EOF)
		putc(c, out);
	fputs("an error\n", stderr);
	printf("woke %d\n", ioctl(dev, RFUTEX_WAKE_ALL, &word));
	return dev < 0 || fclose(out) ? 1 : 7;
}
"#;

/// The same in a language that only the host's root directory has. The number is that
/// of `RFUTEX_WAKE_ALL`.
const SCRIPT: &str = r#"
import fcntl, os, sys
device = os.open("/dev/rfutex", os.O_RDWR)
word = bytearray(8)
open("out", "w").write("written by Python\n")
open("/usr/rfutex-test", "w").write("in memory only\n")
print("cpus", os.cpu_count(), open("/usr/rfutex-test").read())
sys.exit(9)
"#;

/// Where gdb has to stop.
const BREAKPOINT: &str = "rfutex_main::device::wake_at";

/// How long a run may take to end once it was told to.
const PARTING: Duration = Duration::from_secs(30);

/// The exit status of timeout(1) if it had to end the command.
const TIMED_OUT: i32 = 124;

/// How many lines of the console are shown then.
const TAIL: usize = 40;

/// One of them, with the user's directory.
type Test<'a> = &'a dyn Fn(&Path) -> Result<()>;

/// What these tests need.
pub struct Tests<'a> {
    /// The machine.
    pub options: &'a Options,
    /// Where everything is.
    pub places: &'a Places,
    /// The signals that end us.
    pub interrupt: &'a Interrupt,
}

impl Tests<'_> {
    /// Runs all of them.
    pub fn run(&self, report: &mut Report) -> Result<()> {
        // Its name is one that nobody quotes by accident.
        let dir = tempfile::Builder::new().prefix("it's a $dir ").tempdir()?;
        self.build(dir.path())?;
        let tests: [(&str, Test<'_>); 7] = [
            ("small-root", &|dir| self.small_root(dir)),
            ("host-root", &|dir| self.host_root(dir)),
            ("gdb", &|dir| self.gdb(dir)),
            ("terminal", &|_| self.terminal()),
            ("terminated", &|_| self.terminated()),
            ("story", &|_| self.story()),
            ("install-tools", &|dir| self.install_tools(dir)),
        ];
        for (name, test) in tests {
            let name = format!("harness/run/{name}");
            report.started(name.clone());
            let began = Instant::now();
            let result = test(dir.path());
            self.interrupt.check()?;
            let wrong = result.err().map(|error| format!("{error:#}"));
            report.judged(name, began.elapsed().as_secs_f64(), wrong, String::new())?;
        }
        Ok(())
    }

    /// Compiles the program as README says.
    fn build(&self, dir: &Path) -> Result<()> {
        fs::write(dir.join("mytest.c"), PROGRAM)?;
        fs::write(dir.join("mytest.py"), SCRIPT)?;
        let include = self.options.top.join("include/uapi");
        let mut cc = Command::new("cc");
        cc.current_dir(dir).arg("-I").arg(include);
        let output = self
            .interrupt
            .output(cc.args(["mytest.c", "-o", "mytest"]), false)?;
        ensure!(output.status.success(), "{}", text(&output.stderr));
        Ok(())
    }

    /// `make`, for the kernel that the tests have.
    fn make(&self, target: &str, variables: &[(&str, &str)]) -> Command {
        // Whatever becomes of it, the tests go on.
        let mut make = Command::new("timeout");
        make.args(["--kill-after", "60", &LIMIT.as_secs().to_string(), "make"]);
        make.arg("--no-print-directory")
            .arg("-C")
            .arg(&self.options.top);
        make.arg(target);
        for (name, value) in variables {
            make.arg(format!("{name}={}", value.replace('$', "$$")));
        }
        // What is left of the make that has called us.
        for name in ["KDIR", "MODULES", "LLVM"] {
            make.env_remove(name);
        }
        make.env("FLAVOUR", "debug");
        if self.is_named() {
            make.arg(format!("KDIR={}", self.places.kdir.display()));
        }
        make
    }

    /// What a run said; if it did not end in time, with the end of what its console showed.
    fn described(&self, output: &Output) -> String {
        let said = described(output);
        if output.status.code() != Some(TIMED_OUT) {
            return said;
        }
        let log = self.places.build.join("console/run.log");
        let lines = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<_> = lines.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL)..];
        format!("{said}its console:\n{}", tail.join("\n"))
    }

    /// A program of the user's, with what it reads and writes, and its exit status.
    fn small_root(&self, dir: &Path) -> Result<()> {
        let mut input = tempfile::tempfile()?;
        input.write_all(b"from the host\n")?;
        input.rewind()?;
        let mut make = self.make(
            "run",
            &[("CMD", "./mytest"), ("DIR", &shown(dir)), ("MEM", "1024")],
        );
        let output = self.interrupt.output(make.stdin(input), false)?;
        let said = self.described(&output);
        ensure!(
            text(&output.stdout).lines().any(|line| line == "woke 0"),
            "{said}"
        );
        ensure!(
            text(&output.stderr).lines().any(|line| line == "an error"),
            "{said}"
        );
        ensure!(text(&output.stderr).contains("Error 7"), "{said}");
        let written = fs::read_to_string(dir.join("out")).context(said)?;
        ensure!(written == "from the host\n", "out has: {written}");
        Ok(())
    }

    /// A program of the host's, in the host's root directory, which it does not change.
    fn host_root(&self, dir: &Path) -> Result<()> {
        let mut make = self.make(
            "run",
            &[
                ("CMD", "python3 mytest.py"),
                ("DIR", &shown(dir)),
                ("ROOT", "host"),
                ("CPUS", "1"),
            ],
        );
        let output = self.interrupt.output(make.stdin(Stdio::null()), false)?;
        let said = self.described(&output);
        let wanted = "cpus 1 in memory only";
        ensure!(
            text(&output.stdout).lines().any(|line| line == wanted),
            "{said}"
        );
        ensure!(text(&output.stderr).contains("Error 9"), "{said}");
        let written = fs::read_to_string(dir.join("out"))?;
        ensure!(written == "written by Python\n", "out has: {written}");
        let changed = Path::new("/usr/rfutex-test");
        ensure!(!changed.exists(), "{} is on the host", changed.display());
        Ok(())
    }

    /// A debugger stops the program in the module, and shows where.
    fn gdb(&self, dir: &Path) -> Result<()> {
        let script =
            format!("-batch -ex 'break {BREAKPOINT}' -ex continue -ex 'info args' -ex backtrace");
        let mut make = self.make(
            "gdb",
            &[("CMD", "./mytest"), ("DIR", &shown(dir)), ("GDB", &script)],
        );
        let output = self.interrupt.output(make.stdin(Stdio::null()), false)?;
        let (said, stdout) = (self.described(&output), text(&output.stdout));
        ensure!(output.status.success(), "{said}");
        ensure!(stdout.contains(&format!(" {BREAKPOINT} (")), "{said}");
        // A line of the module's source, an argument, and a function of the kernel.
        for part in ["rust/device.rs:", "nr = 4294967295", "__x64_sys_ioctl"] {
            ensure!(stdout.contains(part), "no \"{part}\": {said}");
        }
        Ok(())
    }

    /// A shell on a terminal.
    fn terminal(&self) -> Result<()> {
        let (mut screen, mut run) = Screen::start(self.itself(&[]), 33, 101)?;
        screen.wait_for("# ")?;
        screen.write("echo $((40 + 2)) $(stty size) $(ls /dev/rfutex)\n")?;
        screen.wait_for("42 33 101 /dev/rfutex")?;
        // What interrupts a program does not interrupt the rest. Before it runs, what is typed is
        // the shell's.
        screen.wait_for("# ")?;
        screen.write("sh -c 'echo $((2 * 50)); cat'\n")?;
        screen.wait_for("100\r")?;
        screen.write("read back\n")?;
        // The terminal shows what is typed, then the program what it has read.
        screen.wait_for("read back")?;
        screen.wait_for("read back")?;
        screen.write("\u{3}")?;
        screen.wait_for("# ")?;
        screen.write("exit 5\n")?;
        screen.drain()?;
        let status = run.wait()?.code();
        ensure!(status == Some(5), "exit status {status:?}: {}", screen.seen);
        Ok(())
    }

    /// A run that is told to end does so, and so does its machine.
    fn terminated(&self) -> Result<()> {
        let (mut reader, writer) = std::io::pipe()?;
        let writer = OwnedFd::from(writer);
        let command = self.itself(&["sh", "-c", "echo it is up; sleep 1000"]);
        let mut run = screen::start(command, &writer)?;
        drop(writer);
        let mut seen = String::new();
        let mut bytes = [0; 4096];
        while !seen.contains("it is up") {
            let length = reader.read(&mut bytes)?;
            ensure!(length > 0, "it ended early: {seen}");
            seen.push_str(&text(&bytes[..length]));
        }
        kill(Pid::from_raw(run.id() as i32), Signal::SIGTERM)?;
        if run.wait_timeout(PARTING)?.is_none() {
            run.kill()?;
            run.wait()?;
            bail!("it still runs after {} s", PARTING.as_secs());
        }
        // The machine has the other end of this pipe as long as it is there.
        while reader.read(&mut bytes)? > 0 {}
        Ok(())
    }

    /// What README tells of a program and `rfutexctl` is true.
    fn story(&self) -> Result<()> {
        let kdir = shown(&self.places.kdir);
        let mut variables = vec![("FLAVOUR", "debug")];
        if self.is_named() {
            variables.push(("KDIR", &kdir));
        }
        let top = std::path::absolute(&self.options.top)?;
        recording::play(&top, &variables)?;
        Ok(())
    }

    /// The command line is installed whole, below the directory that the user names.
    fn install_tools(&self, dir: &Path) -> Result<()> {
        let destination = shown(&dir.join("installed"));
        let variables = [("DESTDIR", &*destination), ("PREFIX", "/usr")];
        let mut make = self.make("install-tools", &variables);
        // As the tests have built it.
        make.env("PROFILE", "dev").stdin(Stdio::null());
        let output = self.interrupt.output(&mut make, false)?;
        ensure!(output.status.success(), "{}", described(&output));
        install_tests::look(&dir.join("installed/usr"))
    }

    /// Whether the kernel is one that the user has named.
    fn is_named(&self) -> bool {
        !self.places.modules.ends_with("debug")
    }

    /// `make run` without make: this program.
    fn itself(&self, argv: &[&str]) -> Command {
        let places = self.places;
        let mut command = Command::new("/proc/self/exe");
        for (option, value) in [
            ("--kdir", &places.kdir),
            ("--top", &self.options.top),
            ("--modules", &places.modules),
            ("--programs", &places.programs),
            ("--cache", &places.cache),
        ] {
            command.arg(option).arg(value);
        }
        command.arg("run");
        if !argv.is_empty() {
            command.arg("--").args(argv);
        }
        command.env("TERM", "vt100");
        command
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn described(output: &Output) -> String {
    format!(
        "{}; it said:\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    )
}
