// SPDX-License-Identifier: GPL-2.0
//! What happens in every scene: one side sleeps on a word; the other side sees
//! that it sleeps, and wakes it; and both tell what they saw.

use crate::screen::{Screen, Time};
use crate::waiter::{Key, Message, Messages, PATIENCE, ROUNDS, Sight};
use anyhow::{Context, Result, bail};
use nix::libc;
use nix::unistd::gettid;
use rfutex::raw::uapi::RFUTEX_WAIT;
use rfutex::{Clock, Rfutex, Word};
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

/// The word, as the side that wakes uses it.
pub struct Meeting<'a> {
    /// The open device of the waker.
    pub rfutex: &'a Rfutex,
    /// The memory, zero at first.
    pub memory: &'a AtomicU32,
    /// The word in it.
    pub word: Word<'a>,
    /// Words that look like the same one but are not: what each is, and where.
    pub others: Vec<(&'a str, Word<'a>)>,
}

impl Meeting<'_> {
    /// Lets the two sides meet, and shows it. Returns what the waiter sees.
    pub fn show(&self, screen: &mut Screen, waiter: &mut impl Messages) -> Result<Sight> {
        let Message::Ready(sleeper) = waiter.next()? else {
            bail!("the waiter did not wait");
        };
        let waker = Sight::of(self.rfutex, self.word)?;
        screen.table(&rows(&sleeper, &waker));
        screen.check(sleeper.key == waker.key, "both see the same key");
        self.show_asleep(screen, &sleeper)?;
        for (what, other) in &self.others {
            let woken = self.rfutex.wake_all(*other)?;
            screen.check(
                woken == 0 && self.nr_waiters()? == 1,
                &format!("WAKE_ALL on {what} wakes {woken}"),
            );
        }
        self.show_woken(screen, &sleeper, waiter)?;
        self.show_times(screen, &sleeper, waiter)?;
        Ok(sleeper)
    }

    fn nr_waiters(&self) -> Result<u32> {
        Ok(self.rfutex.key_info(self.word)?.nr_waiters)
    }

    fn show_asleep(&self, screen: &mut Screen, sleeper: &Sight) -> Result<()> {
        let asleep = until(true, || self.asleep(sleeper))?;
        let (queued, state) = (self.nr_waiters()?, state(sleeper)?);
        screen.check(
            asleep && queued == 1 && state == 'S',
            &format!(
                "thread {} sleeps in RFUTEX_WAIT, state {state}; waiters on the word: {queued}",
                sleeper.tid
            ),
        );
        Ok(())
    }

    /// Ends the waiter's first sleep, and shows how that went.
    fn show_woken(
        &self,
        screen: &mut Screen,
        sleeper: &Sight,
        waiter: &mut impl Messages,
    ) -> Result<()> {
        let wake = self.wake(0, waiter)?;
        screen.check(
            wake.woken == 1,
            &format!(
                "thread {} calls WAKE_ONE, which wakes {}",
                gettid(),
                wake.woken
            ),
        );
        let returned = match &wake.error {
            None => "returns 0".to_owned(),
            Some(error) => format!("fails: {error}"),
        };
        screen.check(
            wake.error.is_none() && wake.switches > 0,
            &format!(
                "thread {}: WAIT {returned}, after {} voluntary context switch",
                sleeper.tid, wake.switches
            ),
        );
        screen.measured(&format!(
            "WAKE_ONE took {}; the waiter was back {} after its start",
            Time(wake.took),
            Time(wake.until_back)
        ));
        Ok(())
    }

    /// Wakes the waiter each time that it goes to sleep again, and shows how long
    /// that takes.
    fn show_times(
        &self,
        screen: &mut Screen,
        sleeper: &Sight,
        waiter: &mut impl Messages,
    ) -> Result<()> {
        let mut wakes = Vec::new();
        for round in 1..ROUNDS {
            until(true, || self.asleep(sleeper))?;
            wakes.push(self.wake(round, waiter)?);
        }
        let good = wakes.iter().filter(|wake| wake.is_good()).count();
        screen.check(
            good == wakes.len(),
            &format!(
                "{} more rounds: in {good} of them it slept and was woken",
                wakes.len()
            ),
        );
        let left = self.nr_waiters()?;
        screen.check(left == 0, &format!("waiters on the word now: {left}"));
        screen.measured(&format!(
            "median of these: WAKE_ONE took {}, the waiter was back after {}",
            median(wakes.iter().map(|wake| wake.took)),
            median(wakes.iter().map(|wake| wake.until_back))
        ));
        Ok(())
    }

    /// Whether the waiter is queued and has given up the processor.
    fn asleep(&self, sleeper: &Sight) -> Result<bool> {
        Ok(self.nr_waiters()? == 1 && is_blocked(sleeper)?)
    }

    /// Changes the word from the number of this round, and wakes the waiter.
    fn wake(&self, round: u32, waiter: &mut impl Messages) -> Result<Wake> {
        self.memory.store(round + 1, Ordering::Release);
        let start = Clock::Monotonic.now();
        let woken = self.rfutex.wake_one(self.word)?;
        let took = Clock::Monotonic.now() - start;
        let Message::Back {
            error,
            at,
            switches,
        } = waiter.next()?
        else {
            bail!("the waiter did not tell that it is back");
        };
        Ok(Wake {
            woken,
            took,
            until_back: at - start,
            error,
            switches,
        })
    }
}

