// SPDX-License-Identifier: MIT OR Apache-2.0
//! Semaphore, barrier, once and latch.

use super::*;
use crate::barrier::Barrier;
use crate::latch::Latch;
use crate::once::Once;
use crate::os::{AtomicU8, AtomicU32, AtomicU64, Deadline, Shared};
use crate::semaphore::Semaphore;

mod semaphores {
    use super::*;

    struct Guarded {
        semaphore: Semaphore<Shared>,
        data: Data,
    }

    fn with_permits(permits: u32) -> Guarded {
        Guarded {
            semaphore: Semaphore {
                state: AtomicU32::new(permits),
                scope: PhantomData,
            },
            data: Data::new(),
        }
    }

    fn one() -> Guarded {
        with_permits(1)
    }

    fn none() -> Guarded {
        with_permits(0)
    }

    fn add(all: &Guarded) {
        all.semaphore.acquire();
        all.data.add();
        all.semaphore.release(1);
    }

    fn add_twice(all: &Guarded) {
        add(all);
        add(all);
    }

    fn acquire(all: &Guarded) {
        all.semaphore.acquire();
    }

    fn release_one(all: &Guarded) {
        all.semaphore.release(1);
    }

    fn release_two(all: &Guarded) {
        all.semaphore.release(2);
    }

    fn release_in_turn(all: &Guarded) {
        all.semaphore.release(1);
        all.semaphore.release(1);
    }

    /// If there is no permit in time, it waits for as long as it takes.
    fn acquire_in_time(all: &Guarded) {
        if !all.semaphore.try_acquire() && !all.semaphore.acquire_slow(Some(Deadline(1))) {
            all.semaphore.acquire();
        }
    }

    fn time_passes(all: &Guarded) {
        Deadline(1).pass(&all.semaphore.state);
    }

    fn permits<const N: u32>(all: &Guarded) {
        assert_eq!(all.semaphore.available(), N);
    }

    #[test]
    fn as_a_lock() {
        let end = |all: &Guarded| assert_eq!(all.data.get(), 4);
        check(Some(3), one, &[add_twice, add_twice], end);
        let end = |all: &Guarded| assert_eq!(all.data.get(), 3);
        check(Some(2), one, &[add, add, add], end);
    }

    #[test]
    fn one_release_for_two() {
        check(
            Some(1),
            none,
            &[acquire, acquire, release_two],
            permits::<0>,
        );
    }

    #[test]
    fn two_releases_for_two() {
        check(
            Some(1),
            none,
            &[acquire, acquire, release_in_turn],
            permits::<0>,
        );
        let both = |all: &Guarded| {
            acquire(all);
            acquire(all);
        };
        check(
            Some(2),
            none,
            &[both, release_one, release_one],
            permits::<0>,
        );
    }

    #[test]
    fn one_gives_up() {
        check(
            Some(2),
            none,
            &[acquire_in_time, release_one, time_passes],
            permits::<0>,
        );
        let late = |all: &Guarded| {
            time_passes(all);
            release_two(all);
        };
        check(
            Some(1),
            none,
            &[acquire_in_time, acquire, late],
            permits::<0>,
        );
    }

    #[test]
    fn faults_are_found() {
        finds_each(&COMMON, one, &[add, add], |all| {
            assert_eq!(all.data.get(), 2);
        });
    }
}

mod barriers {
    use super::*;

    struct Meeting {
        barrier: Barrier<Shared>,
        data: [Data; 3],
        last: std::sync::atomic::AtomicU32,
    }

    fn of(threads: u32) -> Meeting {
        Meeting {
            barrier: Barrier {
                state: AtomicU64::new(0),
                over: AtomicU32::new(0),
                threads: AtomicU32::new(threads),
                scope: PhantomData,
            },
            data: [Data::new(), Data::new(), Data::new()],
            last: 0.into(),
        }
    }

