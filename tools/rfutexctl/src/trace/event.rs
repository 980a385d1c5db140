// SPDX-License-Identifier: GPL-2.0
//! An event of rfutex, as trace_pipe shows it, and as people read it.

use std::collections::HashMap;

use super::names::Names;
use crate::filter::ProcessIs;
use crate::place::number;
use crate::record::position;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The name of the thread.
    pub comm: String,
    /// Its number.
    pub tid: u32,
    /// The number of its process, if tracefs has recorded it.
    pub process: Option<u32>,
    /// When it was, in seconds since some time.
    pub time: String,
    /// Which event.
    pub name: String,
    fields: HashMap<String, String>,
}

/// What identifies a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// private, mm, inode or arena.
    pub kind: String,
    /// The number of the file, the address space or the arena.
    pub object: u64,
    /// Where in it, in bytes.
    pub position: u64,
}

impl Event {
    /// Parses a line: `COMM-TID (PROCESS) [CPU] FLAGS TIME: NAME: KEY=VALUE ...`, where the process
    /// may be unknown, or not there at all. None if it is no event of rfutex.
    pub fn parse(line: &str) -> Option<Self> {
        // The name of a thread may have anything in it, so that the event is looked for first.
        let (head, rest) = line.rsplit_once(": rfutex_")?;
        let (name, fields) = rest.split_once(':')?;
        let (head, time) = head.rsplit_once(' ')?;
        let (task, _) = head.rsplit_once(" [")?;
        let task = task.trim();
        let (task, process) = match task.strip_suffix(')') {
            Some(task) => task.rsplit_once('(')?,
            None => (task, ""),
        };
        let (comm, tid) = task.trim().rsplit_once('-')?;
        let fields = fields.split(' ').filter_map(|field| field.split_once('='));
        Some(Self {
            comm: comm.to_owned(),
            tid: tid.trim().parse().ok()?,
            process: process.trim().parse().ok(),
            time: time.to_owned(),
            name: format!("rfutex_{name}"),
            fields: fields.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        })
    }

    /// Whether the thread is of this name or number.
    pub fn is_by(&self, process: &ProcessIs) -> bool {
        match process {
            ProcessIs::Name(name) => self.comm == *name,
            // The process of a thread that has not ended has it in its directory.
            ProcessIs::Number(pid) => {
                self.tid == *pid
                    || self.process == Some(*pid)
                    || std::path::Path::new(&format!("/proc/{pid}/task/{}", self.tid)).exists()
            }
        }
    }

