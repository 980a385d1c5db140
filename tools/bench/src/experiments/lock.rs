// SPDX-License-Identifier: GPL-2.0
//! Threads 000 and 002: what a call costs while others have the page's lock.
//! The lab module's `hold_folio_lock` takes it.

use super::{Latencies, Scope, Wait, Wake, alone, now, tell};
use crate::memory::Memory;
use crate::side::Side;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SaFlags, Signal};
use nix::unistd::gettid;
use rfutex::Word;
use rfutex_selftests::harness::{Handler, PAGE, Task, signal_thread, until};
use rfutex_selftests::memory::{folio_of, is_locked, page_of};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const HOLD_FOLIO_LOCK: &str = "/sys/kernel/debug/rfutex/hold_folio_lock";

/// How often the task that has the lock looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(1);

/// How long each of several has it, in milliseconds: as short as the kernel's
/// timers let it.
const FIGHT: u32 = 1;

/// How many fight for it.
const FIGHTERS: [usize; 3] = [1, 4, 16];

/// How often each of the two pages has its turn.
const TURNS: usize = 7;

/// Calls in a turn, at most.
const CALLS: usize = 400;

/// How long a turn among fighters lasts, in nanoseconds.
const TURN: i64 = 150_000_000;

/// How long after a call among fighters the next one comes, in nanoseconds: it
/// shall meet the lock as it is most of the time, and not in the one moment in
/// which nobody has it.
const PACE: i64 = 200_000;

/// The longest that `hold_folio_lock` takes, in milliseconds.
const LONGEST: u32 = 60_000;

/// Measures both.
pub fn run(scope: &Scope) {
    for &side in &scope.sides {
        alone(|| held(side));
    }
    for fighters in FIGHTERS {
        for &side in &scope.sides {
            alone(|| fought_for(side, fighters));
        }
    }
}

fn hold(addr: u64, milliseconds: u32) {
    fs::write(HOLD_FOLIO_LOCK, format!("{addr:#x} {milliseconds}")).expect(HOLD_FOLIO_LOCK);
}

/// A call, and its name.
type Call = (&'static str, Box<dyn FnMut()>);

/// The calls that have to resolve `word`.
fn calls(side: Side, word: Word<'static>) -> Vec<Call> {
    let wake = Wake::new(side, word);
    let mut wait = Wait::new(side, word, 1);
    let mut calls: Vec<Call> = vec![
        ("wake", Box::new(move || assert_eq!(wake.call(), 0))),
        ("wait", Box::new(move || assert_eq!(wait.call(), -1))),
    ];
    if let Side::Ours(device, _) = side {
        let resolve = move || {
            device.key_info(word).expect("a key");
        };
        calls.push(("resolve", Box::new(resolve)));
    }
    calls
}

/// What calls came to.
#[derive(Default)]
struct Seen {
    latencies: Latencies,
    /// How many of them slept: whoever waits for a lock of a page does.
    slept: u32,
    /// How many of them ended while somebody had the lock of the page all the time.
    came_through: u32,
}

impl Seen {
    /// Makes a call, and notes what it came to. Whether it slept does not depend on
    /// how busy the machine is: a thread that only loses its processor did not.
    fn of(&mut self, call: impl FnOnce()) {
        let before = times_asleep();
        self.latencies.of(call);
        self.slept += u32::from(times_asleep() != before);
    }
}

/// How often the calling thread has gone to sleep so far.
fn times_asleep() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("getrusage");
    usage.voluntary_context_switches()
}

