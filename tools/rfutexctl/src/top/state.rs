// SPDX-License-Identifier: GPL-2.0
//! What the screen shows, and what keys change of it.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::rows::{self, Order, ProcessRow, Wakes, WordRow};
use crate::filter::sort_by_age;
use crate::record::{Record, WordKey};

/// How many samples the history has.
const HISTORY: usize = 600;

/// Which table is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A row for each word.
    Words,
    /// A row for each process.
    Processes,
    /// A row for each waiter, the oldest first.
    Oldest,
}

/// What a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The screen is drawn anew.
    GoOn,
    /// The program ends.
    End,
}

/// What the screen shows.
#[derive(Debug)]
pub struct State {
    records: Vec<Record>,
    history: VecDeque<u64>,
    /// Wakes a second by word; or why they are not known.
    wakes: Result<Wakes, String>,
    /// The table.
    pub view: View,
    /// The order of its rows.
    pub order: Order,
    /// The row that is chosen.
    pub selected: usize,
    /// What names have to contain.
    pub search: String,
    /// Whether keys are letters of [`search`](Self::search).
    pub searching: bool,
    /// The word whose waiters are shown instead of a table.
    pub open: Option<WordKey>,
}

impl State {
    /// With these waiters.
    pub fn new(records: Vec<Record>) -> Self {
        let mut state = Self {
            records: Vec::new(),
            history: VecDeque::new(),
            wakes: Ok(Wakes::new()),
            view: View::Words,
            order: Order::Waiters,
            selected: 0,
            search: String::new(),
            searching: false,
            open: None,
        };
        state.update(records);
        state
    }

    /// Takes new waiters.
    pub fn update(&mut self, mut records: Vec<Record>) {
        sort_by_age(&mut records);
        self.history.push_back(records.len() as u64);
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        self.records = records;
        self.keep_selected();
    }

    /// Takes the wakes a second, or why they are not known.
    pub fn set_rates(&mut self, wakes: Result<Wakes, String>) {
        self.wakes = wakes;
    }

    /// The wakes a second, if they are known.
    pub fn wakes(&self) -> Option<&Wakes> {
        self.wakes.as_ref().ok()
    }

    /// Why the wakes a second are not known.
    pub fn no_wakes(&self) -> Option<&str> {
        self.wakes.as_ref().err().map(String::as_str)
    }

