// SPDX-License-Identifier: GPL-2.0
//! `make run`: a program of the user's in the VM, beside the module, with what the
//! user brings along.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::io::{IsTerminal, stdin};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use rfutex_guest::event::{self, Event};
use rfutex_guest::plan::{DIR, HOST, HostRoot, OUT, Place, Plan, Stage};
use tempfile::TempDir;

use crate::Options;
use crate::interrupt::Interrupt;
use crate::report::Report;
use crate::root::{Root, is_dynamic};
use crate::session::{Places, RUNNER, Ran, Session, guest_module};
use crate::terminal::Terminal;
use crate::vng::{Limits, Share};

/// How long a program of ours may say nothing, and how long it may take.
const OURS: Limits = Limits {
    silence: Duration::from_secs(300),
    total: Duration::from_secs(3600),
};

/// The same of one that the user brings: nobody but the user knows.
pub const UNLIMITED: Limits = Limits {
    silence: Duration::from_secs(7 * 24 * 3600),
    total: Duration::from_secs(7 * 24 * 3600),
};

/// What a shell says of a command that cannot be run.
const NO_COMMAND: u8 = 127;

/// What the host's environment has that programs in its root directory need.
const ENVIRONMENT: &[&str] = &["HOME", "LANG", "TERM", "USER"];

/// Files in the guest.
const SHELL: &str = "/bin/rfutex-shell";
const EVENTS: &str = "events";

/// What the user brings along.
#[derive(Args, Clone, Debug, Default)]
pub struct Brought {
    /// A directory of the host: it is there in the VM under the same path, writable,
    /// and where the command begins
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The root directory of the command
    #[arg(long, value_name = "ROOT", value_enum, default_value_t)]
    root: Kind,
}

/// A root directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Busybox, the programs of this checkout, and the shared libraries of the command
    #[default]
    Small,
    /// The host's; what is written there stays in the VM's memory
    Host,
    /// The host's; what is written there changes the host
    HostWritable,
}

impl Brought {
    /// The full path of the user's directory.
    fn full_dir(&self) -> Result<Option<PathBuf>> {
        let Some(dir) = &self.dir else {
            return Ok(None);
        };
        let full = fs::canonicalize(dir).with_context(|| format!("DIR={}", dir.display()))?;
        ensure!(full.is_dir(), "DIR={} is not a directory", dir.display());
        ensure!(
            full.to_str().is_some(),
            "DIR={} is not UTF-8",
            dir.display()
        );
        Ok(Some(full))
    }

    fn host_root(&self) -> Option<HostRoot> {
        match self.root {
            Kind::Small => None,
            Kind::Host => Some(HostRoot::Overlay),
            Kind::HostWritable => Some(HostRoot::Writable),
        }
    }

    /// What `argv` finds around itself in `root`, which gets what it needs for that, and
    /// what of the host is to be mounted there.
    pub fn put_into(
        &self,
        root: &Root,
        places: &Places,
        argv: &[String],
    ) -> Result<(Place, Vec<Share>)> {
        let mut place = Place {
            host_root: self.host_root(),
            ..Place::default()
        };
        let mut shares = Vec::new();
        if let Some(kind) = place.host_root {
            shares.push(Share {
                host: PathBuf::from("/"),
                guest: HOST,
                writable: kind == HostRoot::Writable,
            });
            place.env = environment(&places.programs)?;
        }
        let dir = self.full_dir()?;
        if let Some(dir) = &dir {
            if place.host_root.is_none() {
                root.add_mount_point(dir)?;
            }
            place.dir = dir.to_str().map(str::to_owned);
            shares.push(Share {
                host: dir.clone(),
                guest: DIR,
                writable: true,
            });
        }
        if place.host_root.is_none() {
            let program = dir.as_ref().and_then(|dir| brought_program(dir, argv));
            if let Some(program) = program.filter(|program| program.is_file())
                && is_dynamic(&program)?
            {
                root.add_libraries(&program)?;
            }
        }
        Ok((place, shares))
    }
}

/// The program that `argv` runs, if it is one in `dir`, where it begins.
fn brought_program(dir: &Path, argv: &[String]) -> Option<PathBuf> {
    let name = argv.first().filter(|name| name.contains('/'))?;
    let program = fs::canonicalize(dir.join(name)).ok()?;
    program.starts_with(dir).then_some(program)
}

/// The environment of a program in the host's root directory.
pub fn environment(programs: &Path) -> Result<Vec<(String, String)>> {
    let path = env::var("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut seen = HashSet::new();
    let dirs = [programs.to_owned()]
        .into_iter()
        .chain(env::split_paths(&path))
        .chain(sbin)
        .filter(|dir| seen.insert(dir.clone()));
    let path = env::join_paths(dirs)?.to_string_lossy().into_owned();
    let kept = ENVIRONMENT
        .iter()
        .filter_map(|&name| Some((name.to_owned(), env::var(name).ok()?)));
    Ok(kept.chain([("PATH".to_owned(), path)]).collect())
}

/// A program of the user's, in a VM of its own.
pub struct Job<'a> {
    /// The machine.
    pub options: &'a Options,
    /// Where everything is.
    pub places: &'a Places,
    /// The signals that end us.
    pub interrupt: &'a Interrupt,
    /// The build of the module that is loaded.
    pub build: &'a str,
    /// The programs of ours that are in the small root directory.
    pub programs: &'a [&'a str],
    /// What the user brings.
    pub brought: &'a Brought,
}

