// SPDX-License-Identifier: GPL-2.0
//! `rfutexctl top` in a terminal of real size.

use super::Shm;
use super::terminal::Terminal;
use crate::harness::{Child, UnloadedModule, Waiter, fx, until};
use crate::memory::RegionWord;
use nix::sys::signal::Signal;
use rfutex::{Rfutex, Word};
use std::fs;

trials![
    screens,
    resized,
    wakes_a_second,
    control_c,
    terminated,
    module_gone,
    no_terminal
];

const KEYS: &str = "w p o: tables  s: sort  /: search  Enter: open  q: quit";

/// Whether a line of the table of words says that so many wait on this word of a file.
fn says(line: &str, waiters: u32, word: &str) -> bool {
    let columns: Vec<_> = line.split_whitespace().collect();
    columns.first() == Some(&&*waiters.to_string()) && columns.ends_with(&["inode", word])
}

#[track_caller]
fn wake(waiters: Vec<(Word<'static>, Waiter)>) {
    for (word, waiter) in waiters {
        fx().wake_all(word).expect("wake");
        waiter.woken();
    }
}

/// Two on one word and one on another.
#[track_caller]
fn three_waiters(shm: &Shm) -> Vec<(Word<'static>, Waiter)> {
    let words = [0, 0, 8].map(|offset| shm.region.word(offset));
    words.map(|word| (word, Waiter::start(word, 0))).into()
}

/// Each table, one word opened, a search, and back, at 80x24.
fn screens() {
    let shm = Shm::new("screens");
    let waiters = three_waiters(&shm);
    let own = std::process::id().to_string();
    let mut top = Terminal::start(&["top"], 24, 80);
    top.until("the words", |lines| lines[23].starts_with(KEYS));
    let lines = top.lines();
    assert!(
        lines[0].starts_with("rfutexctl top: 3 waiters on 2 words in 1 process"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("waiters, at most 3: "), "{lines:?}");
    assert_eq!(lines[2], "[words]  processes   oldest   by waiters");
    assert!(says(&lines[4], 2, "/dev/shm/screens:0x0"), "{lines:?}");
    assert!(says(&lines[5], 1, "/dev/shm/screens:0x8"), "{lines:?}");
    assert_eq!(lines[6..22], [""; 16]);

    top.press("p");
    top.until("the processes", |lines| lines[2].contains("[processes]"));
    let line = top.lines()[4].clone();
    assert!(line.split_whitespace().nth(3) == Some(&own), "{line}");

    top.press("o");
    top.until("the oldest", |lines| lines[2].contains("[oldest]"));
    let lines = top.lines();
    for (i, (_, waiter)) in waiters.iter().enumerate() {
        let tid = lines[4 + i].split_whitespace().nth(2).map(str::to_owned);
        assert_eq!(tid, Some(waiter.tid().to_string()), "{lines:?}");
    }

    top.press("w\r");
    top.until("one word", |lines| lines[3] == "/dev/shm/screens:0x0");
    let lines = top.lines();
    assert!(
        lines[4].starts_with("inode word in the table default: object "),
        "{lines:?}"
    );
    for line in &lines[6..8] {
        assert!(line.contains("0xffffffffffffffff"), "{lines:?}");
    }
    top.press("\u{1b}");
    top.until("the words", |lines| lines[2].starts_with("[words]"));
    top.press("/0x8\r");
    top.until("what was searched", |lines| {
        lines[4].contains("screens:0x8") && lines[5].is_empty()
    });

    // What changes is shown.
    wake(waiters);
    top.until("nobody", |lines| {
        lines[0].starts_with("rfutexctl top: 0 waiters on 0 words")
    });
    top.press("q");
    assert_eq!(top.end(), 0);
    assert!(top.is_as_before());
}

fn resized() {
    let shm = Shm::new("resized");
    let waiters = three_waiters(&shm);
    let mut top = Terminal::start(&["top"], 24, 80);
    top.until("the words", |lines| lines[23].starts_with(KEYS));
    for (rows, columns) in [(50, 132), (10, 60), (24, 80)] {
        top.resize(rows, columns);
        top.until("a screen that is filled", |lines| {
            lines.len() == usize::from(rows)
                && lines[usize::from(rows) - 1].starts_with(KEYS)
                && lines.iter().filter(|line| line.starts_with(KEYS)).count() == 1
                && lines[5].contains("/dev/shm/resized:0x8")
        });
    }
    wake(waiters);
    top.press("q");
    assert_eq!(top.end(), 0);
}

/// A word that is woken all the time is seen to be.
fn wakes_a_second() {
    let shm = Shm::new("wakes");
    let word = shm.region.word(4);
    let waiter = Child::run(move || {
        let fx = Rfutex::open().expect("the device");
        while fx.wait(word, 0).is_ok() {}
    });
    let waker = Child::run(move || {
        let fx = Rfutex::open().expect("the device");
        while word.load() == 0 {
            fx.wake_all(word).expect("wake");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    });
    let mut top = Terminal::start(&["top", "--interval", "200ms"], 24, 80);
    top.until("wakes a second", |lines| {
        let words: Vec<_> = lines[4].split_whitespace().collect();
        let rate = words.get(1).and_then(|rate| rate.parse::<f64>().ok());
        lines[3].contains("WAKES/S") && rate.is_some_and(|rate| rate >= 1.0)
    });
    assert_eq!(instances(), [format!("rfutexctl-top-{}", top.pid())]);
    top.press("q");
    assert_eq!(top.end(), 0);
    assert_eq!(instances(), [""; 0]);
    word.store(1);
    waker.join();
    fx().wake_all(word).expect("wake");
    waiter.join();
}

/// The directories of the program's instances of tracefs.
fn instances() -> Vec<String> {
    let entries = fs::read_dir("/sys/kernel/tracing/instances").expect("tracefs");
    let names = entries.map(|entry| {
        entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned()
    });
    names.filter(|name| name.starts_with("rfutexctl")).collect()
}

fn control_c() {
    let mut top = Terminal::start(&["top"], 24, 80);
    top.until("the words", |lines| lines[23].starts_with(KEYS));
    assert!(top.screen().alternate_screen());
    top.press("\u{3}");
    assert_eq!(top.end(), 0);
    assert!(top.is_as_before());
    assert_eq!(instances(), [""; 0]);
}

fn terminated() {
    let mut top = Terminal::start(&["top"], 24, 80);
    top.until("the words", |lines| lines[23].starts_with(KEYS));
    top.kill(Signal::SIGTERM);
    assert_eq!(top.end(), 0);
    assert!(top.is_as_before());
    assert_eq!(instances(), [""; 0]);
}

/// The module can be unloaded under it, which it says, and ends.
fn module_gone() {
    let mut top = Terminal::start(&["top"], 24, 80);
    top.until("the words", |lines| lines[23].starts_with(KEYS));
    let unloaded = UnloadedModule::when_unused();
    assert_eq!(top.end(), 1);
    assert!(top.is_as_before());
    let shown = top.lines().join("\n");
    let said = "rfutexctl: the module rfutex is not loaded (there is no /dev/rfutex)";
    assert!(shown.contains(said), "{shown}");
    assert_eq!(instances(), [""; 0]);
    drop(unloaded);
    until("the device is there", || Rfutex::open().is_ok());
}

fn no_terminal() {
    let said = super::run(&["top"]);
    assert_eq!((said.status, said.out.as_str()), (Some(1), ""));
    assert_eq!(said.err, "rfutexctl: top needs a terminal\n");
}
