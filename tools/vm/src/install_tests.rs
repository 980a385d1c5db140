// SPDX-License-Identifier: GPL-2.0
//! The test of `make install-tools`: what is installed, and that it works where it is.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::root::is_dynamic;

/// What is there beside the man pages, with the permissions.
const FILES: [(&str, u32); 5] = [
    ("bin/rfutexctl", 0o755),
    ("share/bash-completion/completions/rfutexctl", 0o644),
    ("share/fish/vendor_completions.d/rfutexctl.fish", 0o644),
    ("share/zsh/site-functions/_rfutexctl", 0o644),
    ("lib/rfutex/librfutex_preload.so", 0o644),
];

const PAGES: &str = "share/man/man1/";

/// What bash offers for the beginning of a command.
const COMPLETE: &str = r#"
. "$1"
complete -p rfutexctl >&2 || exit
COMP_WORDS=(rfutexctl st) COMP_CWORD=1
_rfutexctl rfutexctl st rfutexctl
echo "${COMPREPLY[@]}"
"#;

/// Looks at what is below `prefix`.
pub fn look(prefix: &Path) -> Result<()> {
    let mut found = BTreeSet::new();
    files(prefix, "", &mut found)?;
    let (pages, others): (BTreeSet<_>, BTreeSet<_>) = found
        .into_iter()
        .partition(|(name, _)| name.starts_with(PAGES));
    let wanted = FILES.map(|(name, mode)| (name.to_owned(), mode)).into();
    ensure!(others == wanted, "installed are {others:?}");

    let program = prefix.join("bin/rfutexctl");
    ensure!(!is_dynamic(&program)?, "rfutexctl needs libraries");
    let help = output(Command::new(&program).arg("--help"))?;
    let mut wanted = BTreeSet::from([(format!("{PAGES}rfutexctl.1"), 0o644)]);
    let list = help.split_once("\nCommands:\n").unwrap_or_default().1;
    for line in list.split("\n\n").next().unwrap_or_default().lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        // A line that goes on with the one above stands further to the right.
        if line.starts_with("   ") || name == "help" {
            continue;
        }
        wanted.insert((format!("{PAGES}rfutexctl-{name}.1"), 0o644));
    }
    ensure!(pages == wanted, "the man pages are {pages:?}");
    let offered = output(
        Command::new("bash")
            .args(["--norc", "-c", COMPLETE, "bash"])
            .arg(prefix.join(FILES[1].0)),
    )?;
    ensure!(offered == "status store\n", "bash offers {offered:?}");
    Ok(())
}

/// Adds the files below `dir`, with their permissions.
fn files(dir: &Path, name: &str, found: &mut BTreeSet<(String, u32)>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = format!("{name}{}", entry.file_name().display());
        let meta = entry.metadata()?;
        if meta.is_dir() {
            files(&entry.path(), &format!("{name}/"), found)?;
        } else {
            found.insert((name, meta.permissions().mode() & 0o7777));
        }
    }
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {error}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
