// SPDX-License-Identifier: GPL-2.0
//! futex(2) as the oracle: random scenarios are played on it and on rfutex, and come to the same.
//!
//! A scenario ([`script`]) is some memory ([`memory`]), threads and processes ([`pool`]), and what
//! they do, one step after another. The [`conductor`] waits after each step until everything is
//! quiet, so that a scenario has one possible outcome only: what each call returns, who wakes up
//! by it, what the words then hold. [`judge`] compares what both made of it, and knows what is
//! [meant to differ](differences). What fails is [made small](shrink) and printed as a script.
//! Where actors [race], less is compared: what must hold of any race.
//!
//! `rfutex-selftests oracle --help` is how to look for longer, or at one script.

mod alike;
mod backend;
mod call;
mod command;
mod conductor;
mod differences;
mod drain;
mod draw;
mod judge;
mod kept;
mod kind;
mod lane;
mod mailbox;
mod memory;
mod own;
mod owner;
mod play;
mod pool;
mod probe;
mod processes;
mod race;
mod remap;
mod script;
mod search;
mod shrink;
mod size;
mod stage;
mod table;
mod trace;
mod tracer;
mod trials;
mod until;
mod waiter;
mod wrong;

pub use call::Backend;
pub use command::command;
pub use conductor::Conductor;
pub use draw::drawn;
pub use judge::{Judged, Pair, judged};
pub use lane::on_processors;
pub use script::Scenario;
pub use trials::{PAIR, trials};
pub use wrong::Fault;
