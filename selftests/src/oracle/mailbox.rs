// SPDX-License-Identifier: GPL-2.0
//! How the conductor and an actor talk: in memory that their processes share. The actor sleeps
//! until there is an order; the conductor looks now and then whether it is done.

use super::call::Order;
use crate::harness::Mapping;
use nix::sys::eventfd::EventFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// No order is longer, in bytes.
const LONGEST: usize = 4000;

/// Where things are in the memory, in bytes.
const STATE: usize = 0;
const LEN: usize = 4;
const RESULT: usize = 8;
const ORDER: usize = 16;

const IDLE: u32 = 0;
const DONE: u32 = 1;

/// Orders for one actor, and its replies.
#[derive(Clone, Debug)]
pub struct Mailbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: Mapping,
    /// How many orders there are that the actor has not seen.
    orders: EventFd,
}

impl Mailbox {
    /// An empty one.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            memory: Mapping::shared(ORDER + LONGEST),
            orders: EventFd::new().expect("eventfd"),
        }))
    }

    fn state(&self) -> &AtomicU32 {
        self.0.memory.atomic(STATE)
    }

    fn len(&self) -> &AtomicU32 {
        self.0.memory.atomic(LEN)
    }

    fn result(&self) -> &AtomicU64 {
        self.0.memory.atomic(RESULT)
    }

    /// Gives the actor an order. The last one must be done.
    pub fn order(&self, order: &Order) {
        let bytes = postcard::to_allocvec(order).expect("an order can be encoded");
        assert!(bytes.len() <= LONGEST, "{} bytes", bytes.len());
        self.0.memory.write(ORDER, &bytes);
        self.len().store(bytes.len() as u32, Ordering::Relaxed);
        self.0.orders.write(1).expect("eventfd");
    }

    /// What came of the order, once it is done.
    pub fn take(&self) -> Option<i64> {
        let done = self.state().swap(IDLE, Ordering::AcqRel) == DONE;
        done.then(|| self.result().load(Ordering::Relaxed) as i64)
    }

    /// For the actor: waits for an order.
    pub fn wait(&self) -> Order {
        while let Err(error) = self.0.orders.read() {
            assert_eq!(error, nix::Error::EINTR, "eventfd");
        }
        let len = self.len().load(Ordering::Relaxed) as usize;
        let bytes = self.0.memory.read(ORDER, len);
        postcard::from_bytes(&bytes).expect("one of our orders")
    }

    /// For the actor: the order is done.
    pub fn done(&self, result: i64) {
        self.result().store(result as u64, Ordering::Relaxed);
        self.state().store(DONE, Ordering::Release);
    }
}
