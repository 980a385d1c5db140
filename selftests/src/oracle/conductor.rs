// SPDX-License-Identifier: GPL-2.0
//! Gives orders, and sees what comes of them.
//!
//! After each order the conductor waits until everything is quiet: each call has returned, or its
//! thread sleeps in it. A waker makes a sleeper runnable before its own call returns, and from
//! then on the sleeper is not seen to sleep: so what is quiet stays quiet until the next order, and
//! what one call did is never taken for what another did. Where a watch or a request waits for a
//! thread, nobody sleeps: the thread is asked about it once the others are quiet. (Where a call
//! says that it woke nobody, nobody is looked at or asked: whom it woke all the same, comes back at
//! a later step.)

use super::backend;
use super::call::{ARMED, Backend, Call, Device, Means, Order};
use super::owner::Named;
use super::pool::{Id, Pool};
use super::script::{Resolver, Size};
use crate::harness::LIMIT;
use nix::sched::sched_yield;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A thread neither came back nor went to sleep, or did not come back when it had to.
#[derive(Debug)]
pub struct Stuck(pub String);

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a call is expected to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By somebody else, perhaps never.
    Open,
    /// By itself, now.
    Due,
    /// By somebody else, perhaps never, but nobody sleeps in it: the thread has to be asked.
    Armed,
    /// Not at all for now: its process is stopped.
    Held,
}

/// The pool, and who in it is busy.
#[derive(Debug)]
pub struct Conductor {
    /// The threads.
    pub pool: Pool,
    busy: BTreeMap<Id, End>,
    /// Replies that nobody asked for yet.
    replies: BTreeMap<Id, i64>,
    priorities: HashMap<Id, u8>,
    round: usize,
}

impl Conductor {
    /// Starts the pool.
    pub fn new() -> Self {
        Self {
            pool: Pool::new(),
            busy: BTreeMap::new(),
            replies: BTreeMap::new(),
            priorities: HashMap::new(),
            round: 0,
        }
    }

    /// A number for a play that has memory of its own.
    pub fn next_round(&mut self) -> usize {
        self.round += 1;
        self.round
    }

    /// Whether a thread carries out an order.
    pub fn is_busy(&self, id: Id) -> bool {
        self.busy.contains_key(&id)
    }

    /// Whether something else waits for a thread, which can be asked about it.
    pub fn is_armed(&self, id: Id) -> bool {
        self.busy.get(&id) == Some(&End::Armed)
    }

    /// The threads that carry out orders.
    pub fn busy(&self) -> impl Iterator<Item = Id> {
        self.busy.keys().copied()
    }

    /// Gives an order, and waits until all is quiet. What it returned; `None` if it sleeps.
    ///
    /// # Errors
    ///
    /// It is not quiet within [`LIMIT`].
    pub fn order(&mut self, id: Id, order: &Order, end: End) -> Result<Option<i64>, Stuck> {
        self.launch(id, order, end);
        // Others are looked at when this one is done with them.
        self.quiet_all(&[id])?;
        let result = self.replies.remove(&id);
        if result == Some(ARMED) {
            self.expect(id, End::Armed);
            return Ok(None);
        }
        if order.call.may_have_woken(result) {
            self.quiet()?;
        }
        Ok(result)
    }

    /// Gives an order, and waits for nothing.
    pub fn launch(&mut self, id: Id, order: &Order, end: End) {
        self.pool.thread(id).mailbox.order(order);
        self.busy.insert(id, end);
    }

