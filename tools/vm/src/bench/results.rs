// SPDX-License-Identifier: GPL-2.0
//! Everything that was measured, as `build/bench.json` has it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rfutex_figures::record::{self, Hold, Line, Record, Unit};
use rfutex_figures::spread::Spread;
use serde::Serialize;

use super::experiments::{self, Claim};
use super::lines::Moved;
use super::targets::{self, Target};

/// All of it.
#[derive(Debug, Default, Serialize)]
pub struct Results {
    /// The module's source: `git describe`.
    pub revision: String,
    /// The kernel's release.
    pub kernel: String,
    /// Whether the C helpers are inlined in Rust code where instructions are
    /// counted.
    pub inline_helpers: bool,
    /// QEMU's version.
    pub qemu: String,
    /// The load of the host as time began to be taken, the greatest.
    pub load: Option<f64>,
    /// Instructions of calls that are known.
    pub calibration: BTreeMap<String, f64>,
    /// Operation by operation.
    pub rows: Vec<Row>,
    /// The experiments, in the order in which they were made.
    pub experiments: Vec<Line>,
    /// What they are to show, and whether they do.
    pub claims: Vec<Claim>,
    /// Of the experiment `lines`: which lines moved, and who had them move.
    pub moved: Vec<Moved>,
    /// The boots that died before anything of ours ran, and were made once more: a
    /// line each.
    pub deaths: String,
}

/// One operation. What was not measured is not there.
#[derive(Debug, Default, Serialize)]
pub struct Row {
    /// The operation.
    pub name: String,
    /// Of its words.
    pub memory: String,
    /// What rfutex is compared with.
    pub contender: String,
    /// Of rfutex.
    pub resolver: String,
    /// What the module was loaded with.
    pub hold: Hold,
    /// Instructions of the contender.
    pub native_insn: Option<f64>,
    /// Instructions of rfutex.
    pub rfutex_insn: Option<f64>,
    /// The second through the first.
    pub insn_ratio: Option<f64>,
    /// What that is to be at most.
    pub insn_ratio_target: Option<f64>,
    /// How many instructions more than the contender rfutex is to take at most.
    pub insn_added_target: Option<f64>,
    /// Whether the target, of whichever kind, is met.
    pub target_met: Option<bool>,
    /// Nanoseconds of the contender, the median.
    pub native_ns: Option<f64>,
    /// Nanoseconds of rfutex, the median.
    pub rfutex_ns: Option<f64>,
    /// The median of the ratios of neighbouring batches.
    pub ns_ratio: Option<f64>,
    /// A quarter of these is below.
    pub ns_ratio_low: Option<f64>,
    /// A quarter of these is above.
    pub ns_ratio_high: Option<f64>,
}

impl Row {
    fn add(&mut self, record: &record::Row) {
        let Spread { median, low, high } = record.ratio;
        let [native, ours] = [record.native.median, record.ours.median];
        match record.unit {
            Unit::Instructions => {
                let ratio = ours / native;
                self.native_insn = Some(native);
                self.rfutex_insn = Some(ours);
                self.insn_ratio = Some(ratio);
                match targets::of(self.key()) {
                    Some(Target::Ratio(most)) => {
                        self.insn_ratio_target = Some(most);
                        self.target_met = Some(ratio <= most);
                    }
                    Some(Target::Added(most)) => {
                        self.insn_added_target = Some(most);
                        self.target_met = Some(ours - native <= most);
                    }
                    None => {}
                }
            }
            Unit::Nanoseconds => {
                self.native_ns = Some(native);
                self.rfutex_ns = Some(ours);
                self.ns_ratio = Some(median);
                self.ns_ratio_low = Some(low);
                self.ns_ratio_high = Some(high);
            }
        }
    }

    /// What it is called in a table.
    pub fn key(&self) -> [&str; 4] {
        [&self.name, &self.memory, &self.resolver, self.hold.name()]
    }
}

impl Results {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.experiments.is_empty()
    }

    /// Takes in what the guest tells, with this build of the module loaded.
    pub fn add(&mut self, record: Record, module: &str) {
        match record {
            Record::Calibration { name, insn } => {
                self.calibration.insert(name, insn);
            }
            Record::Row(row) => self.row(&row).add(&row),
            Record::Line(mut line) => {
                if module == "lab" && ["hash", "lines"].contains(&line.experiment.as_str()) {
                    line.experiment += ", lab module";
                }
                self.experiments.push(line);
                self.claims = experiments::claims(&self.experiments);
            }
            Record::Symbols(_) | Record::Repeating { .. } => {}
        }
    }

    fn row(&mut self, record: &record::Row) -> &mut Row {
        let record::Row {
            name,
            memory,
            contender,
            resolver,
            hold,
            ..
        } = record;
        let key = [name, memory, resolver, hold.name()];
        let place = self.rows.iter().position(|row| row.key() == key);
        let place = place.unwrap_or_else(|| {
            self.rows.push(Row {
                name: name.clone(),
                memory: memory.clone(),
                contender: contender.clone(),
                resolver: resolver.clone(),
                hold: *hold,
                ..Row::default()
            });
            self.rows.len() - 1
        });
        &mut self.rows[place]
    }

    /// Writes it all to a file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(median: f64) -> Spread {
        Spread {
            median,
            low: median,
            high: median,
        }
    }

    fn record(unit: Unit, native: f64, ours: f64) -> Record {
        Record::Row(record::Row {
            name: "wake-none".to_owned(),
            memory: "private".to_owned(),
            contender: "futex(2)".to_owned(),
            resolver: "page".to_owned(),
            hold: Hold::Inode,
            unit,
            native: spread(native),
            ours: spread(ours),
            ratio: spread(ours / native),
        })
    }

    #[test]
    fn both_ways_of_counting_are_in_one_row() {
        let mut results = Results::default();
        results.add(record(Unit::Instructions, 100.0, 65.0), "module");
        results.add(record(Unit::Nanoseconds, 50.0, 60.0), "module");
        let [row] = &results.rows[..] else {
            panic!("{:?}", results.rows)
        };
        assert_eq!(row.insn_ratio, Some(0.65));
        assert_eq!(row.target_met, Some(true), "at most is enough");
        assert_eq!(row.ns_ratio, Some(1.2));
    }

    #[test]
    fn a_target_that_is_a_difference() {
        let of = |ours| {
            let mut record = record(Unit::Instructions, 1000.0, ours);
            if let Record::Row(row) = &mut record {
                row.name = "wait-owner".to_owned();
            }
            let mut results = Results::default();
            results.add(record, "module");
            let row = results.rows.remove(0);
            assert_eq!(row.insn_ratio_target, None);
            let most = row.insn_added_target.expect("a target");
            (most, row.target_met)
        };
        let (most, _) = of(1000.0);
        assert_eq!(of(1000.0 + most), (most, Some(true)));
        assert_eq!(of(1001.0 + most), (most, Some(false)));
    }

    #[test]
    fn a_missed_target() {
        let mut results = Results::default();
        results.add(record(Unit::Instructions, 100.0, 65.1), "module");
        assert_eq!(results.rows[0].target_met, Some(false));
    }
}
