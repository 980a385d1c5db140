// SPDX-License-Identifier: GPL-2.0
//! The locks of the crate, where they need the device: what only several threads and
//! processes can show. The orders in which their steps may come are checked by models
//! (`tools/rfutex/tests/sync_models`).

mod arena;
mod common;
mod death;
mod readers;
mod storm;
mod timed;
mod turns;

use common::{Common, InCommon, word_of};
use libtest_mimic::Trial;

/// The tests of these modules.
pub fn trials() -> Vec<Trial> {
    [
        storm::trials(),
        readers::trials(),
        turns::trials(),
        timed::trials(),
        death::trials(),
        arena::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
