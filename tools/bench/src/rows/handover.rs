// SPDX-License-Identifier: GPL-2.0
//! Two processes that signal each other in turn, and wait for that in the call in which they would
//! wait for everything else, too.

use super::watch;
use crate::call::{Numbers, WakeOne};
use crate::measure::{Batch, timed};
use crate::memory::Memory;
use crate::scheduling::{self, Policy};
use crate::side::Side;
use crate::uring::{Buffers, Request, Ring};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use rfutex::raw::uapi;
use rfutex::{Rfutex, Word};
use rfutex_selftests::harness::Child;
use rfutex_selftests::memory::RegionWord;
use std::os::fd::AsFd;

/// The word of a player says that nothing came, or that the ball came.
const NOTHING: u32 = 0;
const BALL: u32 = 1;

/// Bytes of an event.
const EVENT: usize = size_of::<uapi::rfutex_event>();

/// What each of the two does.
trait Player {
    /// Waits for a signal.
    fn wait(&mut self);
    /// Signals the other, and waits for a signal.
    fn turn(&mut self);
}

/// Waits until the ball is there.
fn catch(player: &mut impl Player, own: Word<'static>) {
    while own.load() == NOTHING {
        player.wait();
    }
}

/// Passes the ball on, and waits until it is back.
fn pass(player: &mut impl Player, [own, other]: [Word<'static>; 2]) {
    own.store(NOTHING);
    other.store(BALL);
    player.turn();
    catch(player, own);
}

/// A batch is so many balls there and back. `player` makes one of the two, in its own process.
fn batch<P: Player + 'static>(words: [Word<'static>; 2], player: impl Fn(usize) -> P) -> Batch {
    scheduling::set(Policy::Batch);
    let child = Child::run(|| {
        let mut partner = player(1);
        catch(&mut partner, words[1]);
        loop {
            pass(&mut partner, [words[1], words[0]]);
        }
    });
    let mut player = player(0);
    // Both are there, and have made their first calls.
    pass(&mut player, words);
    Box::new(move |nr| {
        // It is killed when the batch goes.
        let _partner = &child;
        timed(|| {
            for _ in 0..nr {
                pass(&mut player, words);
            }
        })
    })
}

/// Waits in epoll_wait(2).
struct Loop<S, const N: usize> {
    epoll: Epoll,
    /// Reads what makes its file readable, which is all that it has in a turn.
    source: Numbers<N>,
    /// Signals the other.
    signal: S,
}

impl<S: FnMut(), const N: usize> Loop<S, N> {
    fn new(file: &'static impl AsFd, signal: S) -> Self {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("an epoll");
        let readable = EpollEvent::new(EpollFlags::EPOLLIN, 0);
        epoll.add(file, readable).expect("epoll_ctl");
        Self {
            epoll,
            source: Numbers::new(file),
            signal,
        }
    }
}

impl<S: FnMut(), const N: usize> Player for Loop<S, N> {
    fn wait(&mut self) {
        let mut events = [EpollEvent::empty(); 8];
        let ready = self.epoll.wait(&mut events, EpollTimeout::NONE);
        assert_eq!(ready, Ok(1));
        assert_eq!(self.source.read(), size_of::<[u64; N]>() as isize);
    }

    fn turn(&mut self) {
        (self.signal)();
        self.wait();
    }
}

/// Each waits in epoll_wait(2): for an event of its watch, or for its eventfd.
pub fn epoll(side: Side, memory: Memory) -> Batch {
    let words: [_; 2] = memory.words();
    match side {
        Side::Native => {
            let eventfd = || EventFd::new().expect("an eventfd");
            let eventfds: &[_; 2] = Box::leak(Box::new([eventfd(), eventfd()]));
            batch(words, |place| {
                let other = Numbers::<1>::new(&eventfds[1 - place]);
                let signal = move || assert_eq!(other.write(), 8);
                Loop::<_, 1>::new(&eventfds[place], signal)
            })
        }
        Side::Ours(device, _) => {
            let sets = words.map(|word| watch::repeated(device, word, NOTHING.into()));
            batch(words, |place| {
                let wake = WakeOne::new(device, words[1 - place]);
                let signal = move || assert_eq!(wake.call(), 1);
                Loop::<_, { EVENT / 8 }>::new(sets[place], signal)
            })
        }
    }
}

/// Wakes and waits in one call of io_uring.
struct WordRing {
    ring: Ring,
    wait: Request,
    wake: Request,
}

impl WordRing {
    /// Waits and wakes of futex(2).
    fn native([own, other]: [Word<'static>; 2]) -> Self {
        Self {
            ring: Ring::new(2, 2),
            wait: Request::futex_wait(own, NOTHING),
            wake: Request::futex_wake(other),
        }
    }

    /// Those of rfutex.
    fn ours(device: &'static Rfutex, [own, other]: [Word<'static>; 2]) -> Self {
        Self {
            ring: Ring::new(2, 2),
            wait: Request::wait(device, own, NOTHING),
            wake: Request::wake(device, other),
        }
    }
}

impl Player for WordRing {
    fn wait(&mut self) {
        self.ring.push(&self.wait);
        self.ring.submit(1);
        // It was woken, or has not waited because the ball was there.
        self.ring.next().expect("the wait's completion");
    }

    fn turn(&mut self) {
        self.ring.push(&self.wake);
        self.wait();
    }
}

/// Waits for what a request reads from a watch set again and again.
struct SetRing {
    ring: Ring,
    buffers: Buffers,
    wake: WakeOne,
}

impl SetRing {
    fn new(device: &'static Rfutex, set: &'static impl AsFd, other: Word<'static>) -> Self {
        let mut ring = Ring::new(2, 2);
        let buffers = Buffers::new(&ring, EVENT);
        ring.push(&Request::read_often(set));
        ring.submit(0);
        Self {
            ring,
            buffers,
            wake: WakeOne::new(device, other),
        }
    }
}

impl Player for SetRing {
    fn wait(&mut self) {
        self.ring.submit(1);
        let completion = self.ring.next().expect("an event");
        assert!(completion.more && completion.result == EVENT as i32);
        self.buffers.give(completion.buffer.expect("a buffer"));
    }

    fn turn(&mut self) {
        assert_eq!(self.wake.call(), 1);
        self.wait();
    }
}

/// Each waits in io_uring_enter(2): for an event of its watch, or for a wait of futex(2).
pub fn uring(side: Side, memory: Memory) -> Batch {
    match side {
        Side::Native => uring_command(side, memory),
        Side::Ours(device, _) => {
            let words: [_; 2] = memory.words();
            let sets = words.map(|word| watch::repeated(device, word, NOTHING.into()));
            batch(words, |place| {
                SetRing::new(device, sets[place], words[1 - place])
            })
        }
    }
}

/// Each waits in io_uring_enter(2) for a wait on its word.
pub fn uring_command(side: Side, memory: Memory) -> Batch {
    let words: [_; 2] = memory.words();
    let of = |place| [words[place], words[1 - place]];
    match side {
        Side::Native => batch(words, |place| WordRing::native(of(place))),
        Side::Ours(device, _) => batch(words, |place| WordRing::ours(device, of(place))),
    }
}
