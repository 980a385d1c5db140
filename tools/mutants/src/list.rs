// SPDX-License-Identifier: GPL-2.0
//! The list of mutants, which is data: the files in `list/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// One place where text is replaced.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The file, from the top of the checkout.
    pub file: String,
    /// What is replaced; the file has it exactly once.
    pub find: String,
    /// What it is replaced by.
    pub replace: String,
}

/// One change of the module, in one or a few places.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// Its name.
    pub id: String,
    /// What it is about: one of the list's `rows`.
    pub row: String,
    /// What is wrong then.
    pub what: String,
    /// The places.
    pub edits: Vec<Edit>,
    /// Selftests that may notice: parts of their names. KUnit always may.
    #[serde(default)]
    pub tests: Vec<String>,
    /// A litmus test that notices, since no processor at hand can show it.
    #[serde(default)]
    pub litmus: Option<String>,
    /// The machine may crash or hang: that counts as noticed.
    #[serde(default)]
    pub fatal: bool,
    /// It may leave something behind that others would stumble over.
    #[serde(default)]
    pub alone: bool,
    /// Why nothing can notice.
    #[serde(default)]
    pub survives: Option<String>,
}

impl Mutant {
    /// Whether it has to be tried in a machine.
    pub fn needs_machine(&self) -> bool {
        !self.tests.is_empty() || self.litmus.is_none()
    }

    /// Whether the machine may be used for another one after it.
    pub fn can_share(&self) -> bool {
        !self.fatal && !self.alone
    }
}

/// All of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// What there has to be a mutant for.
    #[serde(default)]
    rows: Vec<String>,
    #[serde(default, rename = "mutant")]
    mutants: Vec<Mutant>,
}

impl List {
    /// Reads the files in `dir`, and checks what they say.
    pub fn read(dir: &Path) -> Result<Self> {
        let entries = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
        let mut paths = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<_>>>()?;
        paths.sort();
        let mut list = Self::default();
        for path in paths {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let part: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
            list.rows.extend(part.rows);
            list.mutants.extend(part.mutants);
        }
        list.check()?;
        list.sort();
        Ok(list)
    }

    /// The first mutant of each row, then the second, and so on: a run that is
    /// stopped has something of everything.
    fn sort(&mut self) {
        let Self { rows, mutants } = self;
        let mut seen = vec![0; rows.len()];
        mutants.sort_by_cached_key(|mutant| {
            let row = rows.iter().position(|row| *row == mutant.row);
            let count = row.map_or(0, |row| {
                seen[row] += 1;
                seen[row]
            });
            (count, row)
        });
    }

    fn check(&self) -> Result<()> {
        let mut ids = BTreeSet::new();
        for mutant in &self.mutants {
            let id = &mutant.id;
            ensure!(ids.insert(id), "two mutants are called {id}");
            ensure!(
                self.rows.contains(&mutant.row),
                "{id}: there is no row {:?}",
                mutant.row
            );
            ensure!(!mutant.edits.is_empty(), "{id} changes nothing");
            for edit in &mutant.edits {
                ensure!(
                    edit.find != edit.replace,
                    "{id} changes nothing in {}",
                    edit.file
                );
            }
        }
        for row in &self.rows {
            ensure!(
                self.mutants.iter().any(|m| &m.row == row),
                "no mutant is about {row:?}"
            );
        }
        Ok(())
    }

    /// All mutants.
    pub fn mutants(&self) -> &[Mutant] {
        &self.mutants
    }

    /// Those that are named; all if none is.
    pub fn chosen(&self, only: &[String]) -> Result<Vec<&Mutant>> {
        if let Some(id) = only
            .iter()
            .find(|&id| !self.mutants.iter().any(|m| &m.id == id))
        {
            bail!("there is no mutant {id}");
        }
        let chosen = |m: &&Mutant| only.is_empty() || only.contains(&m.id);
        Ok(self.mutants.iter().filter(chosen).collect())
    }
}

/// The tests that these name, each once.
pub fn tests(mutants: &[&Mutant]) -> Vec<String> {
    let tests: BTreeSet<_> = mutants.iter().flat_map(|m| &m.tests).cloned().collect();
    tests.into_iter().collect()
}

/// The litmus tests that these name, each once.
pub fn litmus_tests<'m>(mutants: &[&'m Mutant]) -> BTreeSet<&'m str> {
    mutants.iter().filter_map(|m| m.litmus.as_deref()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MUTANT: &str = "[[mutant]]\nid = 'a'\nrow = 'r'\nwhat = 'w'\n\
        edits = [{ file = 'f', find = 'x', replace = 'y' }]\n";

    fn list(text: &str) -> Result<List> {
        let list: List = toml::from_str(text)?;
        list.check()?;
        Ok(list)
    }

    #[test]
    fn a_list() {
        let list = list(&format!("rows = ['r']\n{MUTANT}")).unwrap();
        assert_eq!(list.chosen(&[]).unwrap().len(), 1);
        assert!(list.chosen(&["b".to_owned()]).is_err());
        assert!(list.mutants()[0].needs_machine());
    }

    #[test]
    fn each_row_has_its_turn() {
        let mutant = |id: &str, row: &str| {
            let text = MUTANT.replace("id = 'a'", &format!("id = '{id}'"));
            text.replace("'r'", &format!("'{row}'"))
        };
        let parts = [
            mutant("b", "s"),
            mutant("a", "r"),
            mutant("c", "s"),
            mutant("d", "r"),
        ];
        let mut list = list(&format!("rows = ['r', 's']\n{}", parts.concat())).unwrap();
        list.sort();
        let ids: Vec<_> = list.mutants().iter().map(|m| m.id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "d", "c"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(list(&format!("rows = ['r']\n{MUTANT}{MUTANT}")).is_err());
        assert!(list(&format!("rows = []\n{MUTANT}")).is_err());
        assert!(list(&format!("rows = ['r', 's']\n{MUTANT}")).is_err());
        let nothing = MUTANT.replace("'y'", "'x'");
        assert!(list(&format!("rows = ['r']\n{nothing}")).is_err());
    }

    #[test]
    fn the_list_that_is_there_is_good() {
        List::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("list")).unwrap();
    }
}
