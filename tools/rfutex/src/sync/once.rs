// SPDX-License-Identifier: MIT OR Apache-2.0
//! The initialization that is done once: the four states of the standard library's `Once`,
//! less the poison.

use super::os::{self, AtomicU8, Ordering, Scope, Shared};
use std::marker::PhantomData;

const NEW: u8 = 0;
const RUNNING: u8 = 1;
/// It runs, and somebody may sleep until it is done.
const AWAITED: u8 = 2;
const DONE: u8 = 3;

/// Something that is done once, by whoever comes first; the others wait until it is done.
///
/// Zeroed, it is not done yet. A process that is killed while it does it leaves the others
/// waiting.
///
/// ```
/// use rfutex::sync::Once;
///
/// static START: Once = Once::new();
///
/// START.call_once(|| println!("only once"));
/// START.call_once(|| unreachable!());
/// assert!(START.is_completed());
/// ```
#[repr(transparent)]
pub struct Once<S: Scope = Shared> {
    pub(super) state: AtomicU8,
    pub(super) scope: PhantomData<S>,
}

/// Sets the state in the end, also if the function panics.
struct End<'a, S: Scope>(&'a Once<S>, u8);

impl<S: Scope> Drop for End<'_, S> {
    fn drop(&mut self) {
        if self.0.state.swap(self.1, Ordering::Release) == AWAITED {
            os::wake::<S, _>(&self.0.state, u32::MAX, os::ANY);
        }
    }
}

impl<S: Scope> Once<S> {
    /// Whether it is done.
    #[inline]
    pub fn is_completed(&self) -> bool {
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Calls `f` if it is not done yet, or waits until another thread that does has
    /// finished. Then it is done, and what `f` has written can be seen.
    ///
    /// If `f` panics, it is not done, and the next that calls this does it.
    /// If `f` calls this on the same `Once`, it waits forever.
    #[inline]
    pub fn call_once(&self, f: impl FnOnce()) {
        if !self.is_completed() {
            self.call_slow(f);
        }
    }

    #[cold]
    fn call_slow(&self, f: impl FnOnce()) {
        let mut spins = os::SPINS;
        loop {
            let state = self.state.load(Ordering::Acquire);
            let (next, success) = match state {
                DONE => return,
                NEW => (RUNNING, Ordering::Acquire),
                AWAITED => {
                    os::wait::<S, _>(&self.state, AWAITED.into(), os::ANY, None);
                    continue;
                }
                _ if spins > 0 => {
                    spins -= 1;
                    os::spin_loop();
                    continue;
                }
                _ => (AWAITED, Ordering::Relaxed),
            };
            let exchange = self
                .state
                .compare_exchange(state, next, success, Ordering::Relaxed);
            if exchange.is_ok() && next == RUNNING {
                let mut end = End(self, NEW);
                f();
                end.1 = DONE;
                return;
            }
        }
    }
}
