// SPDX-License-Identifier: GPL-2.0
//! The results as a person reads them.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use rfutex_figures::record::Line;

use super::experiments::{self, Claim};
use super::more::{self, More};
use super::results::{Results, Row};

/// From this load on, others take the processors away from what is timed.
const BUSY: f64 = 2.0;

/// A table of these columns, all but the first `left` of numbers.
pub fn new(head: &[&str], left: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(head);
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if place >= left {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn number(figure: Option<f64>) -> String {
    figure.map_or_else(String::new, |figure| format!("{figure:.0}"))
}

fn ratio(figure: Option<f64>) -> String {
    figure.map_or_else(String::new, |figure| format!("{figure:.3}"))
}

/// What is to be below the target, and the target: a ratio, or how many instructions more.
fn judged(row: &Row) -> [String; 2] {
    let added = |added: f64| {
        let sign = if added < 0.0 { "" } else { "+" };
        format!("{sign}{}", figure(added))
    };
    match (row.insn_added_target, row.rfutex_insn, row.native_insn) {
        (Some(most), Some(ours), Some(native)) => [added(ours - native), added(most)],
        _ => [
            ratio(row.insn_ratio),
            row.insn_ratio_target
                .map_or_else(String::new, |most| format!("{most:.2}")),
        ],
    }
}

fn spread(row: &Row) -> String {
    match (row.ns_ratio_low, row.ns_ratio_high) {
        (Some(low), Some(high)) => format!("{low:.2}-{high:.2}"),
        _ => String::new(),
    }
}

/// The operations, and which met their targets.
fn rows(results: &Results) -> Table {
    let head = [
        "operation",
        "memory",
        "resolver",
        "hold",
        "contender insn",
        "rfutex insn",
        "ratio",
        "at most",
        "met",
        "contender ns",
        "rfutex ns",
        "ratio",
        "half within",
    ];
    let mut table = new(&head, 4);
    for row in &results.rows {
        let [name, memory, resolver, hold] = row.key();
        let [judged, most] = judged(row);
        table.add_row([
            name.to_owned(),
            memory.to_owned(),
            resolver.to_owned(),
            hold.to_owned(),
            number(row.native_insn),
            number(row.rfutex_insn),
            judged,
            most,
            row.target_met
                .map_or("", |met| if met { "yes" } else { "NO" })
                .to_owned(),
            number(row.native_ns),
            number(row.rfutex_ns),
            ratio(row.ns_ratio),
            spread(row),
        ]);
    }
    table
}

/// What was compared with something else than futex(2), and with what.
fn contenders(results: &Results) -> String {
    let mut lines = Vec::new();
    for row in &results.rows {
        let line = format!("{}: compared with {}\n", row.name, row.contender);
        if row.contender != "futex(2)" && !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.concat()
}

/// The calls that say whether the counting is right.
fn calibration(results: &Results) -> String {
    let calls: Vec<_> = results
        .calibration
        .iter()
        .map(|(name, insn)| format!("{name} {insn:.0}"))
        .collect();
    let helpers = if results.inline_helpers {
        "inlined"
    } else {
        "not inlined"
    };
    format!(
        "instructions of calls that are known: {}; the kernel's C helpers are {helpers}",
        calls.join(", ")
    )
}

/// A figure with as many digits as say something.
fn figure(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".to_owned(),
        size if size < 10.0 => format!("{figure:.2}"),
        size if size < 100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

/// The lines of one experiment.
fn experiment(lines: &[&Line]) -> Table {
    let mut head = vec!["case", "by", "hold", ""];
    for (name, _) in lines.iter().flat_map(|line| &line.figures) {
        if !head.contains(&name.as_str()) {
            head.push(name);
        }
    }
    let names = head.split_off(4);
    head.extend(&names);
    let mut table = new(&head, 3);
    for line in lines {
        let mut row = vec![
            line.case.clone(),
            line.side.clone(),
            line.hold.name().to_owned(),
            line.x.map_or_else(String::new, |x| x.to_string()),
        ];
        let cells = names
            .iter()
            .map(|name| line.figure(name).map_or_else(String::new, figure));
        row.extend(cells);
        table.add_row(row);
    }
    table
}

/// What was to be shown, and was or was not.
fn claims(claims: &[Claim]) -> Table {
    let mut table = new(&["experiment", "hold", "claim", "at", "holds", "figure"], 5);
    for claim in claims {
        table.add_row([
            claim.experiment.clone(),
            claim.hold.name().to_owned(),
            claim.claim.clone(),
            claim.at.clone().unwrap_or_default(),
            if claim.holds { "yes" } else { "NO" }.to_owned(),
            figure(claim.figure),
        ]);
    }
    table
}

/// A function's name, without what its parameters of types are.
fn without_types(name: &str) -> &str {
    name.split("::<").next().unwrap_or(name)
}

/// What moves more lines than futex(2) does, and of what.
fn more(found: &[More]) -> Table {
    let head = ["case", "by", "hold", "of what", "", "lines more"];
    let mut table = new(&head, 4);
    for more in found {
        let of = more.of.iter();
        let of: Vec<_> = of
            .map(|(name, lines)| format!("{} {}", without_types(name), figure(*lines)))
            .collect();
        table.add_row([
            more.case.to_owned(),
            more.side.to_owned(),
            more.hold.name().to_owned(),
            of.join(", "),
            more.x.map_or_else(String::new, |x| x.to_string()),
            figure(more.lines),
        ]);
    }
    table
}

/// All of it.
pub struct Printed<'a>(pub &'a Results);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results = self.0;
        if !results.rows.is_empty() {
            writeln!(f, "{}", calibration(results))?;
            writeln!(f, "{}", rows(results).trim_fmt())?;
            f.write_str(&contenders(results))?;
            let met = |wanted| {
                let rows = results.rows.iter();
                rows.filter(|row| row.target_met == Some(wanted)).count()
            };
            writeln!(f, "targets: {} met, {} not", met(true), met(false))?;
        }
        let mut names: Vec<&str> = Vec::new();
        for line in &results.experiments {
            if !names.contains(&line.experiment.as_str()) {
                names.push(&line.experiment);
            }
        }
        for name in names {
            let lines: Vec<_> = results
                .experiments
                .iter()
                .filter(|line| line.experiment == name)
                .collect();
            writeln!(f, "\n{name}: {}", experiments::title(name))?;
            writeln!(f, "{}", experiment(&lines).trim_fmt())?;
        }
        let found = more::all(&results.experiments, &results.moved);
        if !found.is_empty() {
            let what = "with the most processors, these move more than futex(2)";
            writeln!(f, "\nlines: {what}\n{}", more(&found).trim_fmt())?;
        }
        if let Some(load) = results.load.filter(|&load| load > BUSY) {
            let what = "judge nothing by the times; no claim rests on them";
            writeln!(f, "\nThe host was busy (load {load}): {what}.")?;
        }
        if !results.claims.is_empty() {
            writeln!(f, "\n{}", claims(&results.claims).trim_fmt())?;
        }
        f.write_str(&results.deaths)?;
        Ok(())
    }
}
