// SPDX-License-Identifier: GPL-2.0
//! `rfutexctl list`, `status` and `key` show waiters that are there.

use super::{Shm, run};
use crate::harness::{PAGE, Task, Waiter, fx, nr_waiters, object_of, until};
use crate::memory::{Region, RegionWord};
use rfutex::{Rfutex, Table, TableOptions, Word};
use serde::Deserialize;

trials![
    a_waiter,
    filters,
    text,
    own_tables,
    status,
    keys,
    keys_of_a_process
];

/// A waiter, as `list --json` shows it.
#[derive(Debug, Deserialize)]
pub struct Shown {
    what: String,
    thread: Option<i32>,
    process: Option<u32>,
    table: String,
    kind: String,
    object: u64,
    position: Option<u64>,
    addr: Option<u64>,
    size: u32,
    val: Option<u64>,
    mask: u64,
    owner: Option<()>,
    path: Option<String>,
}

/// What `list --json` says with these options besides.
#[track_caller]
pub fn listed(options: &[&str]) -> Vec<Shown> {
    let arguments = [&["list", "--json"], options].concat();
    super::parse(&run(&arguments).well())
}

/// Every field is as the waiter is.
fn a_waiter() {
    let shm = Shm::new("a-waiter");
    let word = shm.region.word(20);
    word.store(7);
    let waiter = Waiter::start(word, 7);
    let all = listed(&[]);
    let [one] = &all[..] else { panic!("{all:?}") };
    assert_eq!(one.what, "thread");
    assert_eq!(one.thread, Some(waiter.tid().as_raw()));
    assert_eq!(one.process, Some(std::process::id()));
    assert_eq!(one.table, "default");
    assert_eq!(one.kind, "inode");
    assert_eq!(one.object, object_of(word));
    assert_eq!(one.path.as_deref(), Some("/dev/shm/a-waiter"));
    assert_eq!((one.position, one.size), (Some(20), 4));
    assert_eq!(one.addr, Some(word.addr()));
    assert_eq!((one.val, one.mask), (Some(7), u64::MAX));
    assert_eq!(one.owner, None);
    fx().wake_all(word).expect("wake");
    waiter.woken();
    assert_eq!(listed(&[]).len(), 0);
}

fn filters() {
    let shm = Shm::new("filters");
    let memory = Region::private(PAGE);
    let words = [shm.region.word(0), shm.region.word(8), memory.word(8)];
    let waiters = words.map(|word| Waiter::start(word, 0));
    let own = std::process::id().to_string();
    let addr = format!("{:x}", words[2].addr());
    for (options, nr) in [
        (&["--process", &own][..], 3),
        (&["--process", &waiters[0].tid().to_string()], 1),
        (&["--process", "nobody"], 0),
        (&["--file", "/dev/shm/filters"], 2),
        (&["--file", "/dev/null"], 0),
        (&["--word", &shm.place(8)], 1),
        (&["--word", &shm.place(4)], 0),
        (&["--word", &addr], 1),
        (&["--table", "default"], 3),
        (&["--table", "own-1"], 0),
        (&["--older-than", "1d"], 0),
        (&["--file", "/dev/shm/filters", "--word", &addr], 0),
    ] {
        assert_eq!(listed(options).len(), nr, "{options:?}");
    }
    for (word, waiter) in words.into_iter().zip(waiters) {
        fx().wake_all(word).expect("wake");
        waiter.woken();
    }
}

/// The table has a line for each, the first to wait above.
fn text() {
    let shm = Shm::new("text");
    let words = [0, 4].map(|offset| shm.region.word(offset));
    let waiters = words.map(|word| Waiter::start(word, 0));
    let text = run(&["list"]).well();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    let titles: Vec<_> = lines[0].split_whitespace().collect();
    let expected = "AGE PID TID COMMAND KIND WORD WAITS WHILE";
    assert_eq!(titles, expected.split(' ').collect::<Vec<_>>());
    for (i, waiter) in waiters.iter().enumerate() {
        let fields: Vec<_> = lines[i + 1].split_whitespace().collect();
        assert_eq!(fields[1], std::process::id().to_string(), "{text}");
        assert_eq!(fields[2], waiter.tid().to_string(), "{text}");
        assert!(
            lines[i + 1].contains(&format!("/dev/shm/text:{:#x}", 4 * i)),
            "{text}"
        );
    }
    for (word, waiter) in words.into_iter().zip(waiters) {
        fx().wake_all(word).expect("wake");
        waiter.woken();
    }
}

