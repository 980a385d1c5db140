// SPDX-License-Identifier: GPL-2.0

//! Tests of who ends a request, and with what result.
//!
//! The commands are made up: no ring knows them, so that they cannot be completed. Requests are
//! taken off the list of those that were claimed before it would do that. What io_uring does with
//! a command is left to the selftests.

use super::{
    requests::Request,
    *, //
};
use crate::{
    bindings as helpers,
    key::{
        Hold,
        KeyId,
        Kind,
        OwnedKey, //
    },
    lab::{
        kunit::{
            attach_mm,
            forced,
            nobody_waits, //
        },
        Point, //
    },
    table::Table,
    wake_chain::WakeChain, //
};
use core::ptr;
use kernel::sync::Arc;

/// A key that all tests here use.
fn key() -> KeyId {
    KeyId::made_up(Kind::Inode, 1 << 61 | 4713, 64)
}

/// Another one.
fn other_key() -> KeyId {
    KeyId::made_up(Kind::Inode, 1 << 61 | 4714, 64)
}

/// The address of a ring that is not there.
fn ring(nr: usize) -> *mut c_void {
    ptr::without_provenance_mut(nr << 12)
}

/// A table with one bucket, no requests, and the commands that were made up.
struct Bench {
    // Dropped in this order: requests need the table, and the commands.
    requests: Pin<KBox<Requests>>,
    commands: KVec<MadeUp>,
    table: Arc<Table>,
}

/// A command that no ring knows.
struct MadeUp(NonNull<bindings::io_uring_cmd>);

impl Drop for MadeUp {
    fn drop(&mut self) {
        // SAFETY: The command was made up by `Bench::insert`. No request has it any more, because
        // those are dropped before it.
        unsafe { helpers::rfutex_uring_free_made_up(self.0.as_ptr()) };
    }
}

impl Bench {
    fn new() -> Result<Self> {
        attach_mm()?;
        Ok(Self {
            requests: KBox::pin_init(Requests::new(), GFP_KERNEL)?,
            commands: KVec::new(),
            table: Table::new(1, Hold::Inode)?,
        })
    }

    /// Makes up a command that `ring` has submitted with this `user_data`, and a request of it.
    /// Queues that on the key if `equal` is true.
    fn submit(&mut self, ring: *mut c_void, user_data: u64, equal: bool) -> Result {
        // SAFETY: The function has no requirements.
        let command = unsafe { helpers::rfutex_uring_make_up(ring, user_data) };
        let command = NonNull::new(command).ok_or(ENOMEM)?;
        self.commands.push(MadeUp(command), GFP_KERNEL)?;
        // SAFETY: The command is freed only after the requests were dropped.
        let request = unsafe { self.requests.insert(command, u64::MAX, About::made_up()) }?;
        let compare = || if equal { Ok(()) } else { Err(()) };
        // SAFETY: The function has no requirements but that the command is valid, as it is.
        let queued = |request: NonNull<Request>| unsafe {
            helpers::rfutex_uring_set_request(command.as_ptr(), request.as_ptr().cast());
        };
        // SAFETY: The requests are dropped before the table.
        unsafe { request.queue_if(&self.table, key(), compare, queued) }
            .map_err(|(_taken_back, ())| EAGAIN)
    }

    /// Submits one request for each `user_data`, by the same ring.
    fn submit_all(&mut self, all: &[u64]) -> Result {
        all.iter()
            .try_for_each(|&user_data| self.submit(ring(1), user_data, true))
    }

    /// Wakes up to `nr` waiters on `key`. Returns what it has returned, and who was claimed.
    fn wake(&self, key: KeyId, nr: u32) -> (u32, [(u64, i32); 4]) {
        let mut chain = WakeChain::new();
        let slot = self.table.slot(key);
        let woken = slot.wake(key, u64::MAX, nr, &mut chain);
        (woken, self.end(chain.requests()))
    }

    /// Cancels the requests of `ring` with this `user_data`. Returns what [`Self::wake`] does.
    fn cancel(&self, ring: *mut c_void, user_data: u64) -> (u32, [(u64, i32); 4]) {
        let mut claimed = Claimed::new();
        let nr = self.requests.cancel(ring, user_data, &mut claimed);
        (nr, self.end(&mut claimed))
    }

    /// Ends all requests of the list, as their tasks would do. Returns the `user_data` and the
    /// result of the first four.
    fn end(&self, claimed: &mut Claimed) -> [(u64, i32); 4] {
        let mut seen = [(0, 0); 4];
        let mut nr = 0;
        while let Some(request) = claimed.pop() {
            if let Some(seen) = seen.get_mut(nr) {
                *seen = outcome(request);
            }
            nr += 1;
            // SAFETY: The request was taken out of its queue, and off the list.
            unsafe { self.requests.free(request) };
        }
        seen
    }
}

/// The `user_data` of a request that was claimed, and the result that it has.
fn outcome(request: NonNull<Request>) -> (u64, i32) {
    // SAFETY: The request is valid until the caller frees it.
    let request = unsafe { request.as_ref() };
    // SAFETY: The command is valid for as long as the request.
    let user_data = unsafe { helpers::rfutex_uring_user_data(request.command.as_ptr()) };
    (user_data, request.result.get())
}

/// The result of a request that was cancelled.
fn cancelled() -> i32 {
    ECANCELED.to_errno()
}

/// Nobody.
const NONE: (u64, i32) = (0, 0);

#[kunit_tests(rfutex_uring)]
mod all {
    use super::*;