impl<'a> Job<'a> {
    /// Runs `argv`, or a shell if it is empty: on `terminal`, or with its output
    /// passed on line by line. Returns its exit status; that of a failure if the
    /// kernel complained.
    pub fn run(&self, argv: &[String], terminal: Option<&Terminal>) -> Result<ExitCode> {
        let argv = if argv.is_empty() {
            shell(terminal.is_some())
        } else {
            argv.to_vec()
        };
        let (root, mut session, place) = self.prepare(&argv)?;
        let place = Place {
            terminal: terminal.is_some(),
            ..place
        };
        let plan = self.plan(vec![Stage::Own { argv, place }]);
        let mut report = Report::default();
        let ran = match terminal {
            Some(terminal) => on_terminal(&mut session, &root, &plan, terminal, &mut report)?,
            None => {
                // Of a terminal that is not for output, nothing is read.
                if !stdin().is_terminal() {
                    session.machine.input = Some(Arc::new(stdin().as_fd().try_clone_to_owned()?));
                }
                session.run(&root, &plan, "run", &mut report)?
            }
        };
        if !report.outcomes().is_empty() {
            return Ok(ExitCode::FAILURE);
        }
        let status = ran.exited.context("the command did not end")?;
        Ok(ExitCode::from(u8::try_from(status).unwrap_or(NO_COMMAND)))
    }

    /// A root directory and a machine in which `argv` can run, and what it finds there.
    pub fn prepare(&self, argv: &[String]) -> Result<(Root, Session<'a>, Place)> {
        let nothing = self.brought.dir.is_none() && self.brought.root == Kind::Small;
        let limits = if nothing { OURS } else { UNLIMITED };
        let mut session = self.options.session(self.places, self.interrupt, limits)?;
        let root = self.places.root(self.programs)?;
        if self.programs.contains(&"rfutexctl") {
            self.places.add_preload(&root)?;
        }
        session.choose_accelerator(&root)?;
        let (place, shares) = self.brought.put_into(&root, self.places, argv)?;
        session.machine.shares = shares;
        Ok((root, session, place))
    }

    /// Loads the module and carries out `stages`.
    pub fn plan(&self, stages: Vec<Stage>) -> Plan {
        let insmod = Stage::Insmod {
            module: guest_module(self.build),
            parameters: Vec::new(),
        };
        Plan {
            limit: self.options.limit,
            stages: [insmod].into_iter().chain(stages).collect(),
            ..Plan::default()
        }
    }
}

fn shell(terminal: bool) -> Vec<String> {
    let argv: &[&str] = if terminal { &["sh", "-l"] } else { &["sh"] };
    argv.iter().map(|&word| word.to_owned()).collect()
}

/// Has the guest carry out `plan` with `terminal` for its program; what the guest tells
/// comes in a file.
fn on_terminal(
    session: &mut Session<'_>,
    root: &Root,
    plan: &Plan,
    terminal: &Terminal,
    report: &mut Report,
) -> Result<Ran> {
    let out = TempDir::new()?;
    session.machine.shares.push(Share {
        host: out.path().to_owned(),
        guest: OUT,
        writable: true,
    });
    root.set_plan(plan)?;
    root.add_script(
        SHELL.trim_start_matches('/'),
        &format!(
            "#!/bin/sh\nexport {}={OUT}/{EVENTS}\n{RUNNER}\n",
            event::FILE
        ),
    )?;
    session
        .machine
        .boot_on(terminal, root.path(), SHELL, session.interrupt)?;
    let events = fs::read_to_string(out.path().join(EVENTS)).unwrap_or_default();
    let mut ran = Ran::default();
    for event in events.lines().filter_map(Event::parse) {
        ran.note(event, report)?;
    }
    ensure!(ran.done, "the machine ended before the command had");
    Ok(ran)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn only_what_the_user_brings_has_libraries_that_come_along() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        fs::write(dir.join("own"), "").unwrap();
        let full = dir.join("own").display().to_string();
        for name in ["./own", &full] {
            let found = brought_program(&dir, &words(&[name, "x"]));
            assert_eq!(found, Some(dir.join("own")), "{name}");
        }
        for name in ["own", "./other", "/bin/sh", "../own"] {
            assert_eq!(brought_program(&dir, &words(&[name])), None, "{name}");
        }
        assert_eq!(brought_program(&dir, &[]), None);
    }

    #[test]
    fn a_directory_that_is_none_is_named() {
        let brought = Brought {
            dir: Some("/no/such/directory".into()),
            root: Kind::Host,
        };
        let error = format!("{:#}", brought.full_dir().unwrap_err());
        assert!(error.starts_with("DIR=/no/such/directory: "), "{error}");
    }

    #[test]
    fn our_programs_are_found_first_and_those_of_root_too() {
        let environment = environment(Path::new("/ours")).unwrap();
        let (_, path) = environment.iter().find(|(name, _)| name == "PATH").unwrap();
        let dirs: Vec<_> = env::split_paths(path).collect();
        assert_eq!(dirs[0], Path::new("/ours"));
        assert!(dirs.contains(&PathBuf::from("/usr/sbin")), "{path}");
        let different: HashSet<_> = dirs.iter().collect();
        assert_eq!(different.len(), dirs.len(), "{path}");
    }
}
