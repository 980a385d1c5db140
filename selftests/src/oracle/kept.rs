// SPDX-License-Identifier: GPL-2.0
//! The scripts that are kept.

use super::script::Scenario;
use include_dir::{Dir, include_dir};

static SCRIPTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/src/oracle/scripts");

/// A script.
#[derive(Debug)]
pub struct Kept {
    /// The name of its file, without what follows the point.
    pub name: String,
    /// What it says.
    pub scenario: Scenario,
}

/// The scripts of a directory, in the order of their names.
pub fn kept(directory: &str) -> Vec<Kept> {
    let directory = SCRIPTS.get_dir(directory).expect("a directory of scripts");
    let mut scripts: Vec<_> = directory
        .files()
        .map(|file| {
            let name = file.path().file_stem().expect("a name");
            let name = name.to_string_lossy().into_owned();
            let text = file.contents_utf8().expect("text");
            let scenario = Scenario::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            Kept { name, scenario }
        })
        .collect();
    scripts.sort_by(|one, other| one.name.cmp(&other.name));
    scripts
}
