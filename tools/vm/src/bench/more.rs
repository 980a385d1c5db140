// SPDX-License-Identifier: GPL-2.0
//! Which operations move more lines than those of futex(2), and which lines these are.

use std::collections::BTreeMap;

use rfutex_figures::record::{Hold, Line};

use super::experiments::SAME;
use super::lines::{Moved, OPERATIONS};

/// So many names are told of an operation.
const NAMES: usize = 4;

/// An operation that moves more lines than that of futex(2).
#[derive(Debug, PartialEq)]
pub struct More<'a> {
    /// What was measured.
    pub case: &'a str,
    /// Whose operation it is.
    pub side: &'a str,
    /// What the module was loaded with.
    pub hold: Hold,
    /// With how many processors.
    pub x: Option<f64>,
    /// How many lines it moves more.
    pub lines: f64,
    /// The fields, variables or else functions of which more lines move, and how many more on
    /// average, the most first.
    pub of: Vec<(&'a str, f64)>,
}

/// All of `lines` that move more, each with as many processors as there were.
pub fn all<'a>(lines: &'a [Line], moved: &'a [Moved]) -> Vec<More<'a>> {
    let lines: Vec<&Line> = lines
        .iter()
        .filter(|line| line.experiment == OPERATIONS)
        .collect();
    let most = |line: &Line| {
        let same = lines.iter().filter(|other| {
            (&other.case, &other.side, other.hold) == (&line.case, &line.side, line.hold)
        });
        same.filter_map(|other| other.x).reduce(f64::max)
    };
    let more = |line: &&'a Line| {
        let native = lines.iter().find(|other| {
            (&other.case, other.x, other.hold) == (&line.case, line.x, line.hold)
                && other.side == "futex(2)"
        })?;
        let by = line.figure("lines")? - native.figure("lines")?;
        (line.x == most(line) && by > SAME).then(|| More {
            case: &line.case,
            side: &line.side,
            hold: line.hold,
            x: line.x,
            lines: by,
            of: difference(line, native, moved),
        })
    };
    lines.iter().filter_map(more).collect()
}

/// Of what `line` moves more than `native`.
fn difference<'a>(line: &Line, native: &Line, moved: &'a [Moved]) -> Vec<(&'a str, f64)> {
    let mut names: BTreeMap<&str, f64> = BTreeMap::new();
    for (of, sign) in [(line, 1.0), (native, -1.0)] {
        let of_line = moved.iter().filter(|moved| {
            (&moved.case, moved.x, &moved.side, moved.hold) == (&of.case, of.x, &of.side, of.hold)
        });
        for moved in of_line {
            let name = if moved.what.is_empty() {
                &moved.function
            } else {
                &moved.what
            };
            *names.entry(name).or_default() += sign * moved.lines;
        }
    }
    let mut names: Vec<_> = names.into_iter().filter(|name| name.1 > SAME).collect();
    names.sort_by(|a, b| b.1.total_cmp(&a.1));
    names.truncate(NAMES);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(side: &str, x: f64, lines: f64) -> Line {
        Line {
            experiment: OPERATIONS.to_owned(),
            case: "watch, shared".to_owned(),
            x: Some(x),
            side: side.to_owned(),
            hold: Hold::Inode,
            figures: vec![("lines".to_owned(), lines)],
        }
    }

    fn moved(side: &str, what: &str, function: &str, lines: f64) -> Moved {
        Moved {
            case: "watch, shared".to_owned(),
            x: Some(4.0),
            side: side.to_owned(),
            hold: Hold::Inode,
            what: what.to_owned(),
            function: function.to_owned(),
            lines,
            upgrades: 0.0,
        }
    }

    #[test]
    fn what_moves_more_is_told_by_its_names() {
        let lines = [
            line("futex(2)", 2.0, 0.0),
            line("futex(2)", 4.0, 2.0),
            line("page", 2.0, 7.0),
            line("page", 4.0, 6.0),
            line("vma", 4.0, 2.0),
        ];
        let moved = [
            moved("futex(2)", "", "both", 2.0),
            moved("page", "", "both", 2.0),
            moved("page", "", "charge", 1.0),
            moved("page", "i_count", "iput", 2.0),
            moved("page", "i_count", "ihold", 1.0),
        ];
        let [found] = &all(&lines, &moved)[..] else {
            panic!("one operation moves more")
        };
        assert_eq!((found.side, found.x, found.lines), ("page", Some(4.0), 4.0));
        assert_eq!(found.of, [("i_count", 3.0), ("charge", 1.0)]);
    }

    #[test]
    fn who_holds_something_else_is_not_compared() {
        let native = line("futex(2)", 4.0, 0.0);
        let mut ours = line("page", 4.0, 6.0);
        ours.hold = Hold::Nothing;
        assert!(all(&[native, ours], &[]).is_empty());
    }
}
