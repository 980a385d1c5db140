// SPDX-License-Identifier: GPL-2.0

//! Tests of who is woken, and of what becomes of a wake when there is a signal.

use super::*;
use crate::lab::kunit::{
    attach_mm,
    beside,
    is_asleep,
    kill,
    killed,
    mortal,
    state,
    until, //
};
use core::ptr;
use kernel::sync::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    Arc, //
};

/// A queue, and tokens that tasks wait for.
#[pin_data]
struct Tokens {
    #[pin]
    queue: WaitQueue,
    left: Atomic<u32>,
    /// How many times a task has found no token.
    refused: Atomic<u32>,
}

impl Tokens {
    /// A queue of tasks that wait for tokens, of which there are none.
    fn new() -> Result<Arc<Self>> {
        attach_mm()?;
        Arc::pin_init(
            pin_init!(Self {
                queue <- WaitQueue::new(),
                left: Atomic::new(0),
                refused: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// Takes a token, if there is one.
    fn take(&self) -> bool {
        let left = self.left.load(Relaxed);
        let taken = left != 0 && self.left.cmpxchg(left, left - 1, Relaxed).is_ok();
        if !taken {
            self.refused.fetch_add(1, Relaxed);
        }
        taken
    }

    /// Adds a token, and wakes a task for it.
    fn give(&self) {
        self.left.fetch_add(1, Relaxed);
        self.queue.wake();
    }

    /// Waits until tasks have found no token that many times, after which they sleep.
    fn until_refused(&self, times: u32) -> Result {
        until(|| self.refused.load(Relaxed) == times)
    }
}

/// What polls a queue, and what it was told.
#[repr(C)]
struct Poller {
    /// This is first, so that a pointer to it is one to the poller.
    table: bindings::poll_table,
    entry: Opaque<bindings::wait_queue_entry>,
    queue: *mut bindings::wait_queue_head,
    /// How many times it was told.
    told: Atomic<u32>,
    /// The task states and the events that it was told last.
    mode: Atomic<u32>,
    events: Atomic<usize>,
}

impl Poller {
    fn new(flags: u32) -> Result<KBox<Self>> {
        let poller = KBox::new(
            Self {
                table: bindings::poll_table {
                    _qproc: Some(Self::enqueue),
                    _key: READABLE,
                },
                entry: Opaque::uninit(),
                queue: ptr::null_mut(),
                told: Atomic::new(0),
                mode: Atomic::new(0),
                events: Atomic::new(0),
            },
            GFP_KERNEL,
        )?;
        // SAFETY: The entry belongs to the new poller. The functions that add it to a queue set the
        // links.
        unsafe {
            let entry = poller.entry.get();
            entry.write(bindings::wait_queue_entry::default());
            (*entry).flags = flags;
            (*entry).func = Some(Self::tell);
        }
        Ok(poller)
    }

    /// The function that `poll_wait()` calls.
    ///
    /// # Safety
    ///
    /// `queue` must be valid. `table` must be that of a poller that is in no queue, and stays where
    /// it is until it has left this one.
    unsafe extern "C" fn enqueue(
        _file: *mut bindings::file,
        queue: *mut bindings::wait_queue_head,
        table: *mut bindings::poll_table,
    ) {
        let poller = table.cast::<Self>();
        // SAFETY: By the function's requirements, the pointers are valid, and the entry is in no
        // queue.
        unsafe {
            let entry = (*poller).entry.get();
            (*poller).queue = queue;
            (*entry).private = poller.cast();
            if (*entry).flags & bindings::WQ_FLAG_EXCLUSIVE != 0 {
                bindings::add_wait_queue_exclusive(queue, entry);
            } else {
                bindings::add_wait_queue(queue, entry);
            }
        }
    }

    /// The function that a wake calls.
    ///
    /// # Safety
    ///
    /// `entry` must be that of a poller.
    unsafe extern "C" fn tell(
        entry: *mut bindings::wait_queue_entry,
        mode: c_uint,
        _flags: c_int,
        events: *mut c_void,
    ) -> c_int {
        // SAFETY: By the function's requirements, the entry is that of a poller, and `enqueue` has
        // set `private`. The poller exists for as long as it is in the queue.
        let poller = unsafe { &*(*entry).private.cast::<Self>() };
        poller.told.fetch_add(1, Relaxed);
        poller.mode.store(mode, Relaxed);
        poller.events.store(events.addr(), Relaxed);
        1
    }

    /// Polls the queue.
    fn poll(&mut self, queue: &WaitQueue) {
        let table = ptr::from_mut(self).cast();
        // SAFETY: `enqueue` does not look at the file. The table is that of a boxed poller, which
        // the test cases take out of the queue before either of them is freed.
        unsafe { queue.poll_wait(ptr::null_mut(), table) };
    }

    /// Stops polling.
    fn leave(&mut self) {
        // SAFETY: `poll` has added the entry to this queue, which still exists.
        unsafe { bindings::remove_wait_queue(self.queue, self.entry.get()) };
    }
}

#[kunit_tests(rfutex_wait_queue)]
mod cases {
    use super::*;

    #[test]
    fn condition_that_is_true_needs_no_wake() -> Result {
        let tokens = Tokens::new()?;
        tokens.left.store(1, Relaxed);
        tokens.queue.wait_until(|| tokens.take())?;
        assert_eq!(tokens.left.load(Relaxed), 0);
        assert!(tokens.queue.is_empty());
        Ok(())
    }

    #[test]
    fn one_task_is_woken_for_each_wake_in_order() -> Result {
        let tokens = Tokens::new()?;
        let start = || {
            let theirs = tokens.clone();
            beside(move || theirs.queue.wait_until(|| theirs.take()))
        };
        let first = start()?;
        tokens.until_refused(1)?;
        let second = start()?;
        tokens.until_refused(2)?;
        assert!(is_asleep(first.task()) && is_asleep(second.task()));
        tokens.give();
        assert!(is_asleep(second.task()));
        first.join()??;
        assert!(is_asleep(second.task()));
        tokens.give();
        second.join()??;
        // Neither of them was woken for nothing.
        assert_eq!(tokens.refused.load(Relaxed), 2);
        assert!(tokens.queue.is_empty());
        Ok(())
    }

    #[test]
    fn sleeper_that_was_woken_for_nothing_sleeps_again() -> Result {
        let tokens = Tokens::new()?;
        let theirs = tokens.clone();
        let sleeper = beside(move || theirs.queue.wait_until(|| theirs.take()))?;
        tokens.until_refused(1)?;
        tokens.queue.wake();
        tokens.until_refused(2)?;
        tokens.give();
        sleeper.join()??;
        Ok(())
    }

    #[test]
    fn sleeper_can_be_frozen_and_interrupted() -> Result {
        let tokens = Tokens::new()?;
        let theirs = tokens.clone();
        let sleeper = beside(move || theirs.queue.wait_until(|| theirs.take()))?;
        tokens.until_refused(1)?;
        assert_eq!(
            state(sleeper.task()),
            (TASK_INTERRUPTIBLE | TASK_FREEZABLE) as u32
        );
        tokens.give();
        sleeper.join()??;
        Ok(())
    }

    #[test]
    fn condition_comes_before_the_signal() -> Result {
        let tokens = Tokens::new()?;
        tokens.left.store(1, Relaxed);
        let (with_token, without) = killed(|| {
            (
                tokens.queue.wait_until(|| tokens.take()),
                tokens.queue.wait_until(|| tokens.take()),
            )
        });
        assert_eq!(with_token, Ok(()));
        assert_eq!(without, Err(ERESTARTSYS));
        // It has looked once, and has not slept.
        assert_eq!(tokens.refused.load(Relaxed), 1);
        assert!(tokens.queue.is_empty());
        Ok(())
    }

    #[test]
    fn signal_ends_a_sleep() -> Result {
        let tokens = Tokens::new()?;
        let theirs = tokens.clone();
        let sleeper = beside(move || mortal(|| theirs.queue.wait_until(|| theirs.take())))?;
        tokens.until_refused(1)?;
        kill(sleeper.task())?;
        assert_eq!(sleeper.join()?, Err(ERESTARTSYS));
        assert!(tokens.queue.is_empty());
        Ok(())
    }

    #[test]
    fn wake_does_not_choose_a_task_that_gives_up() -> Result {
        let tokens = Tokens::new()?;
        let theirs = tokens.clone();
        let mut looked = 0;
        let first = beside(move || {
            mortal(|| {
                theirs.queue.wait_until(|| {
                    looked += 1;
                    if looked == 2 {
                        // The signal has woken this task, which finds nothing, and a wake comes
                        // just then.
                        theirs.give();
                        return false;
                    }
                    theirs.take()
                })
            })
        })?;
        tokens.until_refused(1)?;
        let theirs = tokens.clone();
        let second = beside(move || theirs.queue.wait_until(|| theirs.take()))?;
        tokens.until_refused(2)?;
        kill(first.task())?;
        assert_eq!(first.join()?, Err(ERESTARTSYS));
        let taken = until(|| tokens.left.load(Relaxed) == 0);
        // If the wake was lost, the second one must not sleep for ever.
        tokens.queue.wake();
        second.join()??;
        assert_eq!(taken, Ok(()));
        Ok(())
    }

    #[test]
    fn each_poller_is_told_what_it_may_wait_for() -> Result {
        let tokens = Tokens::new()?;
        let mut pollers = [Poller::new(0)?, Poller::new(0)?];
        for poller in &mut pollers {
            poller.poll(&tokens.queue);
        }
        assert!(!tokens.queue.is_empty());
        tokens.queue.wake();
        for poller in &pollers {
            assert_eq!(poller.told.load(Relaxed), 1);
            assert_eq!(poller.mode.load(Relaxed), TASK_NORMAL);
            assert_eq!(
                poller.events.load(Relaxed) as u32,
                bindings::POLLIN | bindings::POLLRDNORM
            );
        }
        for poller in &mut pollers {
            poller.leave();
        }
        tokens.queue.wake();
        for poller in &pollers {
            assert_eq!(poller.told.load(Relaxed), 1);
        }
        assert!(tokens.queue.is_empty());
        Ok(())
    }

    #[test]
    fn one_of_the_exclusive_pollers_is_told() -> Result {
        let tokens = Tokens::new()?;
        let exclusive = bindings::WQ_FLAG_EXCLUSIVE;
        let mut pollers = [
            Poller::new(exclusive)?,
            Poller::new(exclusive)?,
            Poller::new(0)?,
        ];
        for poller in &mut pollers {
            poller.poll(&tokens.queue);
        }
        tokens.queue.wake();
        let told = [0, 1, 2].map(|i: usize| pollers[i].told.load(Relaxed));
        for poller in &mut pollers {
            poller.leave();
        }
        assert_eq!(told, [1, 0, 1]);
        Ok(())
    }

    #[test]
    fn who_does_not_ask_is_not_told() -> Result {
        let tokens = Tokens::new()?;
        // SAFETY: Without a table, nobody is added to the queue.
        unsafe { tokens.queue.poll_wait(ptr::null_mut(), ptr::null_mut()) };
        assert!(tokens.queue.is_empty());
        Ok(())
    }
}
