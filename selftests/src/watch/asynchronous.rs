// SPDX-License-Identifier: GPL-2.0
//! Tasks of tokio that wait on words, and the futures that they drop.

use crate::harness::{LIMIT, Mapping, PAGE, Task, effort, fx, nr_waiters, until, until_queued};
use nix::errno::Errno;
use rfutex::tokio::AsyncWatches;
use rfutex::{Error, Event, Rfutex, Watches, Word};
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

trials![
    wait,
    mismatch,
    many_words,
    many_tasks_on_a_word,
    dropped,
    dropped_when_it_was_met,
    dropped_while_its_event_is_read,
    dropped_when_its_event_was_read,
    passed_on_by_mask,
    timeout,
    drop_against_wake,
    runtime_ends,
    last_clone,
];

/// A runtime that runs tasks only while the calling thread blocks on it.
fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A set that the current runtime reads.
fn watches() -> AsyncWatches {
    AsyncWatches::new(Rfutex::open().expect("the device")).expect("a watch set")
}

/// What comes of `future`, which must not take for ever.
async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future)
        .await
        .expect("within the limit")
}

/// Has `future` begin to wait.
#[track_caller]
fn begin<F: Future>(future: Pin<&mut F>) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(future.poll(&mut context).is_pending());
}

fn wait() {
    let map = Mapping::shared(PAGE);
    runtime().block_on(async {
        let watches = watches();
        for word in [map.word(0), map.word(64).private()] {
            let mut one = pin!(watches.wait(word, 0));
            // Nothing happens before it is polled.
            assert_eq!(nr_waiters(word), 0);
            begin(one.as_mut());
            assert_eq!(nr_waiters(word), 1);
            let mut other = pin!(watches.wait_mask(word, 0, 0b10));
            begin(other.as_mut());
            assert_eq!(fx().wake(word, 9, 0b01), Ok(1));
            assert_eq!(soon(one).await, Ok(()));
            assert_eq!(watches.device().wake_all(word), Ok(1));
            assert_eq!(soon(other).await, Ok(()));
            assert_eq!(nr_waiters(word), 0);
        }
    });
}

fn mismatch() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    runtime().block_on(async {
        let watches = watches();
        assert_eq!(watches.wait(word, 1).await, Err(Error::Again));
        assert_eq!(watches.wait_mask(word, 0, 0).await, Err(Error::Invalid));
        let unaligned = Word::at(map.addr() + 2, 4);
        assert_eq!(watches.wait(unaligned, 0).await, Err(Error::Invalid));
        assert_eq!(watches.wait(Word::at(0, 4), 0).await, Err(Error::Fault));
        // None of them has left anything that the next wait would stumble over.
        let mut wait = pin!(watches.wait(word, 0));
        begin(wait.as_mut());
        assert_eq!(fx().wake_all(word), Ok(1));
        assert_eq!(soon(wait).await, Ok(()));
    });
}

