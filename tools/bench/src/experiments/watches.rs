// SPDX-License-Identifier: GPL-2.0
//! The memory that the kernel has for somebody who waits and does not sleep.

use super::{Scope, alone, tell};
use crate::cgroup::Group;
use crate::memory::Memory;
use crate::rows::watch_set;
use crate::side::Side;
use crate::uring::{Request, Ring};
use rfutex::{WatchOptions, Word};

/// How many wait: as many watches as a user can have by default.
const NR: u32 = 1 << 16;

/// Requests that are submitted in one call.
const BATCH: u32 = 1 << 12;

/// Counts it, for each side.
pub fn run(scope: &Scope) {
    for &side in &scope.sides {
        alone(|| armed(side));
    }
}

/// Arms all of them on one word. The process ends with them.
fn armed(side: Side) {
    let group = Group::enter();
    let [word] = Memory::Shared.words();
    let bytes = match side {
        Side::Native => {
            let mut ring = Ring::new(BATCH, NR);
            let wait = Request::futex_wait(word, 0);
            charged(&group, || submit(&mut ring, &wait))
        }
        Side::Ours(device, _) => {
            let set = watch_set(device);
            let add = |word: Word<'_>| {
                let id = set.add(word, 0, 0, WatchOptions::default());
                id.expect("a watch")
            };
            // What is allocated once.
            set.remove(add(word)).expect("the watch");
            charged(&group, || {
                for _ in 0..NR {
                    add(word);
                }
            })
        }
    };
    tell(
        "watches",
        Memory::Shared.name(),
        Some(NR.into()),
        side.name(),
        &[("bytes charged", bytes)],
    );
}

fn submit(ring: &mut Ring, request: &Request) {
    for _ in 0..NR / BATCH {
        for _ in 0..BATCH {
            ring.push(request);
        }
        assert_eq!(ring.submit(0), BATCH as usize);
    }
}

/// The bytes that are charged to the memory cgroup for each of those that `arm` arms.
fn charged(group: &Group, arm: impl FnOnce()) -> f64 {
    let before = group.memory();
    arm();
    (group.memory() - before) as f64 / f64::from(NR)
}