/// A table that only this process has is found, and its waiters, too.
fn own_tables() {
    let device = Rfutex::open().expect("the device");
    let options = TableOptions::new().arena(PAGE as u64);
    let table: &'static Table =
        Box::leak(Box::new(Table::create(&device, options).expect("a table")));
    let word = Word::in_arena(12, 4);
    let task = Task::spawn(move || table.wait(word, 0));
    until("a thread waits in the table", || {
        table.key_info(word).expect("a key").nr_waiters == 1
    });
    let all = listed(&[]);
    let [one] = &all[..] else { panic!("{all:?}") };
    assert_eq!((one.kind.as_str(), one.position), ("arena", Some(12)));
    let name = &one.table;
    assert!(name.starts_with("own-"), "{name}");
    assert_eq!(listed(&["--table", name]).len(), 1);
    let status = run(&["status"]).well();
    assert!(status.contains(&format!("{name}, 1 waiter\n")), "{status}");
    assert_eq!(table.wake_all(word), Ok(1));
    assert_eq!(task.join(), Ok(()));
}

fn status() {
    let query = fx().query().expect("query");
    let text = run(&["status"]).well();
    for line in [
        format!("interface:    version {}", query.version),
        format!("buckets:      {}", query.nr_buckets),
        format!(
            "hold:         {}",
            if crate::harness::holds_inode() {
                "inode"
            } else {
                "nothing"
            }
        ),
        format!("parameter:    tables={}", query.max_tables),
        "table:        default, 0 waiters".to_owned(),
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
}

/// The value of a line of `key`.
#[track_caller]
fn value<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    line.trim_start_matches(':').trim()
}

fn keys() {
    let shm = Shm::new("keys");
    let word = shm.region.word(24);
    let waiter = Waiter::start(word, 0);
    let text = run(&["key", &shm.place(24)]).well();
    assert_eq!(value(&text, "kind"), "inode");
    assert_eq!(value(&text, "object"), format!("{:x}", object_of(word)));
    assert_eq!(
        (value(&text, "position"), value(&text, "waiters")),
        ("0x18", "1")
    );
    fx().wake_all(word).expect("wake");
    waiter.woken();
}

/// A word in another process has the key that this process sees.
fn keys_of_a_process() {
    let own = std::process::id().to_string();
    let shm = Shm::new("keys-of-a-process");
    let memory = Region::private(PAGE);
    let words = [shm.region.word(24), memory.word(24)];
    let waiters = words.map(|word| Waiter::start(word, 0));
    let key = |word: Word<'static>| {
        let addr = format!("{:x}", word.addr());
        run(&["key", "--pid", &own, &addr]).well()
    };
    let text = key(words[0]);
    assert_eq!(value(&text, "object"), format!("{:x}", object_of(words[0])));
    assert_eq!(
        (value(&text, "kind"), value(&text, "position")),
        ("inode", "0x18")
    );
    let text = key(words[1]);
    assert_eq!(
        (value(&text, "kind"), value(&text, "process")),
        ("mm", &*own)
    );
    let here = format!(
        "1 of this process, as mm word of object {:x}",
        object_of(words[1])
    );
    assert_eq!(value(&text, "waits here"), here);
    for (word, waiter) in words.into_iter().zip(waiters) {
        fx().wake_all(word).expect("wake");
        waiter.woken();
        assert_eq!(nr_waiters(word), 0);
    }
    let nothing = run(&["key", "--pid", &own, "1000"]);
    assert_eq!(nothing.status, Some(1), "{nothing:?}");
}