    /// How many waited, up to now.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.history.iter().copied()
    }

    /// All waiters.
    pub fn all(&self) -> &[Record] {
        &self.records
    }

    /// The waiters that the search is for, the oldest first.
    pub fn waiters(&self) -> Vec<&Record> {
        let found = |record: &&Record| {
            self.search.is_empty()
                || rows::name(record).contains(&self.search)
                || record.comm.contains(&self.search)
                || record.process.is_some_and(|p| p.to_string() == self.search)
        };
        self.records.iter().filter(found).collect()
    }

    /// The rows of the words.
    pub fn words(&self) -> Vec<WordRow> {
        let none = Wakes::new();
        rows::words(&self.waiters(), self.wakes().unwrap_or(&none), self.order)
    }

    /// The rows of the processes.
    pub fn processes(&self) -> Vec<ProcessRow> {
        rows::processes(&self.waiters(), self.order)
    }

    /// Those who wait on the word that is open.
    pub fn at_open(&self) -> Vec<&Record> {
        let on = |record: &&Record| Some(record.key()) == self.open;
        self.records.iter().filter(on).collect()
    }

    fn nr_rows(&self) -> usize {
        match self.view {
            _ if self.open.is_some() => self.at_open().len(),
            View::Words => self.words().len(),
            View::Processes => self.processes().len(),
            View::Oldest => self.waiters().len(),
        }
    }

    fn keep_selected(&mut self) {
        self.selected = self.selected.min(self.nr_rows().saturating_sub(1));
    }

    /// What is done when `key` is pressed.
    pub fn key(&mut self, key: KeyEvent) -> Flow {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Flow::End,
            _ if self.searching => self.search_key(key.code),
            KeyCode::Char('q') => return Flow::End,
            KeyCode::Char('w') => self.show(View::Words),
            KeyCode::Char('p') => self.show(View::Processes),
            KeyCode::Char('o') => self.show(View::Oldest),
            KeyCode::Char('s') => self.next_order(),
            KeyCode::Char('/') => {
                self.search.clear();
                self.searching = true;
            }
            KeyCode::Down | KeyCode::Char('j') => self.selected += 1,
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::PageDown => self.selected += 10,
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(10),
            KeyCode::Home => self.selected = 0,
            KeyCode::End => self.selected = usize::MAX,
            KeyCode::Enter => self.enter(),
            KeyCode::Esc if self.open.is_some() => self.open = None,
            KeyCode::Esc => self.search.clear(),
            _ => (),
        }
        self.keep_selected();
        Flow::GoOn
    }

    fn search_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char(c) => self.search.push(c),
            KeyCode::Backspace => drop(self.search.pop()),
            KeyCode::Enter => self.searching = false,
            KeyCode::Esc => {
                self.search.clear();
                self.searching = false;
            }
            _ => (),
        }
    }

    fn next_order(&mut self) {
        self.order = self.order.next();
        // Without a column there is nothing to sort by.
        if self.order == Order::Wakes && (self.wakes.is_err() || self.view != View::Words) {
            self.order = self.order.next();
        }
    }

    fn show(&mut self, view: View) {
        self.view = view;
        self.open = None;
        self.selected = 0;
        if self.order == Order::Wakes {
            self.order = Order::Waiters;
        }
    }

    /// Opens the word of the chosen row, or shows what the chosen process waits for.
    fn enter(&mut self) {
        if self.open.is_some() {
            return;
        }
        match self.view {
            View::Words => {
                let rows = self.words();
                self.open = rows.get(self.selected).map(|row| row.key.clone());
            }
            View::Oldest => {
                let waiters = self.waiters();
                self.open = waiters.get(self.selected).map(|record| record.key());
            }
            View::Processes => {
                let rows = self.processes();
                if let Some(process) = rows.get(self.selected).and_then(|row| row.process) {
                    self.search = process.to_string();
                    self.show(View::Oldest);
                }
            }
        }
        self.selected = 0;
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::record::tests::{in_memory, record};
    use std::time::Duration;

    pub fn press(state: &mut State, keys: &str) -> Flow {
        let mut flow = Flow::GoOn;
        for c in keys.chars() {
            let code = match c {
                '\n' => KeyCode::Enter,
                '\u{1b}' => KeyCode::Esc,
                '\u{8}' => KeyCode::Backspace,
                c => KeyCode::Char(c),
            };
            flow = state.key(KeyEvent::new(code, KeyModifiers::NONE));
        }
        flow
    }

    /// Two threads on a word of a file, one on a word of memory.
    pub fn records() -> Vec<Record> {
        let second = Record {
            thread: Some(102),
            age: Duration::from_millis(400),
            ..record()
        };
        let memory = Record {
            process: Some(200),
            thread: Some(200),
            comm: "renderer".to_owned(),
            age: Duration::from_secs(3700),
            ..in_memory()
        };
        vec![record(), second, memory]
    }

    #[test]
    fn tables_are_chosen() {
        let mut state = State::new(records());
        assert_eq!(state.view, View::Words);
        press(&mut state, "p");
        assert_eq!(state.view, View::Processes);
        press(&mut state, "o");
        assert_eq!(state.view, View::Oldest);
        press(&mut state, "w");
        assert_eq!(state.view, View::Words);
    }

    #[test]
    fn q_and_control_c_end_it() {
        let mut state = State::new(records());
        assert_eq!(press(&mut state, "q"), Flow::End);
        press(&mut state, "/");
        assert_eq!(press(&mut state, "q"), Flow::GoOn, "a letter of the search");
        let c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(state.key(c), Flow::End);
    }

    #[test]
    fn the_choice_stays_within_the_rows() {
        let mut state = State::new(records());
        press(&mut state, "jjj");
        assert_eq!(state.selected, 1);
        state.update(records().split_off(2));
        assert_eq!(state.selected, 0);
        press(&mut state, "k");
        assert_eq!(state.selected, 0);
        state.update(Vec::new());
        press(&mut state, "j\n");
        assert_eq!((state.selected, &state.open), (0, &None));
    }

    #[test]
    fn a_search_finds_words_and_names() {
        let mut state = State::new(records());
        press(&mut state, "/shmx\u{8}\n");
        assert_eq!(state.waiters().len(), 2);
        press(&mut state, "/rend\n");
        assert_eq!(state.waiters().len(), 1);
        press(&mut state, "/200\n");
        assert_eq!(state.waiters().len(), 1);
        press(&mut state, "\u{1b}");
        assert_eq!(state.waiters().len(), 3);
    }

    #[test]
    fn a_word_is_opened_and_closed() {
        let mut state = State::new(records());
        press(&mut state, "\n");
        assert_eq!(state.open, Some(record().key()));
        assert_eq!(state.at_open().len(), 2);
        press(&mut state, "\u{1b}");
        assert_eq!(state.open, None);
        press(&mut state, "pj\n");
        assert_eq!((state.view, state.search.as_str()), (View::Oldest, "200"));
        press(&mut state, "\n");
        assert_eq!(state.at_open().len(), 1);
    }

    #[test]
    fn orders_without_a_column_are_left_out() {
        let mut state = State::new(records());
        press(&mut state, "ss");
        assert_eq!(state.order, Order::Wakes);
        state.set_rates(Err("no tracefs".to_owned()));
        press(&mut state, "wss");
        assert_eq!(state.order, Order::Name);
    }

    #[test]
    fn the_history_has_an_end() {
        let mut state = State::new(Vec::new());
        for _ in 0..2 * HISTORY {
            state.update(records());
        }
        assert_eq!(state.history().count(), HISTORY);
    }
}