/// Tells what `disturbed` calls came to, and how many times the median of others
/// that is.
fn tell_both(
    case: &str,
    x: f64,
    side: Side,
    undisturbed: &Seen,
    disturbed: &Seen,
    more: &[(&'static str, f64)],
) {
    let mut figures = disturbed.latencies.figures();
    let alone = undisturbed.latencies.median();
    figures.extend([
        ("alone us", alone / 1000.0),
        ("ratio", disturbed.latencies.median() / alone),
        ("slept", disturbed.slept.into()),
    ]);
    figures.extend(more);
    tell("page-lock", case, Some(x), side.name(), &figures);
}

/// The frame whose flags say whether the folio of `word` is locked.
fn head_of(word: Word<'static>) -> u64 {
    page_of(word).pfn - folio_of(word).index
}

/// A word on a page of its own, and one on another.
fn two_pages() -> [Word<'static>; 2] {
    let words = Memory::Shared.many_words(2 * PAGE / 64);
    [words[words.len() - 1], words[0]]
}

/// One task has the lock for long, or that of another page: so there are as many
/// threads in both cases.
fn held(side: Side) {
    let [elsewhere, word] = two_pages();
    let handler = Handler::counting(Signal::SIGUSR1, SaFlags::empty());
    for (name, mut call) in calls(side, word) {
        let [mut undisturbed, mut disturbed] = [Seen::default(), Seen::default()];
        for _ in 0..TURNS {
            while_held(elsewhere, &mut call, &mut undisturbed);
            while_held(word, &mut call, &mut disturbed);
        }
        let came_through = disturbed.came_through.into();
        tell_both(
            &format!("{name}, held"),
            1.0,
            side,
            &undisturbed,
            &disturbed,
            &[("came through", came_through)],
        );
    }
    drop(handler);
}

/// Where the kernel says what the calling thread does.
fn own_stat() -> File {
    let path = format!("/proc/self/task/{}/stat", gettid());
    File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether the thread of this `stat` is asleep. It allocates nothing.
fn is_asleep(stat: &File) -> bool {
    let mut bytes = [0; 512];
    let len = stat.read_at(&mut bytes, 0).expect("a thread that is there");
    // Its name, in parentheses, and its state.
    let name_end = bytes[..len].iter().rposition(|&byte| byte == b')');
    bytes[name_end.expect("a name") + 2] != b'R'
}

/// Makes calls that begin while a task has the lock of the page of `word`. It has
/// it until all of them are made, or until one is seen to sleep.
///
/// Nothing maps or unmaps memory meanwhile: a call that has to find a mapping might
/// wait for that, and not for the page.
fn while_held(word: Word<'static>, mut call: impl FnMut(), seen: &mut Seen) {
    let holder = Task::spawn(move || hold(word.addr(), LONGEST));
    until("the page is locked", || is_locked(head_of(word)));
    let [watched, begun, done, over] = [const { AtomicBool::new(false) }; 4];
    let is = |flag: &AtomicBool| flag.load(Ordering::SeqCst);
    let (stat, holding) = (own_stat(), holder.tid());
    seen.latencies.reserve(CALLS);
    thread::scope(|scope| {
        scope.spawn(|| {
            watched.store(true, Ordering::SeqCst);
            while !(is(&done) || is(&begun) && is_asleep(&stat)) {
                thread::sleep(LOOK);
            }
            over.store(true, Ordering::SeqCst);
            signal_thread(holding, Signal::SIGUSR1);
        });
        until("the thread that watches is there", || is(&watched));
        begun.store(true, Ordering::SeqCst);
        for _ in 0..CALLS {
            seen.of(&mut call);
            if is(&over) {
                break;
            }
            seen.came_through += 1;
        }
        done.store(true, Ordering::SeqCst);
    });
    holder.join();
}

/// Several tasks fight for the lock, or for that of another page.
fn fought_for(side: Side, fighters: usize) {
    let [elsewhere, word] = two_pages();
    let target = AtomicU64::new(elsewhere.addr());
    let over = AtomicBool::new(false);
    let ready = Barrier::new(fighters + 1);
    thread::scope(|scope| {
        for _ in 0..fighters {
            scope.spawn(|| {
                // From then on, it maps no more memory.
                hold(elsewhere.addr(), FIGHT);
                ready.wait();
                while !over.load(Ordering::Relaxed) {
                    hold(target.load(Ordering::Relaxed), FIGHT);
                }
            });
        }
        ready.wait();
        for (name, mut call) in calls(side, word) {
            let mut seen = [Seen::default(), Seen::default()];
            for _ in 0..TURNS {
                for (page, seen) in [elsewhere, word].into_iter().zip(&mut seen) {
                    target.store(page.addr(), Ordering::Relaxed);
                    until("they fight there", || is_locked(head_of(page)));
                    let end = now() + TURN;
                    while now() < end {
                        seen.of(&mut call);
                        let next = now() + PACE;
                        while now() < next {
                            thread::yield_now();
                        }
                    }
                }
            }
            let [undisturbed, disturbed] = &seen;
            let case = format!("{name}, fought for");
            tell_both(&case, fighters as f64, side, undisturbed, disturbed, &[]);
        }
        over.store(true, Ordering::Relaxed);
    });
}
