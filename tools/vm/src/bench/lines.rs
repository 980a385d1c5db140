// SPDX-License-Identifier: GPL-2.0
//! What the plugin of QEMU has counted (`tools/lines/plugin.c`), with the names of what was
//! measured, which the guest tells.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use rfutex_figures::record::{Hold, Line};
use rfutex_figures::spread::{quantile, sorted};
use rustc_demangle::demangle;
use serde::Serialize;

use super::symbols::Symbols;

/// Begins the names of the experiments whose figures are counted by the plugin.
const EXPERIMENTS: &str = "lines";

/// What moves less often than once in so many operations is not told: it belongs to interrupts.
const TOLD: f64 = 0.1;

/// Functions that access one field that others share, beside their arguments, and the field. A
/// line that one of them touched is that of the field.
const FIELDS: &[(&str, &str)] = &[
    ("deactivate_super", "s_active"),
    ("iput", "i_count"),
    ("iput_not_last", "i_count"),
    ("ihold", "i_count"),
    ("fput", "f_ref"),
    ("__fput", "f_ref"),
];

/// The fields, each once.
pub const NAMED: [&str; 3] = ["s_active", "i_count", "f_ref"];

/// The experiment of operations.
pub const OPERATIONS: &str = "lines";

/// A line that moved in an operation, or lines that the same functions moved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moved {
    /// What was measured, as in the experiment's line.
    pub case: String,
    /// How many processors took part.
    pub x: Option<f64>,
    /// Whose operation it was.
    pub side: String,
    /// What the module was loaded with.
    pub hold: Hold,
    /// The field or variable, if its name is known.
    pub what: String,
    /// The function that had it move.
    pub function: String,
    /// How many such lines moved in an operation, on average.
    pub lines: f64,
    /// How often others gave up copies of such a line that was there already.
    pub upgrades: f64,
}

/// What was measured, one by one, in the order in which it was.
#[derive(Debug)]
pub struct Told {
    kernel: Symbols,
    /// The kernel's, and those of the module that is loaded.
    symbols: Vec<Symbols>,
    lines: Vec<(Line, usize)>,
}

impl Told {
    /// Nothing so far.
    pub fn new(kernel: Symbols) -> Self {
        Self {
            symbols: vec![kernel.clone()],
            kernel,
            lines: Vec::new(),
        }
    }

    /// A module has been loaded whose functions these are.
    pub fn loaded(&mut self, functions: Vec<(u64, String)>) {
        let mut symbols = self.kernel.clone();
        symbols.add(functions);
        self.symbols.push(symbols);
    }

    /// Takes a line, if the plugin has its figures.
    pub fn take(&mut self, line: Line) -> Option<Line> {
        if !line.experiment.starts_with(EXPERIMENTS) {
            return Some(line);
        }
        self.lines.push((line, self.symbols.len() - 1));
        None
    }

    /// Puts the figures to the lines.
    pub fn with(self, counted: &Path) -> Result<(Vec<Line>, Vec<Moved>)> {
        let file = File::open(counted).context("what the plugin has counted")?;
        self.with_text(BufReader::new(file).lines().map_while(Result::ok))
    }

    fn with_text(self, text: impl Iterator<Item = String>) -> Result<(Vec<Line>, Vec<Moved>)> {
        let sections = read(text)?;
        ensure!(
            sections.len() == self.lines.len(),
            "the guest tells of {} sections, and the plugin has counted in {}",
            self.lines.len(),
            sections.len()
        );
        let (mut lines, mut moved) = (Vec::new(), Vec::new());
        for ((mut line, symbols), section) in self.lines.into_iter().zip(&sections) {
            let of_line = section.moved(&line, &self.symbols[symbols]);
            line.figures.extend(section.figures());
            if line.experiment == OPERATIONS {
                line.figures.extend(named(&of_line));
                moved.extend(of_line);
            }
            lines.push(line);
        }
        Ok((lines, moved))
    }
}

/// What was counted in one window: accesses, lines that moved, and upgrades.
type Window = [f64; 3];

/// What the figures of a window are called.
const FIGURES: [&str; 3] = ["accesses", "lines", "upgrades"];

/// An instruction at a line.
#[derive(Debug)]
struct At {
    pc: u64,
    vaddr: u64,
    moves: f64,
    upgrades: f64,
}