/// Thousands of words, and one descriptor.
fn many_words() {
    const WORDS: u32 = 2000;
    let words: Arc<[_]> = (0..WORDS).map(AtomicU32::new).collect();
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("proc").count();
    runtime().block_on(async {
        let watches = watches();
        let word = |nr: u32| Word::new(&words[nr as usize]).private();
        assert_eq!(nr_waiters(word(0)), 0);
        let before = descriptors();
        let mut tasks = JoinSet::new();
        for nr in 0..WORDS {
            let (watches, words) = (watches.clone(), Arc::clone(&words));
            tasks.spawn(async move {
                let word = Word::new(&words[nr as usize]).private();
                assert_eq!(watches.wait(word, nr.into()).await, Ok(()));
                nr
            });
        }
        soon(async {
            // They are polled in their order.
            while nr_waiters(word(WORDS - 1)) == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(descriptors(), before);
        // Each wake reaches the task that waits for it, and no other.
        for nr in (0..WORDS).rev() {
            assert_eq!(fx().wake_all(word(nr)), Ok(1), "{nr}");
            if nr % 100 == 0 {
                for _ in 0..100.min(WORDS - nr) {
                    let woken = soon(tasks.join_next()).await.expect("a task");
                    assert!(woken.expect("no panic") >= nr);
                }
            }
        }
        assert!(tasks.is_empty());
    });
}

fn many_tasks_on_a_word() {
    const TASKS: u32 = 1000;
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    runtime().block_on(async {
        let watches = watches();
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let watches = watches.clone();
            tasks.spawn(async move { watches.wait(word, 0).await });
        }
        soon(async {
            while nr_waiters(word) < TASKS {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(fx().wake_all(word), Ok(TASKS));
        for _ in 0..TASKS {
            let woken = soon(tasks.join_next()).await.expect("a task");
            assert_eq!(woken.expect("no panic"), Ok(()));
        }
    });
}

fn dropped() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    runtime().block_on(async {
        let watches = watches();
        for _ in 0..3 {
            {
                let mut waits = [(); 10].map(|()| Box::pin(watches.wait(word, 0)));
                waits.iter_mut().for_each(|wait| begin(wait.as_mut()));
                assert_eq!(nr_waiters(word), 10);
            }
            assert_eq!(nr_waiters(word), 0);
            assert_eq!(fx().wake_all(word), Ok(0));
        }
        // Nothing was passed on where nothing had come.
        let mut behind = pin!(watches.wait(word, 0));
        let mut before = Box::pin(watches.wait(word, 0));
        begin(before.as_mut());
        begin(behind.as_mut());
        drop(before);
        assert_eq!(nr_waiters(word), 1);
    });
}

/// A wake meets the first of two waits. Then `between` happens, the first is dropped, and the
/// second has the wake.
#[track_caller]
fn passes_on<F: Future>(between: impl FnOnce(AsyncWatches, Arc<Told>) -> F) {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    runtime().block_on(async {
        let watches = watches();
        let told = Arc::new(Told::default());
        let mut first = Box::pin(watches.wait(word, 0));
        let mut second = pin!(watches.wait(word, 0));
        let waker = Waker::from(Arc::clone(&told));
        let polled = first.as_mut().poll(&mut Context::from_waker(&waker));
        assert_eq!(polled, Poll::Pending);
        begin(second.as_mut());
        assert_eq!(fx().wake_one(word), Ok(1));
        assert_eq!(nr_waiters(word), 1);
        soon(between(watches.clone(), told)).await;
        assert_eq!(nr_waiters(word), 1);
        drop(first);
        // At once, not at some later time.
        assert_eq!(nr_waiters(word), 0);
        assert_eq!(soon(second).await, Ok(()));
        // There was one wake, and there is none left.
        let mut third = pin!(watches.wait(word, 0));
        begin(third.as_mut());
        tokio::task::yield_now().await;
        begin(third.as_mut());
    });
}

/// Whether a task was told to poll its future again.
#[derive(Default)]
struct Told(AtomicBool);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The event is still in the set: the reader has had no occasion to run.
fn dropped_when_it_was_met() {
    passes_on(|_, told| async move { assert!(!told.0.load(Ordering::SeqCst)) });
}

/// Somebody has read the event, and nobody was told yet.
fn dropped_while_its_event_is_read() {
    passes_on(|watches, told| async move {
        let fd = watches.as_fd().try_clone_to_owned().expect("a handle");
        let set = Watches::try_from(fd).expect("a watch set");
        assert_eq!(set.read(&mut [Event::default(); 5]), Ok(1));
        assert!(!told.0.load(Ordering::SeqCst));
    });
}

/// The task was told, but has not looked.
fn dropped_when_its_event_was_read() {
    passes_on(|_, told| async move {
        while !told.0.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    });
}

/// A wake is passed on to those whom it may have been for.
fn passed_on_by_mask() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    runtime().block_on(async {
        let watches = watches();
        let mut first = Box::pin(watches.wait_mask(word, 0, 0b01));
        let mut other = pin!(watches.wait_mask(word, 0, 0b10));
        let mut second = pin!(watches.wait_mask(word, 0, 0b01));
        begin(first.as_mut());
        begin(other.as_mut());
        begin(second.as_mut());
        assert_eq!(fx().wake(word, 1, 0b01), Ok(1));
        drop(first);
        assert_eq!(soon(second).await, Ok(()));
        begin(other.as_mut());
        assert_eq!(nr_waiters(word), 1);
    });
}

fn timeout() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    runtime().block_on(async {
        let wait = watches();
        let wait = wait.wait(word, 0);
        let result = tokio::time::timeout(Duration::from_millis(10), wait).await;
        assert!(result.is_err());
        assert_eq!(nr_waiters(word), 0);
    });
}

/// A wake comes while the first of two waits is dropped: the second hears of it in any case.
/// Meanwhile the reader runs on another thread.
fn drop_against_wake() {
    const DURATION: Duration = Duration::from_secs(3);
    const DELAYS: u32 = 64;
    let map = Arc::new(Mapping::shared(PAGE));
    let word = map.word(0);
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let watches = runtime.block_on(async { watches() });
    // The number of the round, when the waits of that round have begun.
    let round = Arc::new(AtomicU32::new(0));
    let waker = {
        let round = Arc::clone(&round);
        Task::spawn(move || {
            let mut seen = 0;
            loop {
                match round.load(Ordering::SeqCst) {
                    u32::MAX => return seen,
                    now if now == seen => std::hint::spin_loop(),
                    now => {
                        // The first may be gone, but the second is there.
                        assert_eq!(fx().wake_one(word), Ok(1), "round {now}");
                        seen = now;
                    }
                }
            }
        })
    };
    let begun = Instant::now();
    let mut rounds = 0;
    while begun.elapsed() < effort(DURATION) || rounds < 2 * DELAYS {
        let mut first = Box::pin(watches.wait(word, 0));
        let mut second = Box::pin(watches.wait(word, 0));
        begin(first.as_mut());
        begin(second.as_mut());
        rounds += 1;
        round.store(rounds, Ordering::SeqCst);
        // From before the wake to after the reader has told the task.
        for _ in 0..rounds % DELAYS * 64 {
            std::hint::spin_loop();
        }
        drop(first);
        let result = runtime.block_on(async { soon(second).await });
        assert_eq!(result, Ok(()), "round {rounds}");
        assert_eq!(nr_waiters(word), 0);
    }
    round.store(u32::MAX, Ordering::SeqCst);
    assert_eq!(waker.join(), rounds);
}

/// With the runtime, all waits on the set end. What has come by then is passed on.
fn runtime_ends() {
    const ENDED: Error = Error::Os(Errno::ECANCELED as i32);
    let map = Arc::new(Mapping::shared(PAGE));
    let word = map.word(0);
    let runtime = runtime();
    let watches = runtime.block_on(async { watches() });
    let mut waits = [(); 3].map(|()| Box::pin(watches.wait(word, 0)));
    waits.iter_mut().for_each(|wait| begin(wait.as_mut()));
    let thread = Task::spawn(move || fx().wait(word, 0));
    until_queued(word, 4);
    assert_eq!(fx().wake_one(word), Ok(1));
    drop(runtime);
    let mut context = Context::from_waker(Waker::noop());
    for (nr, wait) in waits.iter_mut().enumerate().rev() {
        assert_eq!(wait.as_mut().poll(&mut context), Poll::Ready(Err(ENDED)));
        // The second and the third leave. The first was met, and passes that on to the thread.
        assert_eq!(nr_waiters(word), nr as u32);
    }
    assert_eq!(thread.join(), Ok(()));
    let wait = pin!(watches.wait(word, 0));
    assert_eq!(wait.poll(&mut context), Poll::Ready(Err(ENDED)));
    assert_eq!(nr_waiters(word), 0);
}

/// The reader ends with the last clone, and closes the set.
fn last_clone() {
    let sets = || {
        let links = std::fs::read_dir("/proc/self/fd").expect("proc");
        links
            .filter_map(|link| std::fs::read_link(link.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().contains("rfutex-watches"))
            .count()
    };
    let runtime = runtime();
    let watches = runtime.block_on(async { watches() });
    let clone = watches.clone();
    assert_eq!(sets(), 1);
    drop(watches);
    runtime.block_on(tokio::task::yield_now());
    assert_eq!(sets(), 1);
    drop(clone);
    until("the set is closed", || {
        runtime.block_on(tokio::task::yield_now());
        sets() == 0
    });
}
