// SPDX-License-Identifier: GPL-2.0
//! What a signal, a stop, a tracer, a freezer, a kill or work of io_uring does to a waiter.

mod core_dump;
mod freezer;
mod handler;
mod jump;
mod nested;
mod stop;
mod storm;
mod taken_away;
mod task_work;

use libtest_mimic::Trial;

/// The tests of these modules.
pub fn trials() -> Vec<Trial> {
    [
        freezer::trials(),
        freezer::multi::trials(),
        handler::trials(),
        stop::trials(),
        storm::trials(),
        nested::trials(),
        jump::trials(),
        taken_away::trials(),
        task_work::trials(),
        core_dump::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