    /// As [`order`](Self::order), for what does not sleep.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn errand(&mut self, id: Id, order: &Order) -> Result<i64, Stuck> {
        let result = self.order(id, order, End::Due)?;
        Ok(result.expect("what is due ends"))
    }

    /// As [`errand`](Self::errand), by a thread of a process that is no actor.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn help(&mut self, process: usize, order: &Order) -> Result<i64, Stuck> {
        let result = self.help_unheard(process, order)?;
        if order.call.may_have_woken(Some(result)) {
            self.quiet()?;
        }
        Ok(result)
    }

    /// As [`help`](Self::help), but those who were woken are not looked at yet, nor asked.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn help_unheard(&mut self, process: usize, order: &Order) -> Result<i64, Stuck> {
        let Some(id) = Pool::helper(process) else {
            return Ok(backend::carry_out(order));
        };
        self.launch(id, order, End::Due);
        self.quiet_all(&[id])?;
        Ok(self.replies.remove(&id).expect("what is due ends"))
    }

    /// Says how a busy thread's call is to end now.
    pub fn expect(&mut self, id: Id, end: End) {
        self.busy.insert(id, end);
    }

    /// Forgets the threads of a process, which is gone.
    pub fn forget(&mut self, process: usize) {
        self.busy.retain(|id, _| id.process != process);
        self.replies.retain(|id, _| id.process != process);
        self.priorities.retain(|id, _| id.process != process);
    }

    /// The calls that have ended since the last question, with what they returned.
    pub fn ended(&mut self) -> BTreeMap<Id, i64> {
        std::mem::take(&mut self.replies)
    }

    /// Waits until all is quiet.
    ///
    /// # Errors
    ///
    /// As [`order`](Self::order).
    pub fn quiet(&mut self) -> Result<(), Stuck> {
        let all: Vec<_> = self.busy().collect();
        self.quiet_all(&all)?;
        let armed: Vec<_> = all.into_iter().filter(|id| self.is_armed(*id)).collect();
        for id in &armed {
            self.launch(*id, &anybody(Call::Ask), End::Due);
        }
        self.quiet_all(&armed)?;
        for id in armed {
            if self.replies.get(&id) == Some(&ARMED) {
                self.replies.remove(&id);
                self.expect(id, End::Armed);
            }
        }
        Ok(())
    }

    fn quiet_all(&mut self, ids: &[Id]) -> Result<(), Stuck> {
        let start = Instant::now();
        loop {
            self.collect();
            let loud = ids.iter().find(|id| !self.is_quiet(**id)).copied();
            // Who was seen asleep has not replied meanwhile.
            if loud.is_none() && !self.collect() {
                return Ok(());
            }
            if let Some(id) = loud
                && start.elapsed() > LIMIT
            {
                return Err(self.stuck(id));
            }
            pause(start.elapsed());
        }
    }

    fn is_quiet(&self, id: Id) -> bool {
        match self.busy.get(&id) {
            None | Some(End::Armed | End::Held) => true,
            Some(End::Due) => false,
            Some(End::Open) => self.pool.thread(id).probe.sleeps(),
        }
    }

    /// Takes what has come. Whether anything has.
    pub fn collect(&mut self) -> bool {
        let pool = &self.pool;
        let before = self.busy.len();
        self.busy
            .retain(|id, _| match pool.thread(*id).mailbox.take() {
                Some(result) => {
                    self.replies.insert(*id, result);
                    false
                }
                None => true,
            });
        self.busy.len() < before
    }

    fn stuck(&self, id: Id) -> Stuck {
        let described = self.pool.thread(id).probe.describe();
        let wanted = match self.busy.get(&id) {
            Some(End::Due) => "does not return, as it must",
            _ => "neither returns nor sleeps",
        };
        Stuck(format!("a call {wanted} within {LIMIT:?}: {described}"))
    }

    /// Makes a thread a real-time one, or none with 0.
    ///
    /// # Errors
    ///
    /// As [`order`](Self::order).
    pub fn set_priority(&mut self, id: Id, priority: u8) -> Result<(), Stuck> {
        if self.priorities.get(&id).copied().unwrap_or(0) != priority {
            let result = self.errand(id, &anybody(Call::Priority { priority }))?;
            assert_eq!(result, 0, "a priority of {priority}");
            self.priorities.insert(id, priority);
        }
        Ok(())
    }
}

/// An order that is the same for all backends.
fn anybody(call: Call) -> Order {
    let means = Means {
        backend: Backend::Futex,
        size: Size::default(),
        device: Device::Shared(Resolver::default()),
        owner: Named::default(),
    };
    Order { means, call }
}

/// Lets the actors run, after so long a wait.
pub fn pause(waited: Duration) {
    if waited < Duration::from_millis(5) {
        let _ = sched_yield();
    } else {
        sleep(Duration::from_micros(200));
    }
}
