// SPDX-License-Identifier: GPL-2.0
//! Builds mutants, and has the litmus tests asked about them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::Cli;
use crate::boot::{Boot, Member};
use crate::list::Mutant;
use crate::litmus;
use crate::tree::Tree;
use crate::verdict::{Status, Verdict};

/// Makes modules out of changed trees.
pub struct Builder<'a> {
    cli: &'a Cli,
    work: &'a Path,
}

/// Mutants that are built, and what is known of them by now.
pub struct Batch<'m> {
    pub mutants: Vec<&'m Mutant>,
    /// Those of which all is known, by their places.
    pub done: Vec<(usize, Verdict)>,
    /// Those that still need a machine.
    pub members: Vec<(usize, Verdict)>,
}

impl Batch<'_> {
    /// The machine for them, if one is needed.
    pub fn boot(&self, all: bool) -> Option<Boot> {
        let members = self.members.iter().map(|&(place, _)| Member {
            id: &self.mutants[place].id,
            tests: &self.mutants[place].tests,
        });
        (members.len() != 0).then(|| Boot::of(members, all))
    }
}

/// Where the output of a mutant's build is, and what failed.
pub fn log(work: &Path, id: &str) -> PathBuf {
    work.join("logs").join(id)
}

impl<'a> Builder<'a> {
    /// Prepares the directories below `work`.
    pub fn new(cli: &'a Cli, work: &'a Path) -> Result<Self> {
        fs::create_dir_all(work.join("logs"))?;
        fs::create_dir_all(work.join("modules"))?;
        Ok(Self { cli, work })
    }

    /// Builds mutants that will share a machine.
    pub fn prepare<'m>(&self, tree: &mut Tree, mutants: Vec<&'m Mutant>) -> Result<Batch<'m>> {
        let (mut done, mut members) = (Vec::new(), Vec::new());
        for (place, &mutant) in mutants.iter().enumerate() {
            let began = Instant::now();
            let mut status = Status::Survived;
            let mut by = Vec::new();
            let key = format!("{} {}", tree.key_of_all()?, tree.key(mutant)?);
            tree.with(mutant, || {
                if !self.build(&mutant.id, &key)? {
                    status = Status::Unbuilt;
                } else if let Some(test) = &mutant.litmus
                    && !self.litmus(test, &mutant.id)?
                {
                    status = Status::Killed;
                    by.push(format!("litmus {test}"));
                }
                Ok(())
            })?;
            let verdict = Verdict {
                status,
                by,
                seconds: began.elapsed().as_secs_f64(),
            };
            if status == Status::Unbuilt || !mutant.needs_machine() {
                done.push((place, verdict));
            } else {
                members.push((place, verdict));
            }
        }
        Ok(Batch {
            mutants,
            done,
            members,
        })
    }

    /// Builds the tree as it is and keeps the module under the name `id`.
    pub fn unchanged(&self, tree: &Tree, id: &str) -> Result<()> {
        ensure!(
            self.build(id, &tree.key_of_all()?)?,
            "the module does not build, see {}",
            log(self.work, id).display()
        );
        Ok(())
    }

    /// Where the module of a mutant is kept.
    fn module(&self, id: &str) -> PathBuf {
        self.work.join("modules").join(id).join("rfutex.ko")
    }

    /// Builds the tree as it is and keeps the module, unless one is kept that
    /// was built from the same, which `key` stands for. False if the compiler
    /// refuses.
    fn build(&self, id: &str, key: &str) -> Result<bool> {
        let kept = self.module(id);
        let note = kept.with_file_name("key");
        let key = format!("{key} {}", self.cli.kdir.display());
        if kept.exists() && fs::read_to_string(&note).is_ok_and(|of| of == key) {
            return Ok(true);
        }
        let objects = self.work.join("objects");
        let module = objects.join("rfutex.ko");
        // An old one must not be taken for this one.
        if module.exists() {
            fs::remove_file(&module)?;
        }
        let mut make = Command::new("make");
        make.args(["--no-print-directory", "modules", "RFUTEX_LAB=y"])
            .arg(format!("KDIR={}", self.cli.kdir.display()))
            .arg(format!("MO={}", objects.display()))
            .current_dir(self.work.join("tree"));
        let log = File::create(log(self.work, id))?;
        if !logged(&mut make, &log)?.success() || !module.exists() {
            return Ok(false);
        }
        fs::create_dir_all(self.work.join("modules").join(id))?;
        if note.exists() {
            fs::remove_file(&note)?;
        }
        fs::copy(&module, &kept)?;
        fs::write(&note, &key)?;
        Ok(true)
    }

    /// Whether a litmus test still says of the tree as it is what it should.
    pub fn litmus(&self, test: &str, id: &str) -> Result<bool> {
        let log = log(self.work, id);
        let log = File::options().create(true).append(true).open(log)?;
        litmus::good(&self.work.join("tree"), &self.cli.cache, test, &log)
    }
}

/// Runs `command` with all of its output in `log`.
pub fn logged(command: &mut Command, log: &File) -> Result<ExitStatus> {
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .status()
        .with_context(|| format!("{:?}", command.get_program()))
}