/// One wake, as both sides saw it.
struct Wake {
    /// How many were woken.
    woken: u32,
    /// How long the call took, in nanoseconds.
    took: i64,
    /// From the start of the call to the waiter's return, in nanoseconds.
    until_back: i64,
    /// Why the wait failed, if it did.
    error: Option<String>,
    /// How often the waiter gave up the processor in its wait.
    switches: i64,
}

impl Wake {
    fn is_good(&self) -> bool {
        self.woken == 1 && self.error.is_none() && self.switches > 0
    }
}

/// The middle one of some times in nanoseconds.
fn median(times: impl Iterator<Item = i64>) -> Time {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    Time(times[times.len() / 2])
}

/// The table of what both sides see.
fn rows(sleeper: &Sight, waker: &Sight) -> Vec<(&'static str, [String; 2])> {
    let both = |of: fn(&Sight) -> String| [of(sleeper), of(waker)];
    vec![
        ("", ["waiter".into(), "waker".into()]),
        (
            "who",
            both(|s| format!("process {}, thread {}", s.pid, s.tid)),
        ),
        ("address", both(|s| format!("{:#x}", s.addr))),
        ("key: kind", both(|s| s.key.0.clone())),
        ("     in", both(|s| s.key.1.clone())),
        ("     page", both(|s| page(&s.key))),
        ("     offset", both(|s| format!("{:#x}", s.key.3))),
        ("lies on", both(|s| describe_folio(s.folio))),
    ]
}

/// A page's number: small in a file, an address in an address space.
fn page((kind, _, index, _): &Key) -> String {
    if kind == "inode" {
        format!("{index} of the file")
    } else {
        format!("{index:#x}")
    }
}

/// Describes where a word lies.
pub fn describe_folio(folio: Option<(u32, u64)>) -> String {
    match folio {
        None => "(no page looked at)".into(),
        Some((0, _)) => "a small page".into(),
        Some((order, index)) => format!("page {index} of {}, order {order}", 1_u64 << order),
    }
}

/// A file below the waiter's directory in /proc.
fn proc_file(of: &Sight, name: &str) -> Result<String> {
    let path = format!("/proc/{}/task/{}/{name}", of.pid, of.tid);
    fs::read_to_string(&path).context(path)
}

/// The state letter of a thread: S is asleep in an interruptible wait.
fn state(of: &Sight) -> Result<char> {
    let stat = proc_file(of, "stat")?;
    // The name before it is in parentheses, and may have any character.
    let (_, rest) = stat.rsplit_once(") ").context("no name in stat")?;
    rest.chars().next().context("no state in stat")
}

/// Whether a thread has left the processor inside `RFUTEX_WAIT`. Its state alone
/// does not tell: that is S already a moment before the thread leaves.
fn is_blocked(of: &Sight) -> Result<bool> {
    // The number of the system call and its arguments, or "running".
    let call = proc_file(of, "syscall")?;
    let mut words = call.split_whitespace();
    let number = words.next().and_then(|word| word.parse().ok());
    let request = words.nth(1).and_then(|word| word.strip_prefix("0x"));
    let request = request.and_then(|word| u32::from_str_radix(word, 16).ok());
    Ok(number == Some(libc::SYS_ioctl) && request == Some(RFUTEX_WAIT))
}

/// Calls `look` until it returns `wanted`, for [`PATIENCE`] at most. Returns its last
/// result.
fn until<T: PartialEq>(wanted: T, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        let seen = look()?;
        if seen == wanted || start.elapsed() > PATIENCE {
            return Ok(seen);
        }
        thread::yield_now();
    }
}
