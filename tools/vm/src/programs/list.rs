// SPDX-License-Identifier: GPL-2.0
//! The programs, as `tools/programs/programs.toml` has them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The file, among the scripts.
const FILE: &str = "programs.toml";

/// How many instructions a program may take on rfutex for one on futex(2).
const MOST: f64 = 1.05;

/// A program; that file says what each field is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    pub name: String,
    pub what: String,
    pub result: String,
    #[serde(default = "most")]
    pub most: f64,
    #[serde(default)]
    pub why: String,
    #[serde(default = "yes")]
    pub device: bool,
}

fn most() -> f64 {
    MOST
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    program: Vec<Program>,
}

/// Reads them. Each has a script in that directory.
pub fn read(scripts: &Path) -> Result<Vec<Program>> {
    let path = scripts.join(FILE);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let list = parse(&text).with_context(|| path.display().to_string())?;
    for program in &list {
        let script = scripts.join(format!("{}.sh", program.name));
        ensure!(script.is_file(), "there is no {}", script.display());
    }
    Ok(list)
}

fn parse(text: &str) -> Result<Vec<Program>> {
    let List { program: list } = toml::from_str(text)?;
    for (at, program) in list.iter().enumerate() {
        let name = &program.name;
        let exception = program.most != MOST || !program.device;
        ensure!(
            exception != program.why.is_empty(),
            "{name}: a reason is given where there is something to explain, and only there"
        );
        ensure!(!program.result.is_empty(), "{name} shows nothing");
        let twice = list[..at].iter().any(|other| other.name == *name);
        ensure!(!twice, "{name} is there twice");
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_has_a_reason() {
        let with = |rest: &str| {
            parse(&format!(
                "[[program]]\nname = 'a'\nwhat = 'b'\nresult = 'c'\n{rest}"
            ))
        };
        assert!(with("").unwrap()[0].device);
        assert!(with("most = 2.0\nwhy = 'd'").is_ok());
        assert!(with("device = false\nwhy = 'd'").is_ok());
        for bad in ["most = 2.0", "device = false", "why = 'd'", "other = 1"] {
            assert!(with(bad).is_err(), "{bad}");
        }
        assert!(with("[[program]]\nname = 'a'\nwhat = 'b'\nresult = 'c'").is_err());
    }

    #[test]
    fn those_of_this_checkout() {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs");
        assert!(!read(&scripts).unwrap().is_empty());
    }
}
