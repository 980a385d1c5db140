// SPDX-License-Identifier: GPL-2.0
//! Looks for inputs that reach what no input has reached: `rfutex-selftests fuzz`.
//!
//! It needs the instrumented build of the module and what shows its [flags]. An [input] is a
//! scenario of the oracle, of which futex(2) says how it has to end, or [calls] of the raw
//! interface by a few threads, whose errors have to be documented ones. Inputs that set flags which
//! nothing has set before are kept in a [corpus], and are what further inputs are made from
//! ([`mutate`]). An input fails if a call of it does, or hangs, or if the kernel complains. What
//! fails is made [small](shrink), and written to a file that can be replayed.

mod calls;
mod command;
mod corpus;
mod draw;
mod flags;
mod input;
mod mutate;
mod player;
mod shrink;
mod trials;

pub use command::command;
pub use trials::trials;
