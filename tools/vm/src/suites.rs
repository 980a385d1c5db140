// SPDX-License-Identifier: GPL-2.0
//! The KUnit suites that the module's source has, so that one which does not
//! run is missed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// How a suite is declared.
const DECLARATION: &str = "kunit_tests(";

/// The names of all suites in the Rust files below `dir`.
pub fn declared(dir: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            names.extend(declared(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(in_source(&fs::read_to_string(&path)?));
        }
    }
    Ok(names)
}

fn in_source(source: &str) -> Vec<String> {
    let name = |line: &str| {
        let line = line.trim_start();
        // An attribute, not a comment about one.
        let rest = line.strip_prefix("#[")?.split_once(DECLARATION)?.1;
        Some(rest.split([')', ',']).next()?.trim().to_owned())
    };
    source.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_count_and_comments_do_not() {
        let source = "// see #[kunit_tests(no)]\n#[kunit_tests(rfutex_key)]\nmod tests {\n    \
            #[macros::kunit_tests(rfutex_queue)]\n";
        assert_eq!(in_source(source), ["rfutex_key", "rfutex_queue"]);
    }
}