/// What was counted between one word for a section and the next.
#[derive(Debug, Default)]
struct Section {
    /// By place.
    windows: BTreeMap<u32, Vec<Window>>,
    /// By line.
    at: BTreeMap<u64, Vec<At>>,
}

impl Section {
    /// The median of each place, on average of the places.
    fn figures(&self) -> Vec<(String, f64)> {
        let figure = |(at, name): (usize, &str)| {
            let medians = self.windows.values().map(|windows| {
                let of_all: Vec<_> = windows.iter().map(|window| window[at]).collect();
                quantile(&sorted(&of_all), 0.5)
            });
            let sum: f64 = medians.sum();
            (name.to_owned(), sum / self.windows.len().max(1) as f64)
        };
        FIGURES.into_iter().enumerate().map(figure).collect()
    }

    /// What moved, the most first.
    fn moved(&self, of: &Line, symbols: &Symbols) -> Vec<Moved> {
        let windows: usize = self.windows.values().map(Vec::len).sum();
        let mut sums: HashMap<(String, String), [f64; 2]> = HashMap::new();
        for at in self.at.values() {
            let what = name(at, symbols);
            for one in at {
                let function = format!("{:#}", demangle(symbols.at(one.pc).0));
                let sum = sums.entry((what.clone(), function)).or_default();
                sum[0] += one.moves;
                sum[1] += one.upgrades;
            }
        }
        let mut found: Vec<_> = sums
            .into_iter()
            .map(|((what, function), sum)| Moved {
                case: of.case.clone(),
                x: of.x,
                side: of.side.clone(),
                hold: of.hold,
                what,
                function,
                lines: sum[0] / windows as f64,
                upgrades: sum[1] / windows as f64,
            })
            .filter(|moved| moved.lines + moved.upgrades >= TOLD)
            .collect();
        found.sort_by(|a, b| {
            let by_name = || (&a.what, &a.function).cmp(&(&b.what, &b.function));
            b.lines.total_cmp(&a.lines).then_with(by_name)
        });
        found
    }
}

/// How often the lines moved whose fields are known, on average.
fn named(moved: &[Moved]) -> impl Iterator<Item = (String, f64)> {
    NAMED.into_iter().map(|name| {
        let of_name = moved.iter().filter(|moved| moved.what == name);
        (name.to_owned(), of_name.map(|moved| moved.lines).sum())
    })
}

/// What moved with as many processors as there were, for a person to read.
pub fn listing(moved: &[Moved]) -> String {
    let most = moved.iter().filter_map(|moved| moved.x).fold(0.0, f64::max);
    let of_most = moved.iter().filter(|moved| moved.x == Some(most));
    let mut text = format!("what moved in an operation, with {most} processors\n");
    let mut last = None;
    for moved in of_most {
        let row = (&moved.case, &moved.side, moved.hold);
        if last.replace(row) != Some(row) {
            let (case, side, hold) = (row.0, row.1, row.2.name());
            text +=
                &format!("\n{case}; {side}; hold={hold}\n   lines  upgrades  of what        by\n");
        }
        let Moved {
            lines,
            upgrades,
            what,
            function,
            ..
        } = moved;
        text += &format!("{lines:8.2}  {upgrades:8.2}  {what:13}  {function}\n");
    }
    text
}

/// What the line is that was accessed at these.
fn name(at: &[At], symbols: &Symbols) -> String {
    let functions = || at.iter().map(|at| symbols.at(at.pc).0);
    let field = FIELDS
        .iter()
        .find(|field| functions().any(|function| function == field.0));
    if let Some((_, field)) = field {
        return (*field).to_owned();
    }
    let variable = at.iter().find_map(|at| symbols.variable(at.vaddr));
    variable.unwrap_or_default().to_owned()
}

