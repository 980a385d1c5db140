// SPDX-License-Identifier: GPL-2.0
//! What happens in every scene: one side sleeps on a word, the other sees that
//! it does, wakes it, and both tell what they saw.

use crate::screen::{Screen, Time};
use crate::waiter::{Message, Messages, PATIENCE, Sight};
use anyhow::{Context, Result, bail};
use rfutex::{Clock, Rfutex, Word};
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

/// The word, as the side that wakes uses it.
pub struct Meeting<'a> {
    /// The open device of the waker.
    pub rfutex: &'a Rfutex,
    /// The memory: zero while the other side is to sleep.
    pub memory: &'a AtomicU32,
    /// The word in it.
    pub word: Word<'a>,
    /// Words that look alike and are others: what each is, and where.
    pub others: Vec<(&'a str, Word<'a>)>,
}

impl Meeting<'_> {
    /// Lets the sides meet, and shows it. Returns what the waiter sees.
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
                &format!("a wake on {what} woke {woken}"),
            );
        }
        self.show_woken(screen, &sleeper, waiter)?;
        Ok(sleeper)
    }

    fn nr_waiters(&self) -> Result<u32> {
        Ok(self.rfutex.key_info(self.word)?.nr_waiters)
    }

    fn show_asleep(&self, screen: &mut Screen, sleeper: &Sight) -> Result<()> {
        let Sight { pid, tid, .. } = *sleeper;
        let queued = until(1, || self.nr_waiters())?;
        let state = until('S', || state(pid, tid))?;
        screen.check(
            queued == 1 && state == 'S',
            &format!("thread {tid} sleeps: {queued} waiter on the word, its state is {state}"),
        );
        Ok(())
    }

    fn show_woken(
        &self,
        screen: &mut Screen,
        sleeper: &Sight,
        waiter: &mut impl Messages,
    ) -> Result<()> {
        self.memory.store(1, Ordering::Release);
        let start = Clock::Monotonic.now();
        let woken = self.rfutex.wake_one(self.word)?;
        let end = Clock::Monotonic.now();
        let Message::Back {
            error,
            at,
            switches,
        } = waiter.next()?
        else {
            bail!("the waiter said nothing of its return");
        };
        screen.check(woken == 1, &format!("WAKE_ONE woke {woken}"));
        screen.check(
            error.is_none() && switches > 0,
            &format!(
                "thread {} is back: WAIT {}, it had given up the processor {switches}x",
                sleeper.tid,
                error.map_or("returned 0".into(), |error| format!("failed, {error}")),
            ),
        );
        let left = self.nr_waiters()?;
        screen.check(left == 0, &format!("{left} waiters are left on the word"));
        screen.measured(&format!(
            "the call of the waker took {}; from its start to",
            Time(end - start)
        ));
        screen.more(&format!(
            "the return of the waiter it was {}",
            Time(at - start)
        ));
        Ok(())
    }
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
        ("     page", both(|s| format!("{:#x}", s.key.2))),
        ("     offset", both(|s| format!("{:#x}", s.key.3))),
        ("lies on", both(|s| describe_folio(s.folio))),
    ]
}

/// Where a word lies, in words.
pub fn describe_folio(folio: Option<(u32, u64)>) -> String {
    match folio {
        None => "(not looked at)".into(),
        Some((0, _)) => "a small page".into(),
        Some((order, index)) => format!("page {index} of {}, order {order}", 1_u64 << order),
    }
}

/// The state letter of a thread: S is asleep in an interruptible wait.
fn state(pid: i32, tid: i32) -> Result<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat"))?;
    // The name before it is in parentheses, and may have any character.
    let (_, rest) = stat.rsplit_once(") ").context("no name in stat")?;
    rest.chars().next().context("no state in stat")
}

/// Looks again and again until `look` gives `wanted`, or for [`PATIENCE`].
/// Returns the last it gave.
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
