// SPDX-License-Identifier: GPL-2.0

//! Tests of when work is done, and that it is not done any more.

use super::*;
use crate::lab::kunit::until;
use kernel::{
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta, //
    }, //
};

/// So long that no test waits for it, in jiffies.
fn never() -> Jiffies {
    msecs_to_jiffies(3_600_000)
}

/// The time at which queued work is going to be done, in jiffies.
fn due<T: Work>(work: &DelayedWork<T>) -> Jiffies {
    // SAFETY: By the type invariants, the work is initialised. Others may change the time at the
    // same time, hence the volatile read.
    unsafe { (&raw const (*work.work.get()).timer.expires).read_volatile() }
}

/// Counts how often work begins and ends.
struct Counter {
    begun: Atomic<u32>,
    done: Arc<Atomic<u32>>,
    /// How long the work takes, in milliseconds.
    takes: i64,
    /// How many more times it has itself done again at once.
    again: Atomic<u32>,
}

impl Work for Counter {
    fn run(this: &DelayedWork<Self>) {
        this.begun.add(1, Relaxed);
        fsleep(Delta::from_millis(this.takes));
        let again = this.again.load(Relaxed);
        if again != 0 {
            this.again.store(again - 1, Relaxed);
            this.run_within(0);
        }
        this.done.add(1, Relaxed);
    }
}

/// Work that takes so many milliseconds, and is done so many times more after the first time.
fn work(takes: i64, again: u32) -> Result<Pin<KBox<DelayedWork<Counter>>>> {
    let counter = Counter {
        begun: Atomic::new(0),
        done: Arc::new(Atomic::new(0), GFP_KERNEL)?,
        takes,
        again: Atomic::new(again),
    };
    KBox::pin_init(DelayedWork::new(counter), GFP_KERNEL)
}

fn done(work: &DelayedWork<Counter>) -> u32 {
    work.done.load(Relaxed)
}

#[kunit_tests(rfutex_delayed_work)]
mod cases {
    use super::*;

    #[test]
    fn work_that_is_queued_is_done_once() -> Result {
        let work = work(0, 0)?;
        for nr in 1..=3 {
            work.run_after(1);
            until(|| done(&work) >= nr)?;
            assert_eq!(done(&work), nr);
        }
        Ok(())
    }

    #[test]
    fn another_time_takes_the_place_of_the_first() -> Result {
        let work = work(0, 0)?;
        work.run_after(never());
        let first = due(&work);
        work.run_after(never() / 2);
        assert!(due(&work) < first);
        work.run_after(never());
        assert!(due(&work) >= first);
        work.run_after(1);
        until(|| done(&work) == 1)?;
        Ok(())
    }

    #[test]
    fn time_stays_where_work_is_going_to_be_done_anyway() -> Result {
        let work = work(0, 0)?;
        work.run_within(never() / 2);
        let first = due(&work);
        for delay in [never(), 1, 0] {
            work.run_within(delay);
            assert!(due(&work) == first);
        }
        assert_eq!(done(&work), 0);
        work.run_after(0);
        until(|| done(&work) == 1)?;
        work.run_within(1);
        until(|| done(&work) == 2)?;
        Ok(())
    }

    #[test]
    fn work_can_be_queued_by_itself() -> Result {
        let work = work(0, 5)?;
        work.run_after(0);
        until(|| done(&work) == 6)?;
        work.disable();
        assert_eq!(done(&work), 6);
        Ok(())
    }

    #[test]
    fn disabling_waits_for_the_work() -> Result {
        let work = work(20, u32::MAX)?;
        work.run_after(0);
        until(|| work.begun.load(Relaxed) != 0)?;
        work.disable();
        let begun = work.begun.load(Relaxed);
        assert_eq!(done(&work), begun);
        // It is not done again, neither by itself nor by others.
        work.run_after(0);
        work.run_within(0);
        work.disable();
        assert_eq!(work.begun.load(Relaxed), begun);
        Ok(())
    }

    #[test]
    fn dropped_work_is_not_done() -> Result {
        for takes in [0, 5] {
            let queued = work(takes, 0)?;
            let count = queued.done.clone();
            queued.run_after(never());
            drop(queued);
            assert_eq!(count.load(Relaxed), 0);
            let running = work(takes, 0)?;
            let count = running.done.clone();
            running.run_after(0);
            until(|| running.begun.load(Relaxed) != 0)?;
            drop(running);
            assert_eq!(count.load(Relaxed), 1);
        }
        Ok(())
    }
}
