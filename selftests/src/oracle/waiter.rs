// SPDX-License-Identifier: GPL-2.0
//! What waits on a word.

use serde::{Deserialize, Serialize};

/// What waits on a word for an actor.
///
/// A watch and a request wait on one word, without a deadline. In all other waits the actor's
/// thread itself sleeps, whatever waits for it otherwise.
///
/// While a watch or a request waits, its actor does nothing else, as if it slept. So the same
/// steps can be made with each of the three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiter {
    /// The actor's thread.
    #[default]
    Task,
    /// On rfutex, a watch that is met once. On futex(2), which has none, a request.
    Watch,
    /// A request of io_uring: a command of the device, or `IORING_OP_FUTEX_WAIT`.
    Request,
}
