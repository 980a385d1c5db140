// SPDX-License-Identifier: GPL-2.0
//! What the host asks the guest to do: stages, carried out in order.

use serde::{Deserialize, Serialize};

/// Where the plan lies in the guest's root.
pub const PATH: &str = "/rfutex/plan.json";

/// Where the host's root directory is mounted.
pub const HOST: &str = "/rfutex/host";

/// Where a root directory that is the host's is put together, with the guest's own devices in it.
pub const HOST_ROOT: &str = "/run/rfutex/root";

/// Where the directory is mounted that the user brought.
pub const DIR: &str = "/rfutex/dir";

/// Where a directory is mounted that the guest leaves something in for the host.
pub const OUT: &str = "/rfutex/out";

/// Where the module is in the guest's root that keeps what is reached of an
/// instrumented one, if that is wanted.
pub const COVERAGE_MODULE: &str = "/lib/modules/rfutex_coverage.ko";

/// Written to the kernel log when all is done: what the console shows after it
/// is for the host to look at.
pub const END_MARK: &str = "rfutex-guest: the plan is done";

/// The test that there is if the kernel logged a splat when no test ran: before
/// the end mark, and after the last test, or in a plan without one.
pub const END: &str = "end";

/// Everything that one boot of the VM is for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// How long a test may take, in seconds.
    pub limit: u64,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// After a test that failed, run no more trials until the next module is
    /// loaded.
    #[serde(default)]
    pub first_failure: bool,
    /// What the kernel or the module was built without, though tests use it. Such a test is
    /// skipped.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// Whether tests repeat less often what they repeat to find a race.
    #[serde(default)]
    pub brief: bool,
}

/// One step of a plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Stage {
    /// Judges what the kernel logged while it booted.
    Boot,
    /// A test of this name: what the kernel has logged since the last one has
    /// no splat.
    Log {
        /// The test's name.
        name: String,
    },
    /// Loads a module and reports the KUnit suites that ran in it.
    Load {
        /// Which build this is: the first part of the names of its tests.
        build: String,
        /// The module's file.
        module: String,
        /// It is installed, and modprobe finds it.
        #[serde(default)]
        installed: bool,
        /// Module parameters, each `name=value`.
        #[serde(default)]
        parameters: Vec<String>,
        /// The suites that must run.
        suites: Vec<String>,
        /// None shall run: they have, when the same module was loaded before.
        #[serde(default)]
        without_suites: bool,
    },
    /// A test: the module must not load with these parameters.
    Refused {
        /// Which build this is: the first part of the test's name.
        build: String,
        /// The module's file.
        module: String,
        /// Module parameters, as one would give them to insmod.
        parameters: String,
        /// The error that loading it must fail with.
        errno: i32,
    },
    /// Unloads the module and looks for what it left.
    Unload {
        /// Which build this is.
        build: String,
    },
    /// Runs the trials of a test program, each in a process of its own.
    Trials {
        /// Which build is loaded; prefixes the tests' names unless empty.
        build: String,
        /// The test program: it knows `--list` and `--exact NAME`.
        program: String,
        /// Trials marked `[KIND]` with one of these kinds, or in one of these modules (`NAME::`),
        /// are left out.
        without: Vec<String>,
        /// Only trials whose name has one of these in it; empty: all.
        only: Vec<String>,
        /// There may be none.
        #[serde(default)]
        or_none: bool,
    },
    /// A test that is a shell script: it passes if that exits with 0, and prints
    /// what it should.
    Script {
        /// The test's name.
        name: String,
        /// The script, for `sh -c`.
        script: String,
        /// What it has to print, a shell pattern: `*` is any text. `None`: whatever
        /// it likes.
        #[serde(default)]
        output: Option<String>,
        /// How long it may take, in seconds.
        limit: u64,
    },
    /// Runs a test program that is not ours: what it prints goes to the host
    /// however it ends, and what it leaves behind is its own affair.
    Peer {
        /// The test's name.
        name: String,
        /// The program and its arguments.
        argv: Vec<String>,
        /// What it finds around itself.
        place: Place,
        /// How long it may take, in seconds.
        limit: u64,
    },
    /// Loads a module and says nothing if that works.
    Insmod {
        /// The module's file.
        module: String,
        /// Module parameters, each `name=value`.
        #[serde(default)]
        parameters: Vec<String>,
    },
    /// What is reached of an instrumented module from now on does not count.
    EndOfCoverage,
    /// Runs a program that has the screen for itself.
    Exec {
        /// The program and its arguments.
        argv: Vec<String>,
    },
    /// Tells where the module lies in the kernel's memory, and waits for a line on
    /// standard input: a debugger has come by then.
    Debugger,
    /// Runs a program of the user's, or a shell.
    Own {
        /// The program and its arguments.
        argv: Vec<String>,
        /// What it finds around itself.
        place: Place,
    },
}

/// What a program that is not ours finds around itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Place {
    /// Its root directory is the host's, which is mounted on [`HOST`], instead
    /// of the guest's own.
    pub host_root: Option<HostRoot>,
    /// The directory of the host that is mounted on [`DIR`]: it is there under
    /// the same path, and where the program begins.
    pub dir: Option<String>,
    /// What its environment has besides.
    pub env: Vec<(String, String)>,
    /// Standard output and standard error are the user's terminal; of no use to a test.
    pub terminal: bool,
}

/// What becomes of what is written to the host's root directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostRoot {
    /// It stays in the guest's memory, and is gone when the guest is.
    Overlay,
    /// The host's files change.
    Writable,
}
