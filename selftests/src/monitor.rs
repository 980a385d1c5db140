// SPDX-License-Identifier: GPL-2.0
//! The monitor `sssw` of the kernel's runtime verification knows how a task has to go to sleep
//! (Documentation/trace/rv/monitor_sched.rst). It finds nothing wrong with waits and wakes.

use crate::harness::{Feature, LIMIT, PAGE, Task};
use crate::memory::{Mount, Region, RegionWord, Setting, memfd};
use crate::resolvers::{Via, each};
use rfutex::{Error, WaitEntry, WaitOptions, Word};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

trials![sssw];

/// How many turns each thread has.
const ROUNDS: u32 = 30;

/// The monitor, enabled, with a reactor that writes what it finds to the kernel log.
struct Monitor {
    // Fields are dropped in this order: the monitor is disabled first.
    _enabled: Setting,
    _reactor: Setting,
    _mount: Mount,
    log: File,
}

impl Monitor {
    #[track_caller]
    fn start() -> Self {
        let mount = Mount::new(Path::new("tracefs"), "tracefs", "");
        let path = mount.path().join("rv/monitors/sched/sssw");
        let reactor = Setting::set(path.join("reactors"), "printk");
        assert_eq!(reactor.read(), "printk");
        let enabled = Setting::set(path.join("enable"), 1);
        for switch in ["monitoring_on", "reacting_on"] {
            let on = std::fs::read_to_string(mount.path().join("rv").join(switch));
            assert!(on.expect(switch).starts_with('1'), "{switch}");
        }
        let mut log = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .expect("/dev/kmsg");
        log.seek(SeekFrom::End(0)).expect("the end of the log");
        Self {
            _enabled: enabled,
            _reactor: reactor,
            _mount: mount,
            log,
        }
    }

    /// The first violation that it has reported since the last call.
    #[track_caller]
    fn complaint(&mut self) -> Option<String> {
        let mut complaint = None;
        let mut record = [0; 8192];
        loop {
            match self.log.read(&mut record) {
                Ok(len) => {
                    let record = String::from_utf8_lossy(&record[..len]).into_owned();
                    complaint = complaint.or(record.contains(";rv: ").then_some(record));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return complaint,
                Err(error) => panic!("/dev/kmsg: {error}"),
            }
        }
    }
}

/// A way to wake the other thread and to wait for the next turn. The words have been changed.
type Turn = fn(&Via, [Word<'static>; 2], WaitOptions) -> Result<(), Error>;

const TURNS: [(&str, Turn); 3] = [
    ("WAIT", |via, [mine, other], options| {
        via.fx.wake_one(other)?;
        via.fx.wait_with(mine, 0, options)
    }),
    ("WAITV", |via, [mine, other], options| {
        via.fx.wake_one(other)?;
        let entry = WaitEntry::new(mine, 0);
        via.fx.wait_any(&[entry], options.deadline).map(drop)
    }),
    ("SWAP", |via, [mine, other], options| {
        via.fx.swap_with(mine, 0, other, options)
    }),
];

/// Takes [`ROUNDS`] turns. It is this thread's turn whenever `mine` is not 0.
fn take_turns(via: &Via, words: [Word<'static>; 2], turn: Turn, options: WaitOptions) {
    let [mine, other] = words;
    for _ in 0..ROUNDS {
        mine.store(0);
        other.store(1);
        match turn(via, words, options) {
            Ok(()) | Err(Error::Again) => {}
            Err(error) => panic!("{error}"),
        }
        while mine.load() == 0 {
            match via.fx.wait_with(mine, 0, options) {
                Ok(()) | Err(Error::Again) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    // The other thread may be waiting for its last turn.
    other.store(1);
    via.fx.wake_one(other).expect("wake");
}

/// Two threads take turns, in every way, by each resolver, on each kind of key.
fn sssw() {
    Feature::Sssw.need();
    let mut monitor = Monitor::start();
    let regions = [Region::private(PAGE), Region::shared(memfd(PAGE), 0, PAGE)];
    for via in each() {
        for (region, private) in [
            (&regions[0], true),
            (&regions[0], false),
            (&regions[1], false),
        ] {
            for timed in [false, true] {
                for (name, turn) in TURNS {
                    let words = [0, 64].map(|at| region.word(at));
                    let words = if private {
                        words.map(Word::private)
                    } else {
                        words
                    };
                    let options = WaitOptions::default();
                    let options = if timed {
                        options.within(LIMIT)
                    } else {
                        options
                    };
                    // The first turn is this thread's.
                    words[0].store(1);
                    words[1].store(0);
                    let [mine, other] = words;
                    let second = Task::spawn({
                        let via = via.clone();
                        move || {
                            while other.load() == 0 {
                                let _ = via.fx.wait_with(other, 0, options);
                            }
                            take_turns(&via, [other, mine], turn, options);
                        }
                    });
                    take_turns(&via, words, turn, options);
                    second.join();
                    let how = (via.resolver, name, private, timed);
                    assert_eq!(monitor.complaint(), None, "{how:?}");
                }
            }
        }
    }
    // Nobody wakes this one.
    let word = regions[0].word(128);
    for via in each() {
        let options = WaitOptions::default().within(std::time::Duration::from_millis(5));
        assert_eq!(via.fx.wait_with(word, 0, options), Err(Error::TimedOut));
    }
    assert_eq!(monitor.complaint(), None);
}
