// SPDX-License-Identifier: GPL-2.0
//! Whole screens, as a terminal of a given size shows them.

use super::*;
use crate::record::Record;
use crate::record::tests::record;
use crate::top::rows::Wakes;
use crate::top::state::tests::{press, records};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

/// The lines of the screen, without the blanks at their ends.
fn screen(state: &mut State, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, frame)).unwrap();
    lines(&terminal)
}

fn lines(terminal: &Terminal<TestBackend>) -> Vec<String> {
    let buffer = terminal.backend().buffer();
    let row = |row: &[ratatui::buffer::Cell]| {
        let text: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.trim_end().to_owned()
    };
    let width = usize::from(buffer.area.width).max(1);
    buffer.content().chunks(width).map(row).collect()
}

fn with_wakes() -> State {
    let mut state = State::new(records());
    state.set_rates(Ok(Wakes::from([((7, 16), 1234.5), ((1, 0), 0.5)])));
    state
}

#[test]
fn words() {
    let mut state = with_wakes();
    let shown = screen(&mut state, 80, 24);
    let expected = [
        "rfutexctl top: 3 waiters on 2 words in 2 processes, 1235 wakes/s",
        "waiters, at most 3: █",
        "[words]  processes   oldest   by waiters",
        "WAITERS WAKES/S  OLDEST KIND    WORD",
        "      2    1234    1.0s inode   /dev/shm/word:0x10",
        "      1     0.0   1h01m mm      0x7f0000000010 of 200",
    ];
    assert_eq!(shown[..6], expected);
    assert_eq!(shown[6..23], [""; 17]);
    assert_eq!(
        shown[23],
        "w p o: tables  s: sort  /: search  Enter: open  q: quit"
    );
}

#[test]
fn nobody_waits() {
    let mut state = State::new(Vec::new());
    state.set_rates(Ok(Wakes::new()));
    assert_eq!(
        screen(&mut state, 80, 24)[0],
        "rfutexctl top: 0 waiters on 0 words in 0 processes, 0.0 wakes/s"
    );
}

#[test]
fn without_wakes_the_column_is_not_there() {
    let mut state = State::new(records());
    state.set_rates(Err("permission to use tracefs is missing".to_owned()));
    let shown = screen(&mut state, 80, 24);
    assert_eq!(shown[3], "WAITERS  OLDEST KIND    WORD");
    let note = "no wakes a second: permission to use tracefs is missing";
    assert_eq!(shown[22], note);
    assert!(shown[23].starts_with("w p o: tables"));
}

#[test]
fn processes_and_oldest() {
    let mut state = with_wakes();
    press(&mut state, "p");
    let shown = screen(&mut state, 80, 24);
    let expected = [
        " words  [processes]  oldest   by waiters",
        "WAITERS   WORDS  OLDEST      PID COMMAND",
        "      2       1    1.0s      100 worker",
        "      1       1   1h01m      200 renderer",
    ];
    assert_eq!(shown[2..6], expected);
    press(&mut state, "o");
    let shown = screen(&mut state, 80, 24);
    let expected = [
        " words   processes  [oldest]",
        "    AGE      PID      TID COMMAND         KIND    WORD",
        "  1h01m      200      200 renderer        mm      0x7f0000000010",
        "   1.0s      100      101 worker          inode   /dev/shm/word:0x10",
        "  400ms      100      102 worker          inode   /dev/shm/word:0x10",
    ];
    assert_eq!(shown[2..7], expected);
}

#[test]
fn one_word_and_back() {
    let mut state = with_wakes();
    press(&mut state, "\n");
    let shown = screen(&mut state, 80, 24);
    let expected = [
        "/dev/shm/word:0x10",
        "inode word in the table default: object 7, inode 17 on device 0:25",
        "    AGE      PID      TID COMMAND         WHILE        MASK               OWNER",
        "   1.0s      100      101 worker          0x0          0xffffffffffffffff",
        "  400ms      100      102 worker          0x0          0xffffffffffffffff",
    ];
    assert_eq!(shown[3..8], expected);
    state.update(Vec::new());
    let shown = screen(&mut state, 80, 24);
    assert_eq!(shown[3], "nobody waits there any more");
    press(&mut state, "\u{1b}");
    assert!(screen(&mut state, 80, 24)[2].starts_with("[words]"));
}

#[test]
fn a_search_is_shown_while_it_is_typed() {
    let mut state = with_wakes();
    press(&mut state, "/rend");
    let shown = screen(&mut state, 80, 24);
    assert!(shown[2].ends_with("search: rend_"), "{}", shown[2]);
    assert_eq!(shown[5], "", "the other word is not there");
    assert_eq!(shown[23], "Enter: search  Esc: show all");
}

#[test]
fn the_history_grows_and_scrolls() {
    let mut state = State::new(Vec::new());
    for n in [1, 2, 3] {
        state.update(records().split_off(3 - n));
    }
    assert_eq!(screen(&mut state, 80, 24)[1], "waiters, at most 3:  ▂▅█");
    for _ in 0..100 {
        state.update(records());
    }
    let shown = screen(&mut state, 80, 24);
    let bars = "█".repeat(60);
    assert_eq!(shown[1], format!("waiters, at most 3: {bars}"));
}

#[test]
fn a_resized_terminal_is_filled() {
    let mut state = State::new(
        (0..100)
            .map(|n| Record {
                position: Some(n),
                ..record()
            })
            .collect(),
    );
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| draw(&mut state, frame)).unwrap();
    assert_eq!(lines(&terminal).len(), 24);
    for (width, height) in [(132, 50), (40, 10), (3, 2), (1, 1), (80, 24)] {
        terminal.backend_mut().resize(width, height);
        terminal.draw(|frame| draw(&mut state, frame)).unwrap();
        let shown = lines(&terminal);
        assert_eq!(shown.len(), usize::from(height));
        if height >= 10 {
            let rows = shown.iter().filter(|line| line.contains("/dev/shm"));
            assert_eq!(rows.count(), usize::from(height) - 5, "{shown:?}");
            assert!(shown[usize::from(height) - 1].starts_with("w p o: tables"));
        }
    }
}

#[test]
fn the_chosen_row_is_scrolled_to() {
    let mut state = State::new(
        (0..100)
            .map(|n| Record {
                position: Some(n),
                ..record()
            })
            .collect(),
    );
    for _ in 0..50 {
        press(&mut state, "j");
    }
    let shown = screen(&mut state, 80, 24).join("\n");
    assert!(shown.contains("/dev/shm/word:0x32"), "{shown}");
}
