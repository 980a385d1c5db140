// SPDX-License-Identifier: GPL-2.0
//! `list`: a table of who waits, or JSON.

use std::io::Write;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};

use crate::cli::List;
use crate::filter::{Filter, sort_by_age};
use crate::place::show_time;
use crate::record::{Record, What};
use crate::source::Source;
use crate::tables;

/// Runs the command. Returns the exit status.
pub fn run(options: &List, source: &mut impl Source, out: &mut impl Write) -> Result<u8> {
    let filter = Filter::new(&options.filter)?;
    let mut records = source.list()?.records;
    records.retain(|record| filter.wants(record));
    sort_by_age(&mut records);
    if options.json {
        serde_json::to_writer_pretty(&mut *out, &records)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", table(&records))?;
    }
    Ok(0)
}

/// What the columns show. Those that would say the same in each row are left out.
type Column = (&'static str, fn(&Record) -> String, bool);

const COLUMNS: [Column; 9] = [
    ("AGE", |r| show_time(r.age), true),
    ("PID", |r| number(r.process), true),
    ("TID", |r| tid(r), true),
    ("COMMAND", |r| r.comm.clone(), false),
    ("KIND", |r| r.kind.to_string(), false),
    ("WORD", |r| r.word(), false),
    ("WAITS WHILE", |r| value(r), false),
    (
        "OWNER",
        |r| r.owner.map_or_else(String::new, |o| o.to_string()),
        false,
    ),
    ("TABLE", |r| r.table.clone(), false),
];

/// The title of a column that is shown only if there is something in it.
fn is_optional(title: &str) -> bool {
    matches!(title, "OWNER" | "TABLE")
}

fn number(number: Option<u32>) -> String {
    number.map_or_else(|| "?".to_owned(), |number| number.to_string())
}

fn tid(record: &Record) -> String {
    match record.what {
        What::Thread => number(record.thread),
        // It is no thread that waits.
        what => what.to_string(),
    }
}

/// The value that the word had, with the size in bits.
fn value(record: &Record) -> String {
    let value = record.val.map_or("?".to_owned(), |val| format!("{val:#x}"));
    format!("{value} ({} bits)", 8 * record.size)
}

/// The table.
fn table(records: &[Record]) -> String {
    let says = |column: &&Column| {
        let (title, show, _) = column;
        let usual = if *title == "TABLE" {
            tables::DEFAULT
        } else {
            ""
        };
        !is_optional(title) || records.iter().any(|record| show(record) != usual)
    };
    let columns: Vec<_> = COLUMNS.iter().filter(says).collect();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(columns.iter().map(|(title, ..)| *title));
    for record in records {
        table.add_row(columns.iter().map(|(_, show, _)| clean(&show(record))));
    }
    for (i, (_, _, right)) in columns.iter().enumerate() {
        if let Some(column) = table.column_mut(i) {
            column.set_padding((0, 2));
            if *right {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt() + "\n"
}

/// `text` without what could move the terminal's cursor: a process names itself as it likes.
pub fn clean(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Options;
    use crate::record::Owner;
    use crate::record::tests::{in_memory, record};
    use crate::source::tests::MadeUpSource;
    use std::time::Duration;

    fn shown(options: &List, records: Vec<Record>) -> String {
        let mut out = Vec::new();
        run(options, &mut MadeUpSource(records), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_oldest_stand_above() {
        let old = Record {
            age: Duration::from_secs(75),
            thread: Some(200),
            process: Some(200),
            comm: "shell\u{1b}[2J".to_owned(),
            ..in_memory()
        };
        let text = shown(&List::default(), vec![record(), old]);
        assert_eq!(
            text,
            "  \
  AGE  PID  TID  COMMAND    KIND   WORD                WAITS WHILE
1m15s  200  200  shell\u{fffd}[2J  mm     0x7f0000000010      0x0 (32 bits)
 1.0s  100  101  worker     inode  /dev/shm/word:0x10  0x0 (32 bits)
"
        );
    }

    #[test]
    fn owners_and_tables_have_columns_if_there_are_any() {
        let owner = Some(Owner {
            thread: true,
            number: Some(102),
        });
        let records = vec![
            Record { owner, ..record() },
            Record {
                table: "own-1".to_owned(),
                what: What::Watch,
                val: None,
                ..record()
            },
        ];
        let text = shown(&List::default(), records);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with("OWNER       TABLE"), "{text}");
        assert!(lines[1].ends_with("thread 102  default"), "{text}");
        assert!(
            lines[2].contains(" watch ") && lines[2].contains("? (32 bits)"),
            "{text}"
        );
    }

    #[test]
    fn json_has_every_field() {
        let json = List {
            json: true,
            ..List::default()
        };
        let value: serde_json::Value = serde_json::from_str(&shown(&json, vec![record()])).unwrap();
        let expected = serde_json::json!([{
            "what": "thread", "thread": 101, "process": 100, "comm": "worker",
            "table": "default", "kind": "inode", "object": 7,
            "file": {"dev": [0, 25], "ino": 17}, "position": 16, "addr": 0x7f00_0000_0010_u64,
            "size": 4, "val": 0, "mask": u64::MAX, "age_ns": 1_000_000_000, "owner": null,
            "cookie": null, "path": "/dev/shm/word",
        }]);
        assert_eq!(value, expected);
    }

    #[test]
    fn filters_leave_out() {
        let options = List {
            filter: Options {
                older_than: Some(Duration::from_secs(2)),
                ..Options::default()
            },
            json: true,
        };
        assert_eq!(shown(&options, vec![record()]), "[]\n");
    }
}