    #[test]
    fn wake_claims_in_the_order_of_the_queue() -> Result {
        let mut bench = Bench::new()?;
        bench.submit_all(&[1, 2, 3])?;
        assert_eq!(bench.table.slot(key()).nr_waiters(), 3);
        assert!(bench.wake(key(), 2) == (2, [(1, 0), (2, 0), NONE, NONE]));
        assert_eq!(bench.requests.nr(), 1);
        assert!(bench.wake(key(), 9) == (1, [(3, 0), NONE, NONE, NONE]));
        assert!(bench.wake(key(), 9) == (0, [NONE; 4]));
        assert_eq!(bench.requests.nr(), 0);
        assert!(nobody_waits(&bench.table));
        Ok(())
    }

    #[test]
    fn command_knows_its_request() -> Result {
        let mut bench = Bench::new()?;
        bench.submit_all(&[1, 2])?;
        let mut claimed = Claimed::new();
        assert_eq!(bench.requests.cancel(ring(1), 2, &mut claimed), 1);
        let request = claimed.pop().ok_or(EDOM)?;
        assert!(claimed.pop().is_none());
        // SAFETY: The command was made up for this request, which was queued.
        assert!(unsafe { request_of(bench.commands[1].0) } == request);
        // SAFETY: The request was taken out of its queue, and off the list.
        unsafe { bench.requests.free(request) };
        bench.wake(key(), 1);
        Ok(())
    }

    #[test]
    fn cancel_matches_ring_and_user_data() -> Result {
        let mut bench = Bench::new()?;
        for (nr, user_data) in [(1, 7), (2, 7), (1, 8), (1, 7)] {
            bench.submit(ring(nr), user_data, true)?;
        }
        assert!(bench.cancel(ring(3), 7) == (0, [NONE; 4]));
        assert!(bench.cancel(ring(1), 9) == (0, [NONE; 4]));
        let both = [(7, cancelled()), (7, cancelled()), NONE, NONE];
        assert!(bench.cancel(ring(1), 7) == (2, both));
        assert!(bench.cancel(ring(1), 7) == (0, [NONE; 4]));
        assert!(bench.wake(key(), 9) == (2, [(7, 0), (8, 0), NONE, NONE]));
        assert!(nobody_waits(&bench.table));
        Ok(())
    }

    #[test]
    fn all_are_looked_at() -> Result {
        let mut bench = Bench::new()?;
        for nr in 0..200 {
            bench.submit(ring(1), nr % 2, true)?;
        }
        assert_eq!(bench.cancel(ring(1), 1).0, 100);
        assert_eq!(bench.requests.nr(), 100);
        assert_eq!(bench.wake(key(), u32::MAX).0, 100);
        assert_eq!(bench.requests.nr(), 0);
        Ok(())
    }

    #[test]
    fn who_was_woken_is_not_cancelled() -> Result {
        let mut bench = Bench::new()?;
        bench.submit_all(&[1, 1])?;
        let mut chain = WakeChain::new();
        let slot = bench.table.slot(key());
        assert_eq!(slot.wake(key(), u64::MAX, 1, &mut chain), 1);
        // The first one is claimed, but not completed yet.
        assert_eq!(bench.requests.nr(), 2);
        // SAFETY: The command was queued.
        let first = unsafe { request_of(bench.commands[0].0) };
        // SAFETY: The request is freed only below.
        assert!(!unsafe { first.as_ref() }.node.leave());
        assert!(bench.cancel(ring(1), 1) == (1, [(1, cancelled()), NONE, NONE, NONE]));
        assert!(bench.end(chain.requests()) == [(1, 0), NONE, NONE, NONE]);
        assert_eq!(bench.requests.nr(), 0);
        Ok(())
    }

    #[test]
    fn who_was_cancelled_is_not_woken() -> Result {
        let mut bench = Bench::new()?;
        bench.submit_all(&[1, 2])?;
        let mut claimed = Claimed::new();
        assert_eq!(bench.requests.cancel(ring(1), 1, &mut claimed), 1);
        // The first one is claimed, but not completed yet.
        assert!(bench.wake(key(), 9) == (1, [(2, 0), NONE, NONE, NONE]));
        assert!(bench.cancel(ring(1), 1) == (0, [NONE; 4]));
        assert!(bench.end(&mut claimed) == [(1, cancelled()), NONE, NONE, NONE]);
        Ok(())
    }

    #[test]
    fn who_was_moved_is_cancelled_there() -> Result {
        let mut bench = Bench::new()?;
        bench.submit_all(&[1, 2])?;
        let mut chain = WakeChain::new();
        let mut pair = bench.table.pair(key(), other_key());
        let [from, to] = [key(), other_key()].map(OwnedKey::bare);
        assert_eq!(pair.move_waiters(&from, &to, 1, &mut chain), 1);
        drop((pair, chain));
        assert!(bench.cancel(ring(1), 1) == (1, [(1, cancelled()), NONE, NONE, NONE]));
        assert!(bench.wake(other_key(), 9) == (0, [NONE; 4]));
        assert!(bench.wake(key(), 9) == (1, [(2, 0), NONE, NONE, NONE]));
        assert!(nobody_waits(&bench.table));
        Ok(())
    }

    #[test]
    fn who_was_not_queued_is_taken_back() -> Result {
        let mut bench = Bench::new()?;
        assert!(bench.submit(ring(1), 1, false) == Err(EAGAIN));
        assert_eq!(bench.requests.nr(), 0);
        assert!(nobody_waits(&bench.table));
        let (result, hits) = forced(Point::Allocate, 1, || bench.submit(ring(1), 1, true));
        assert!(result == Err(ENOMEM));
        assert_eq!(hits, 1);
        assert_eq!(bench.requests.nr(), 0);
        assert!(nobody_waits(&bench.table));
        Ok(())
    }
}
