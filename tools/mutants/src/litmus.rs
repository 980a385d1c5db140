// SPDX-License-Identifier: GPL-2.0
//! Asks the litmus tests.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// How `tools/litmus.sh` begins the line of a test that herd7 could not run.
const BROKEN: &str = "FAIL  Error";

/// Whether the litmus tests with `test` in their names say what they should of
/// the module in `tree`. What they print goes to `log`, too.
///
/// # Errors
///
/// They could not be run: that says nothing of the module.
pub fn good(tree: &Path, cache: &Path, test: &str, mut log: &File) -> Result<bool> {
    let mut litmus = Command::new(tree.join("tools/litmus.sh"));
    let output = litmus
        .arg(test)
        .env("RFUTEX_CACHE", cache)
        .output()
        .context("litmus.sh cannot be run")?;
    log.write_all(&output.stdout)?;
    log.write_all(&output.stderr)?;
    let said = String::from_utf8_lossy(&output.stdout);
    judge(&said)
        .filter(|good| *good == output.status.success())
        .with_context(|| {
            let errors = String::from_utf8_lossy(&output.stderr);
            format!("the litmus tests {test} did not run:\n{said}{errors}")
        })
}

/// Whether all passed, by what they printed; `None` if not all of them ran.
fn judge(said: &str) -> Option<bool> {
    let (passed, failed) = said.lines().last()?.split_once(" passed, ")?;
    let passed: u32 = passed.parse().ok()?;
    let failed: u32 = failed.strip_suffix(" failed")?.parse().ok()?;
    let ran = passed + failed > 0 && !said.lines().any(|line| line.starts_with(BROKEN));
    ran.then_some(failed == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_run_tells_nothing() {
        let good = "ok    Never     swap\n1 passed, 0 failed\n";
        assert_eq!(judge(good), Some(true));
        let stale = "FAIL  Stale     swap: rust/queue.rs (should be: x)\n0 passed, 1 failed\n";
        assert_eq!(judge(stale), Some(false));
        let broken = "FAIL  Error     swap (should be: Never)\n0 passed, 1 failed\n";
        assert_eq!(judge(broken), None);
        assert_eq!(judge("0 passed, 0 failed\n"), None);
        assert_eq!(judge("ok    Never     swap\n"), None);
        assert_eq!(judge(""), None);
    }
}
