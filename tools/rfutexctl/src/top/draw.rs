// SPDX-License-Identifier: GPL-2.0
//! Drawing the screen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row, Sparkline, Table, TableState};

use super::rows::{self, Order};
use super::state::{State, View};
use crate::list::clean;
use crate::place::show_time;
use crate::record::{What, WordKey};

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Draws all of it.
pub fn draw(state: &mut State, frame: &mut Frame) {
    let note = state
        .no_wakes()
        .map(|why| format!("no wakes a second: {why}"));
    let [title, history, tabs, body, note_area, last] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(note.is_some().into()),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(Line::styled(totals(state), BOLD)), title);
    draw_history(state, frame, history);
    frame.render_widget(Paragraph::new(choices(state)), tabs);
    draw_table(state, frame, body);
    frame.render_widget(Paragraph::new(note.unwrap_or_default()), note_area);
    frame.render_widget(Paragraph::new(keys(state)), last);
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn totals(state: &State) -> String {
    let all: Vec<_> = state.all().iter().collect();
    let none = rows::Wakes::new();
    let words = rows::words(&all, state.wakes().unwrap_or(&none), Order::Waiters).len();
    let processes = rows::processes(&all, Order::Waiters).len();
    let mut text = format!(
        "rfutexctl top: {} on {} in {}",
        count(all.len(), "waiter", "waiters"),
        count(words, "word", "words"),
        count(processes, "process", "processes")
    );
    if let Some(wakes) = state.wakes() {
        // The sum of none is -0.0.
        text += &format!(", {} wakes/s", rate(wakes.values().sum::<f64>().abs()));
    }
    text
}

fn rate(rate: f64) -> String {
    if rate < 10.0 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}

fn draw_history(state: &State, frame: &mut Frame, area: Rect) {
    let max = state.history().max().unwrap_or(0);
    let label = format!("waiters, at most {max}: ");
    let width = u16::try_from(label.len()).unwrap_or(u16::MAX);
    let [left, right] =
        Layout::horizontal([Constraint::Length(width), Constraint::Fill(1)]).areas(area);
    let shown = state.history().rev().take(right.width.into());
    let mut data: Vec<_> = shown.collect();
    data.reverse();
    frame.render_widget(Paragraph::new(label), left);
    frame.render_widget(Sparkline::default().data(data), right);
}

fn choices(state: &State) -> String {
    let mark = |view, name| {
        if state.view == view && state.open.is_none() {
            format!("[{name}]")
        } else {
            format!(" {name} ")
        }
    };
    let mut text = [
        mark(View::Words, "words"),
        mark(View::Processes, "processes"),
        mark(View::Oldest, "oldest"),
    ]
    .join(" ");
    if state.view != View::Oldest && state.open.is_none() {
        text += &format!("  by {}", state.order.name());
    }
    if state.searching {
        text += &format!("  search: {}_", state.search);
    } else if !state.search.is_empty() {
        text += &format!("  search: {}", state.search);
    }
    clean(&text)
}

/// The keys that do something now.
fn keys(state: &State) -> &'static str {
    if state.searching {
        "Enter: search  Esc: show all"
    } else if state.open.is_some() {
        "Esc: back  q: quit"
    } else {
        "w p o: tables  s: sort  /: search  Enter: open  q: quit"
    }
}