    fn wait(all: &Meeting) {
        if all.barrier.wait() {
            all.last.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Before it meets the others, a thread writes what is its own; afterwards it sees theirs.
    fn meet<const ME: usize, const ROUNDS: u32>(all: &Meeting) {
        for round in 1..=ROUNDS {
            all.data[ME].add();
            wait(all);
            let count = all.barrier.threads.load(Ordering::Relaxed) as usize;
            all.data[..count]
                .iter()
                .for_each(|data| assert_eq!(data.get(), round));
            wait(all);
        }
    }

    /// What the others did before they came can be seen.
    fn come<const ME: usize>(all: &Meeting) {
        all.data[ME].add();
        wait(all);
        all.data.iter().for_each(|data| assert_eq!(data.get(), 1));
    }

    fn each_had_a_last<const N: u32>(all: &Meeting) {
        assert_eq!(all.last.load(Ordering::Relaxed), N);
    }

    #[test]
    fn two_threads_again_and_again() {
        let threads: [Thread<Meeting>; 2] = [meet::<0, 2>, meet::<1, 2>];
        check(Some(2), || of(2), &threads, each_had_a_last::<4>);
    }

    #[test]
    fn three_threads() {
        let threads: [Thread<Meeting>; 3] = [come::<0>, come::<1>, come::<2>];
        check(Some(2), || of(3), &threads, each_had_a_last::<1>);
    }

    /// Four threads at a barrier for two: two rounds, whoever meets whom.
    #[test]
    fn more_threads_than_it_is_for() {
        check(
            Some(1),
            || of(2),
            &[wait, wait, wait, wait],
            each_had_a_last::<2>,
        );
    }

    #[test]
    fn faults_are_found() {
        let threads: [Thread<Meeting>; 2] = [meet::<0, 1>, meet::<1, 1>];
        finds_each(&COMMON, || of(2), &threads, each_had_a_last::<2>);
    }
}

mod once_and_latch {
    use super::*;

    struct Started {
        once: Once<Shared>,
        latch: Latch<Shared>,
        data: Data,
    }

    fn with_count(count: u32) -> Started {
        Started {
            once: Once {
                state: AtomicU8::new(0),
                scope: PhantomData,
            },
            latch: Latch {
                state: AtomicU32::new(count),
                scope: PhantomData,
            },
            data: Data::new(),
        }
    }

    fn two() -> Started {
        with_count(2)
    }

    fn once(all: &Started) {
        all.once.call_once(|| all.data.add());
        assert_eq!(all.data.get(), 1);
    }

    fn was_once(all: &Started) {
        assert!(all.once.is_completed());
    }

    #[test]
    fn one_does_it() {
        check(None, two, &[once, once], was_once);
        check(Some(3), two, &[once, once, once], was_once);
    }

    #[test]
    fn faults_of_once_are_found() {
        let faults = [
            Fault::NoAcquire,
            Fault::NoRelease,
            Fault::SwapInTwoSteps,
            Fault::LostWake,
        ];
        finds_each(&faults, two, &[once, once], was_once);
    }

    fn do_two(all: &Started) {
        all.latch.count_down(1);
        all.data.add();
        all.latch.count_down(1);
    }

    fn do_one(all: &Started) {
        all.latch.count_down(1);
    }

    fn await_all(all: &Started) {
        all.latch.wait();
        assert_eq!(all.data.get(), 1);
    }

    fn await_open(all: &Started) {
        all.latch.wait();
        assert!(all.latch.is_open());
    }

    fn await_in_time(all: &Started) {
        if all.latch.wait_slow(Some(Deadline(1))) {
            assert_eq!(all.data.get(), 1);
        }
    }

    fn time_passes(all: &Started) {
        Deadline(1).pass(&all.latch.state);
    }

    fn is_open(all: &Started) {
        assert!(all.latch.is_open());
    }

    #[test]
    fn all_wait_for_the_last() {
        check(None, two, &[await_all, do_two], is_open);
        check(Some(3), two, &[await_all, await_all, do_two], is_open);
        check(Some(3), two, &[await_open, do_one, do_one], is_open);
    }

    #[test]
    fn one_gives_up() {
        let threads: [Thread<Started>; 4] = [await_in_time, await_all, do_two, time_passes];
        check(Some(1), two, &threads, is_open);
    }

    #[test]
    fn faults_of_the_latch_are_found() {
        finds_each(&COMMON, two, &[await_all, do_two], is_open);
    }
}