    /// The field `name`.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("?", String::as_str)
    }

    /// The field `name`, a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        number(self.fields.get(name)?).ok()
    }

    /// The word. `prefix` is that of the names of its fields.
    pub fn key(&self, prefix: &str) -> Option<Key> {
        let get = |name: &str| self.fields.get(&format!("{prefix}{name}"));
        let index = get("index")?.parse().ok()?;
        Some(Key {
            kind: get("kind")?.clone(),
            object: u64::from_str_radix(get("object")?, 16).ok()?,
            position: position(index, get("offset")?.parse().ok()?),
        })
    }

    fn word(&self, prefix: &str, names: &mut Names) -> String {
        let Some(key) = self.key(prefix) else {
            return "?".to_owned();
        };
        let at = key.position;
        match key.kind.as_str() {
            "inode" => match names.file(key.object, self.process.unwrap_or(self.tid)) {
                Some(path) => format!("{path}:{at:#x}"),
                None => format!("file {:x}:{at:#x}", key.object),
            },
            "arena" => format!("arena {:x}:{at:#x}", key.object),
            kind => format!("{at:#x} ({kind})"),
        }
    }

    /// The event in words.
    pub fn show(&self, names: &mut Names) -> String {
        let field = |name| self.field(name);
        let what = match self.name.as_str() {
            "rfutex_wait" => {
                let deadline = match field("deadline") {
                    "1" => ", with a deadline",
                    _ => "",
                };
                format!(
                    "waits on {} while it is {}{deadline}",
                    self.word("", names),
                    field("val")
                )
            }
            "rfutex_woken" => {
                let how = match field("result") {
                    "woken" => "was woken".to_owned(),
                    "timed_out" => "has waited until its deadline".to_owned(),
                    "signal" => "was interrupted by a signal".to_owned(),
                    "owner_dead" => "has lost the owner for whom it waited".to_owned(),
                    "other_word" => "was woken on another word".to_owned(),
                    "changed" => "found another word changed".to_owned(),
                    "cancelled" => "was cancelled".to_owned(),
                    other => format!("ended with {other}"),
                };
                format!("{how}, on {}", self.word("", names))
            }
            "rfutex_wake" => {
                let most = match self.number("nr") {
                    Some(nr) if nr == u64::from(u32::MAX) => "all".to_owned(),
                    _ => field("nr").to_owned(),
                };
                format!(
                    "wakes {} (of {most} asked for) on {}",
                    field("woken"),
                    self.word("", names)
                )
            }
            "rfutex_requeue" => format!(
                "wakes {} on {} and moves {} to {}",
                field("woken"),
                self.word("", names),
                field("moved"),
                self.word("to_", names)
            ),
            "rfutex_watch" => format!(
                "has a watch that is {}, on {}: id {}",
                field("what"),
                self.word("", names),
                field("id")
            ),
            "rfutex_retry" => format!(
                "looks again at {}: {} ({} resolver)",
                field("addr"),
                field("step"),
                field("resolver")
            ),
            "rfutex_owner_dead" => format!(
                "ends the waits for {} {}, and marks {} words",
                field("owner"),
                field("pid"),
                field("marked")
            ),
            _ => {
                let mut fields: Vec<_> = self.fields.iter().collect();
                fields.sort();
                let fields = fields.iter().map(|(name, value)| format!("{name}={value}"));
                fields.collect::<Vec<_>>().join(" ")
            }
        };
        let op = match (self.fields.get("op"), self.name.as_str()) {
            (None, _) => String::new(),
            (Some(op), _) if op == "wait" || op == "wake" => String::new(),
            (Some(op), _) => format!(" [{op}]"),
        };
        format!("{} {}-{} {what}{op}", self.time, self.comm, self.tid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAKE: &str = "           my prog-1234    [001] d..1.    12.345678: rfutex_wake: op=wake \
                        kind=inode object=00000000000000ff index=1 offset=8 \
                        mask=0xffffffffffffffff nr=4294967295 woken=2";

    fn names() -> Names {
        Names::of(&[(0xff, "/dev/shm/word")])
    }

    #[test]
    fn a_line_is_taken_apart() {
        let event = Event::parse(WAKE).unwrap();
        assert_eq!((event.comm.as_str(), event.tid), ("my prog", 1234));
        assert_eq!(
            (event.time.as_str(), event.name.as_str()),
            ("12.345678", "rfutex_wake")
        );
        assert_eq!(event.number("woken"), Some(2));
        let key = event.key("").unwrap();
        assert_eq!((key.object, key.position), (0xff, position(1, 8)));
        assert!(event.is_by(&ProcessIs::Name("my prog".to_owned())));
        assert!(event.is_by(&ProcessIs::Number(1234)));
        assert!(!event.is_by(&ProcessIs::Number(u32::MAX)));
    }

    #[test]
    fn the_process_may_be_known() {
        let own = |line: &str| Event::parse(&WAKE.replace("-1234 ", line)).unwrap();
        let event = own("-1234   (   1200)");
        assert_eq!((event.tid, event.process), (1234, Some(1200)));
        assert!(event.is_by(&ProcessIs::Number(1200)));
        let event = own("-1234   (-------)");
        assert_eq!((event.tid, event.process), (1234, None));
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            "",
            "CPU:1 [LOST 5 EVENTS]",
            "  a-1 [000] .... 1.0: sched_switch: prev=1",
            "  a-x [000] .... 1.0: rfutex_wake: op=wake",
        ] {
            assert_eq!(Event::parse(line), None, "{line}");
        }
    }

    #[test]
    fn names_of_threads_may_be_anything() {
        let line = WAKE.replace("my prog", "a-1 [0] x: y");
        assert_eq!(Event::parse(&line).unwrap().comm, "a-1 [0] x: y");
    }

    #[test]
    fn events_are_shown_in_words() {
        let key = "kind=inode object=00000000000000ff index=0 offset=4";
        let to = "to_kind=mm to_object=0000000000000001 to_index=0 to_offset=16";
        for (event, text) in [
            (
                format!("rfutex_wait: op=wait {key} size=4 val=0x1 mask=0x1 deadline=1"),
                "waits on /dev/shm/word:0x4 while it is 0x1, with a deadline",
            ),
            (
                format!("rfutex_woken: op=waitv {key} result=timed_out"),
                "has waited until its deadline, on /dev/shm/word:0x4 [waitv]",
            ),
            (
                format!("rfutex_woken: op=wait {key} result=-14"),
                "ended with -14, on /dev/shm/word:0x4",
            ),
            (
                format!("rfutex_wake: op=swap {key} mask=0x1 nr=1 woken=0"),
                "wakes 0 (of 1 asked for) on /dev/shm/word:0x4 [swap]",
            ),
            (
                format!("rfutex_requeue: {key} {to} nr_wake=1 nr_move=9 woken=1 moved=3"),
                "wakes 1 on /dev/shm/word:0x4 and moves 3 to 0x10 (mm)",
            ),
            (
                format!("rfutex_watch: what=fired set=0000000000000001 id=7 {key}"),
                "has a watch that is fired, on /dev/shm/word:0x4: id 7",
            ),
            (
                "rfutex_retry: resolver=page step=host_gone addr=0x1000".to_owned(),
                "looks again at 0x1000: host_gone (page resolver)",
            ),
            (
                "rfutex_owner_dead: what=robust owner=thread pid=5 id=9 marked=2".to_owned(),
                "ends the waits for thread 5, and marks 2 words",
            ),
            ("rfutex_new: a=1 b=2".to_owned(), "a=1 b=2"),
        ] {
            let line = format!("  prog-12  [000] .....  1.5: {event}");
            let shown = Event::parse(&line).unwrap().show(&mut names());
            assert_eq!(shown, format!("1.5 prog-12 {text}"));
        }
        let all = Event::parse(WAKE).unwrap().show(&mut names());
        assert!(all.contains("wakes 2 (of all asked for)"), "{all}");
    }
}