/// A column: its title, its width, and whether it stands on the right.
type Column = (&'static str, Constraint, bool);

const AGE: Column = ("AGE", Constraint::Length(7), true);
const OLDEST: Column = ("OLDEST", Constraint::Length(7), true);
const PID: Column = ("PID", Constraint::Length(8), true);
const TID: Column = ("TID", Constraint::Length(8), true);
const COMMAND: Column = ("COMMAND", Constraint::Length(15), false);
const KIND: Column = ("KIND", Constraint::Length(7), false);
const WORD: Column = ("WORD", Constraint::Fill(1), false);
const WAITERS: Column = ("WAITERS", Constraint::Length(7), true);
const WORDS: Column = ("WORDS", Constraint::Length(7), true);
const WAKES: Column = ("WAKES/S", Constraint::Length(7), true);
const MASK: Column = ("MASK", Constraint::Length(18), false);
const VALUE: Column = ("WHILE", Constraint::Length(12), false);
const OWNER: Column = ("OWNER", Constraint::Fill(1), false);

fn draw_table(state: &mut State, frame: &mut Frame, area: Rect) {
    let (area, columns, rows) = match &state.open {
        Some(key) => {
            let [head, area] =
                Layout::vertical([Constraint::Length(2), Constraint::Fill(1)]).areas(area);
            frame.render_widget(Paragraph::new(opened(state, key)), head);
            let columns = vec![AGE, PID, TID, COMMAND, VALUE, MASK, OWNER];
            (area, columns, at_open(state))
        }
        None => {
            let (columns, rows) = match state.view {
                View::Words => words(state),
                View::Processes => processes(state),
                View::Oldest => oldest(state),
            };
            (area, columns, rows)
        }
    };
    let cell = |(text, column): (String, &Column)| {
        let line = Line::raw(clean(&text));
        Cell::new(if column.2 { line.right_aligned() } else { line })
    };
    let rows = rows
        .into_iter()
        .map(|row| Row::new(row.into_iter().zip(&columns).map(cell)));
    let titles = columns
        .iter()
        .map(|column| cell((column.0.to_owned(), column)));
    let table = Table::new(rows, columns.iter().map(|column| column.1))
        .header(Row::new(titles).style(BOLD))
        .row_highlight_style(CHOSEN);
    let mut chosen = TableState::default().with_selected(state.selected);
    frame.render_stateful_widget(table, area, &mut chosen);
}

fn words(state: &State) -> (Vec<Column>, Vec<Vec<String>>) {
    let with_wakes = state.wakes().is_some();
    let mut columns = vec![WAITERS, OLDEST, KIND, WORD];
    if with_wakes {
        columns.insert(1, WAKES);
    }
    let row = |row: rows::WordRow| {
        let mut cells = vec![
            row.waiters.to_string(),
            show_time(row.oldest),
            row.key.kind.to_string(),
            row.name,
        ];
        if with_wakes {
            cells.insert(1, rate(row.wakes));
        }
        cells
    };
    (columns, state.words().into_iter().map(row).collect())
}

fn number(number: Option<u32>) -> String {
    number.map_or_else(|| "?".to_owned(), |number| number.to_string())
}

fn processes(state: &State) -> (Vec<Column>, Vec<Vec<String>>) {
    let row = |row: rows::ProcessRow| {
        vec![
            row.waiters.to_string(),
            row.words.to_string(),
            show_time(row.oldest),
            number(row.process),
            row.comm,
        ]
    };
    let rows = state.processes().into_iter().map(row).collect();
    (vec![WAITERS, WORDS, OLDEST, PID, COMMAND], rows)
}

/// The thread, or what waits instead of one.
fn tid(record: &crate::record::Record) -> String {
    match record.what {
        What::Thread => number(record.thread),
        What::Watch | What::RepeatedWatch => "watch".to_owned(),
        What::Request => "request".to_owned(),
        What::Unknown => "?".to_owned(),
    }
}

fn oldest(state: &State) -> (Vec<Column>, Vec<Vec<String>>) {
    let row = |record: &crate::record::Record| {
        vec![
            show_time(record.age),
            number(record.process),
            tid(record),
            record.comm.clone(),
            record.kind.to_string(),
            record.word(),
        ]
    };
    let rows = state.waiters().into_iter().map(row).collect();
    (vec![AGE, PID, TID, COMMAND, KIND, WORD], rows)
}

fn opened(state: &State, key: &WordKey) -> String {
    let waiters = state.at_open();
    let name = waiters.first().map(|record| rows::name(record));
    let file = waiters.first().and_then(|record| record.file);
    let file = file.map_or_else(String::new, |file| format!(", {file}"));
    let name = name.unwrap_or_else(|| "nobody waits there any more".to_owned());
    let what = format!(
        "{} word in the table {}: object {:x}{file}",
        key.kind, key.table, key.object
    );
    format!("{}\n{}", clean(&name), clean(&what))
}

fn at_open(state: &State) -> Vec<Vec<String>> {
    let row = |record: &crate::record::Record| {
        vec![
            show_time(record.age),
            number(record.process),
            tid(record),
            record.comm.clone(),
            record.val.map_or("?".to_owned(), |val| format!("{val:#x}")),
            format!("{:#x}", record.mask),
            record.owner.map_or_else(String::new, |o| o.to_string()),
        ]
    };
    state.at_open().into_iter().map(row).collect()
}

#[cfg(test)]
mod tests;
