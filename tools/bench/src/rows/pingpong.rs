// SPDX-License-Identifier: GPL-2.0
//! Two threads that wake each other in turn.

use super::single;
use crate::call::{Futex, Ioctl, WakeOne};
use crate::measure::{Batch, timed};
use crate::memory::{self, Memory};
use crate::scheduling::{self, Policy};
use crate::side::Side;
use rfutex::Word;
use rfutex::raw::uapi;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

/// The word says that nothing came, that the ball came, that it is over.
pub const NOTHING: u32 = 0;
const BALL: u32 = 1;
const OVER: u32 = 2;

/// What each of the two does: wakes the other, and sleeps.
pub trait Player: Send + 'static {
    /// Wakes one who waits on the other's word.
    fn wake(&mut self);
    /// Sleeps while the own word is [`NOTHING`], if it still is.
    fn wait(&mut self);
    /// Both.
    fn swap(&mut self) {
        self.wake();
        self.wait();
    }
}

struct Native {
    wake: Futex,
    wait: Futex,
}

impl Player for Native {
    fn wake(&mut self) {
        self.wake.call();
    }
    fn wait(&mut self) {
        self.wait.call();
    }
}

/// rfutex, with the address in the wake's argument.
pub struct Ours {
    /// Wakes the other.
    pub wake: WakeOne,
    /// Waits on the own word.
    pub wait: Ioctl<uapi::rfutex_wait>,
}

impl Player for Ours {
    fn wake(&mut self) {
        self.wake.call();
    }
    fn wait(&mut self) {
        self.wait.call();
    }
}

/// rfutex, with one call for both.
struct Swapping {
    plain: Ours,
    swap: Ioctl<uapi::rfutex_swap>,
}

impl Player for Swapping {
    fn wake(&mut self) {
        self.plain.wake();
    }
    fn wait(&mut self) {
        self.plain.wait();
    }
    fn swap(&mut self) {
        self.swap.call();
    }
}

/// Passes the ball on and waits until it, or the end, comes back. Returns the word.
fn pass(player: &mut impl Player, [own, other]: [&AtomicU32; 2]) -> u32 {
    own.store(NOTHING, Ordering::SeqCst);
    other.store(BALL, Ordering::SeqCst);
    player.swap();
    catch(player, own)
}

fn catch(player: &mut impl Player, own: &AtomicU32) -> u32 {
    loop {
        match own.load(Ordering::SeqCst) {
            NOTHING => player.wait(),
            came => return came,
        }
    }
}

/// The one who begins, and whose partner is a thread that ends with it.
pub struct Game<P: Player> {
    player: P,
    cells: [&'static AtomicU32; 2],
    partner: Option<JoinHandle<()>>,
}

impl<P: Player> Game<P> {
    /// A batch is so many balls there and back.
    pub fn batch([mut player, mut partner]: [P; 2], words: [Word<'static>; 2]) -> Batch {
        let cells = words.map(memory::cell);
        scheduling::set(Policy::Batch);
        let thread = std::thread::spawn(move || {
            let [own, other] = [cells[1], cells[0]];
            let mut came = catch(&mut partner, own);
            while came != OVER {
                came = pass(&mut partner, [own, other]);
            }
        });
        // Both are there, and have made their first calls.
        pass(&mut player, cells);
        let mut game = Self {
            player,
            cells,
            partner: Some(thread),
        };
        Box::new(move |nr| {
            timed(|| {
                for _ in 0..nr {
                    pass(&mut game.player, game.cells);
                }
            })
        })
    }
}

impl<P: Player> Drop for Game<P> {
    fn drop(&mut self) {
        self.cells[1].store(OVER, Ordering::SeqCst);
        self.player.wake();
        if let Some(partner) = self.partner.take() {
            partner.join().expect("the partner's end");
        }
    }
}

fn native(words: [Word<'static>; 2]) -> Batch {
    let player = |own, other| Native {
        wake: Futex::wake(other, 1),
        wait: Futex::wait(own, NOTHING),
    };
    let [a, b] = words;
    Game::batch([player(a, b), player(b, a)], words)
}

/// A wake and a wait each, in two calls.
pub fn pingpong(side: Side, memory: Memory) -> Batch {
    let words = memory.words();
    let [a, b] = words;
    match side {
        Side::Native => native(words),
        Side::Ours(device, _) => {
            let player = |own, other| Ours {
                wake: WakeOne::new(device, other),
                wait: single::wait(device, own, NOTHING.into()),
            };
            Game::batch([player(a, b), player(b, a)], words)
        }
    }
}

/// The same, of rfutex in one call.
pub fn swap(side: Side, memory: Memory) -> Batch {
    let words = memory.words();
    let [a, b] = words;
    match side {
        Side::Native => native(words),
        Side::Ours(device, _) => {
            let player = |own, other: Word<'static>| {
                let plain = Ours {
                    wake: WakeOne::new(device, other),
                    wait: single::wait(device, own, NOTHING.into()),
                };
                let arg = plain.wait.arg.swap(other.into());
                let swap = Ioctl::new(device, uapi::RFUTEX_SWAP, arg);
                Swapping { plain, swap }
            };
            Game::batch([player(a, b), player(b, a)], words)
        }
    }
}
