// SPDX-License-Identifier: GPL-2.0
//! The output: 80 columns wide, with colours on a terminal.

use anstream::println;
use anstyle::{AnsiColor, Style};
use std::fmt;
use std::process::ExitCode;

const TITLE: Style = Style::new().bold();
const OK: Style = AnsiColor::Green.on_default().bold();
const FAILED: Style = AnsiColor::Red.on_default().bold();
const NUMBER: Style = AnsiColor::Cyan.on_default();

/// The output, and how many claims were made in it.
#[derive(Default)]
pub struct Screen {
    checks: u32,
    failed: u32,
}

impl Screen {
    /// The heading of a scene.
    pub fn title(&self, text: &str) {
        println!("\n{TITLE}{text}{TITLE:#}\n{}", "-".repeat(text.len()));
    }

    /// A paragraph, with line breaks where its writer put them.
    pub fn say(&self, text: &str) {
        println!("{text}");
    }

    /// A table. Each row has a name, and a value for each column.
    pub fn table<const N: usize>(&self, rows: &[(&str, [String; N])]) {
        println!();
        for (name, values) in rows {
            let cells: String = values.iter().map(|value| format!("{value:<30}")).collect();
            println!("  {name:<16}{}", cells.trim_end());
        }
        println!();
    }

    /// A claim, and whether it is true.
    pub fn check(&mut self, holds: bool, claim: &str) {
        self.checks += 1;
        if holds {
            println!("  {OK}ok{OK:#}      {claim}");
        } else {
            self.failed += 1;
            println!("  {FAILED}FAILED{FAILED:#}  {claim}");
        }
    }

    /// Something measured.
    pub fn measured(&self, what: &str) {
        println!("  {NUMBER}time{NUMBER:#}    {what}");
    }

    /// Prints the last line. Returns the exit status that goes with it.
    pub fn finish(self) -> ExitCode {
        let Self { checks, failed } = self;
        if failed == 0 && checks > 0 {
            println!("\n{OK}All {checks} claims hold.{OK:#}");
            ExitCode::SUCCESS
        } else {
            println!("\n{FAILED}{failed} of {checks} claims FAILED.{FAILED:#}");
            ExitCode::FAILURE
        }
    }
}

/// A time in nanoseconds, shown in a suitable unit.
pub struct Time(pub i64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0 as f64;
        match self.0 {
            ..10_000 => write!(f, "{ns} ns"),
            10_000..10_000_000 => write!(f, "{:.1} us", ns / 1e3),
            10_000_000.. => write!(f, "{:.1} ms", ns / 1e6),
        }
    }
}
