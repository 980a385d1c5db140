// SPDX-License-Identifier: GPL-2.0
//! The lines that no test reaches, and why that is accepted.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Lines, Source};

/// The list, in the checkout.
pub const FILE: &str = "tools/coverage/accepted.toml";

/// Lines in a row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// The file, from the top of the checkout.
    file: String,
    /// The lines, whatever they are indented by.
    find: String,
    /// If the file has them more than once: lines somewhere before them. They
    /// are the first after these, which the file has once.
    #[serde(default)]
    after: Option<String>,
    /// Why no test reaches them.
    reason: String,
    /// Chance decides whether a test does: they may be reached.
    #[serde(default)]
    by_chance: bool,
}

/// All of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    #[serde(default)]
    accepted: Vec<Accepted>,
}

impl List {
    /// Reads the list.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.accepted.len()
    }

    /// What is not as the list has it, one line each.
    pub fn judge(&self, lines: &Lines, source: &Source) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut open = lines.clone();
        for accepted in &self.accepted {
            if let Err(complaint) = accepted.take(lines, &mut open, source) {
                complaints.push(format!("{}: {complaint}", accepted.file));
            }
        }
        for (file, lines) in &open.0 {
            let unreached = lines.iter().filter(|(_, reached)| !**reached);
            complaints.extend(unreached.map(|(&number, _)| {
                let text = &source.0[file][number as usize - 1];
                format!("{file}:{number}: no test reaches `{text}`")
            }));
        }
        complaints
    }
}

impl Accepted {
    /// Takes these lines out of `open`.
    fn take(&self, lines: &Lines, open: &mut Lines, source: &Source) -> Result<(), String> {
        let text = source.0.get(&self.file).map_or(&[][..], Vec::as_slice);
        let range = self.place(text)?;
        let has_code = lines.0.get(&self.file).into_iter().flatten();
        let mut own = has_code
            .filter(|(number, _)| range.contains(number))
            .peekable();
        if own.peek().is_none() {
            return Err(format!(
                "no code in `{}`, which is accepted",
                self.find.trim()
            ));
        }
        if self.reason.trim().is_empty() {
            return Err(format!("no reason for `{}`", self.find.trim()));
        }
        let mut reached = Vec::new();
        for (&number, &is_reached) in own {
            if is_reached && !self.by_chance {
                let text = &text[number as usize - 1];
                reached.push(format!("line {number} is accepted, but reached: `{text}`"));
            }
            if let Some(open) = open.0.get_mut(&self.file) {
                open.remove(&number);
            }
        }
        if reached.is_empty() {
            Ok(())
        } else {
            Err(reached.join("; "))
        }
    }

    /// The numbers of the lines.
    fn place(&self, text: &[String]) -> Result<Range<u32>, String> {
        let find = trimmed(&self.find);
        let mut from = 0;
        if let Some(after) = &self.after {
            let after = trimmed(after);
            let [place] = places(text, &after)[..] else {
                return Err(format!("not exactly one place has `{}`", after.join(" ")));
            };
            from = place + after.len();
        }
        let places = places(&text[from..], &find);
        let place = match (&places[..], &self.after) {
            ([place], None) | ([place, ..], Some(_)) => from + place,
            ([], _) => return Err(format!("no place has `{}`", find.join(" "))),
            (_, None) => return Err(format!("several places have `{}`", find.join(" "))),
        };
        let first = place as u32 + 1;
        Ok(first..first + find.len() as u32)
    }
}

fn trimmed(text: &str) -> Vec<String> {
    let lines = text.trim().lines();
    lines.map(|line| line.trim().to_owned()).collect()
}

/// Where these lines are in `text`.
fn places(text: &[String], lines: &[String]) -> Vec<usize> {
    let windows = text.windows(lines.len().max(1)).enumerate();
    windows
        .filter(|(_, window)| *window == lines)
        .map(|(place, _)| place)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::blocks::Line;
    use super::*;

    const FILE: &str = "rust/key.rs";

    fn source() -> Source {
        let text = [
            "fn one() {",
            "work();",
            "fail();",
            "}",
            "fn two() {",
            "fail();",
            "}",
        ];
        let lines = text.iter().map(|&line| line.to_owned()).collect();
        Source([(FILE.to_owned(), lines)].into())
    }

    /// What is said of a list with one entry, or without one, when these lines
    /// are not reached.
    fn complaints(entry: &str, unreached: &[u32]) -> Vec<String> {
        let mut lines = Lines::default();
        for number in [1, 2, 3, 5, 6] {
            let line = Line {
                file: FILE.to_owned(),
                number,
            };
            lines.note(&line, !unreached.contains(&number));
        }
        let text = if entry.is_empty() {
            String::new()
        } else {
            format!("[[accepted]]\nfile = \"{FILE}\"\n{entry}")
        };
        let list: List = toml::from_str(&text).unwrap();
        list.judge(&lines, &source())
    }

    #[test]
    fn what_is_not_reached_has_to_be_accepted() {
        assert!(complaints("", &[]).is_empty());
        assert_eq!(
            complaints("", &[2]),
            ["rust/key.rs:2: no test reaches `work();`"]
        );
        assert!(complaints("find = 'work();'\nreason = 'x'", &[2]).is_empty());
        let two = "find = '''\n  work();\n  fail();'''\nreason = 'x'";
        assert!(complaints(two, &[2, 3]).is_empty());
        assert_eq!(complaints(two, &[2, 3, 6]).len(), 1);
    }

    #[test]
    fn what_is_accepted_must_not_be_reached() {
        let one = "find = 'work();'\nreason = 'x'";
        let [complaint] = &complaints(one, &[])[..] else {
            panic!("one complaint");
        };
        assert!(
            complaint.contains("line 2 is accepted, but reached"),
            "{complaint}"
        );
        let by_chance = format!("{one}\nby_chance = true");
        assert!(complaints(&by_chance, &[]).is_empty());
        assert!(complaints(&by_chance, &[2]).is_empty());
    }

    #[test]
    fn the_place_has_to_be_plain() {
        assert_eq!(complaints("find = 'fail();'\nreason = 'x'", &[]).len(), 1);
        let second = "find = 'fail();'\nafter = 'fn two() {'\nreason = 'x'";
        assert!(complaints(second, &[6]).is_empty());
        assert_eq!(complaints(second, &[3]).len(), 2, "that is the other one");
        assert_eq!(complaints("find = 'gone();'\nreason = 'x'", &[]).len(), 1);
        assert_eq!(
            complaints("find = '}'\nafter = 'work();'\nreason = 'x'", &[]).len(),
            1
        );
        assert_eq!(complaints("find = 'work();'\nreason = ''", &[2]).len(), 2);
    }
}