/// Reads what the plugin has written.
fn read(text: impl Iterator<Item = String>) -> Result<Vec<Section>> {
    let mut sections: Vec<Section> = Vec::new();
    let mut last = String::new();
    for line in text {
        let fields: Vec<_> = line.split(' ').collect();
        let decimal = |at: usize| fields[at].parse::<f64>().context("a number");
        let hex = |at: usize| u64::from_str_radix(fields[at], 16).context("an address");
        let section = sections.last_mut();
        match (fields[0], fields.len(), section) {
            ("S", 1, _) => sections.push(Section::default()),
            ("W", 5, Some(section)) => {
                let place = fields[1].parse()?;
                let window = [decimal(2)?, decimal(3)?, decimal(4)?];
                section.windows.entry(place).or_default().push(window);
            }
            ("M", 7, Some(section)) => section.at.entry(hex(1)?).or_default().push(At {
                pc: hex(2)?,
                vaddr: hex(3)?,
                moves: decimal(4)?,
                upgrades: decimal(5)?,
            }),
            ("E", 1, _) => {}
            _ => bail!("the plugin has written \"{line}\""),
        }
        last = line;
    }
    ensure!(last == "E", "the plugin has not written all");
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "ffffffff81000000 T _text\n\
        ffffffff81000100 T iput\n\
        ffffffff81000200 T other\n\
        ffffffff82000000 D jiffies\n\
        ffffffff82000040 D tasklist_lock\n\
        ffffffff82001000 B _end\n";

    fn told() -> Told {
        let mut told = Told::new(Symbols::parse(MAP));
        let line = Line {
            experiment: "lines".to_owned(),
            case: "wake-none, shared".to_owned(),
            x: Some(2.0),
            side: "page".to_owned(),
            hold: Hold::Inode,
            figures: Vec::new(),
        };
        assert_eq!(told.take(line), None);
        told
    }

    fn with(text: &str) -> Result<(Vec<Line>, Vec<Moved>)> {
        told().with_text(text.lines().map(str::to_owned))
    }

    #[test]
    fn a_figure_is_the_mean_of_the_medians_of_the_places() {
        let text = "S\nW 0 10 1 0\nW 1 10 2 0\nW 0 90 70 5\nW 1 10 2 0\nW 0 10 1 0\nE";
        let (lines, _) = with(text).unwrap();
        let figures: Vec<_> = FIGURES.iter().map(|name| lines[0].figure(name)).collect();
        assert_eq!(figures, [Some(10.0), Some(1.5), Some(0.0)]);
    }

    #[test]
    fn lines_are_named_by_who_touches_them_and_by_where_they_are() {
        // Who moves i_count is another function than the one by which it is known.
        let text = "S\nW 0 10 3 0\nW 0 10 3 0\n\
            M a0 ffffffff81000210 ffff888000001000 2 0 0\n\
            M a0 ffffffff81000110 ffff888000001000 0 0 2\n\
            M b0 ffffffff81000210 ffffffff82000050 4 1 0\n\
            M c0 400000 7ffe1000 0 1 0\nE";
        let (_, moved) = with(text).unwrap();
        let told: Vec<_> = moved
            .iter()
            .map(|moved| (&*moved.what, &*moved.function, moved.lines, moved.upgrades))
            .collect();
        let expected = [
            ("tasklist_lock", "other", 2.0, 0.5),
            ("i_count", "other", 1.0, 0.0),
            ("", "(user space)", 0.0, 0.5),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_moved_is_listed_row_by_row() {
        let text = "S\nW 0 10 3 0\nM a0 ffffffff81000110 ffff888000001000 1 0 0\nE";
        let (lines, moved) = with(text).unwrap();
        assert_eq!(lines[0].figure("i_count"), Some(1.0));
        assert_eq!(lines[0].figure("s_active"), Some(0.0));
        let listing = listing(&moved);
        let row = "wake-none, shared; page; hold=inode\n";
        let (_, rest) = listing.split_once(row).expect(&listing);
        let last: Vec<_> = rest.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(last, ["1.00", "0.00", "i_count", "iput"]);
    }

    #[test]
    fn what_is_cut_short_is_no_result() {
        assert!(with("S\nW 0 10 1 0").is_err());
        assert!(with("S\nW 0 10 1 0\nS\nE").is_err(), "a section too many");
        assert!(with("S\nW 0 10\nE").is_err());
    }

    #[test]
    fn lines_of_other_experiments_have_their_figures() {
        let mut told = told();
        let line = Line {
            experiment: "hash".to_owned(),
            ..told.lines[0].0.clone()
        };
        assert_eq!(told.take(line.clone()), Some(line));
    }
}
