// SPDX-License-Identifier: GPL-2.0
//! Trace events: what they say is what has happened, and nothing that is to be kept secret.
//!
//! Each test has an instance of its own of the kernel's tracing, so that it sees only the events
//! that it has switched on.

mod calls;
mod owners;
mod retries;
mod secrets;
mod storm;
mod switches;
mod uring;
mod watches;

use crate::harness::{Mapping, PAGE, fx};
use crate::memory::{Region, memfd};
use rfutex::{Key, KeyInfo, Rfutex, Word};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The tests of trace events.
pub fn trials() -> Vec<libtest_mimic::Trial> {
    let all = [
        calls::trials(),
        watches::trials(),
        owners::trials(),
        uring::trials(),
        retries::trials(),
        switches::trials(),
        secrets::trials(),
        storm::trials(),
    ];
    all.into_iter().flatten().collect()
}

/// Where the guest has mounted tracefs.
const TRACEFS: &str = "/sys/kernel/tracing";

/// All events.
const EVENTS: [&str; 7] = [
    "rfutex_wait",
    "rfutex_woken",
    "rfutex_wake",
    "rfutex_requeue",
    "rfutex_watch",
    "rfutex_retry",
    "rfutex_owner_dead",
];

/// An instance of the kernel's tracing, removed on drop.
struct Instance(PathBuf);

impl Instance {
    /// An instance in which no event is on.
    #[track_caller]
    fn off() -> Self {
        static NR: AtomicU32 = AtomicU32::new(0);
        let nr = NR.fetch_add(1, Ordering::Relaxed);
        let name = format!("instances/rfutex-{}-{nr}", std::process::id());
        let path = Path::new(TRACEFS).join(name);
        fs::create_dir(&path).expect("an instance");
        Self(path)
    }

    /// An instance in which all events of the module are on.
    #[track_caller]
    fn on() -> Self {
        let instance = Self::off();
        instance.write("events/rfutex/enable", 1);
        instance
    }

    /// Writes to a file of the instance.
    #[track_caller]
    fn write(&self, file: &str, value: impl ToString) {
        let path = self.0.join(file);
        fs::write(&path, value.to_string())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Switches an event on or off.
    #[track_caller]
    fn switch(&self, event: &str, on: bool) {
        self.write(&format!("events/rfutex/{event}/enable"), u32::from(on));
    }

    /// What was recorded since [`Self::clear`], the oldest first.
    #[track_caller]
    fn records(&self) -> Vec<Record> {
        let trace = fs::read_to_string(self.0.join("trace")).expect("the trace");
        assert!(!trace.contains("LOST"), "{trace}");
        let lines = trace.lines().filter(|line| !line.starts_with('#'));
        lines.map(Record::parse).collect()
    }

    /// The texts of the records, each with the name of its event.
    #[track_caller]
    fn texts(&self) -> Vec<String> {
        self.records()
            .into_iter()
            .map(|record| record.text)
            .collect()
    }

    /// The same of one event only.
    #[track_caller]
    fn texts_of(&self, event: &str) -> Vec<String> {
        let mut records = self.records();
        records.retain(|record| record.event() == event);
        records.into_iter().map(|record| record.text).collect()
    }

    /// Forgets what was recorded.
    #[track_caller]
    fn clear(&self) {
        self.write("trace", "");
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Events that are on keep the instance busy for a moment.
        self.write("events/enable", 0);
        fs::remove_dir(&self.0).expect("the instance goes");
    }
}

/// A line of a trace.
#[derive(Debug, Clone)]
struct Record {
    /// The thread id in the initial pid namespace.
    tid: i32,
    /// The event's name, a colon, a blank, and what the event says.
    text: String,
}

impl Record {
    /// Takes apart a line such as
    /// `  comm-123  [000] .....  12.345678: rfutex_wake: op=wake kind=mm ...`.
    #[track_caller]
    fn parse(line: &str) -> Self {
        let parse = || {
            let (head, text) = line.split_once(": ")?;
            let (task, _) = head.split_once(" [")?;
            let (_, tid) = task.trim_end().rsplit_once('-')?;
            Some(Self {
                tid: tid.parse().ok()?,
                text: text.to_owned(),
            })
        };
        parse().unwrap_or_else(|| panic!("no record: {line:?}"))
    }

    /// The name of the event.
    fn event(&self) -> &str {
        self.text.split(':').next().unwrap_or_default()
    }

    /// The names and the values of what the event says.
    #[track_caller]
    fn fields(&self) -> Vec<(&str, &str)> {
        let (_, fields) = self.text.split_once(": ").expect("a colon");
        let fields = fields.split(' ');
        fields
            .map(|field| field.split_once('=').expect("name=value"))
            .collect()
    }

    /// The value with this name.
    #[track_caller]
    fn get(&self, name: &str) -> &str {
        let fields = self.fields();
        let field = fields.iter().find(|(other, _)| *other == name);
        field.unwrap_or_else(|| panic!("no {name} in {self:?}")).1
    }
}

/// How the key of `word` is shown, according to KEY_INFO.
#[track_caller]
fn key(word: Word<'static>) -> String {
    key_in(fx(), word)
}

/// The same for a word of another table.
#[track_caller]
fn key_in(fx: &Rfutex, word: Word<'static>) -> String {
    let info: KeyInfo = fx.key_info(word).expect("a key");
    let (kind, index, offset) = match info.key {
        Key::Private { index, offset } => ("private", index, offset),
        Key::Mm { index, offset } => ("mm", index, offset),
        Key::Inode { index, offset, .. } => ("inode", index, offset),
        Key::Arena { index, offset } => ("arena", index, offset),
        other => panic!("{other:?}"),
    };
    let object = info.object;
    format!("kind={kind} object={object:016x} index={index} offset={offset}")
}

/// Memory for words on different pages.
struct Memory {
    anonymous: Mapping,
    file: Region,
}

impl Memory {
    fn new() -> Self {
        Self {
            anonymous: Mapping::private(2 * PAGE),
            file: Region::shared(memfd(2 * PAGE), 0, 2 * PAGE),
        }
    }

    /// Words of 32 bits that are private, on anonymous memory, and on a file.
    fn words(&self) -> [Word<'static>; 3] {
        let anonymous = self.anonymous.word(PAGE + 64);
        [anonymous.private(), anonymous, self.file.word(PAGE + 128)]
    }

    /// Another word of each kind.
    fn others(&self) -> [Word<'static>; 3] {
        let anonymous = self.anonymous.word(256);
        [anonymous.private(), anonymous, self.file.word(512)]
    }
}
