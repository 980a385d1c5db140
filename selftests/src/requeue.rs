// SPDX-License-Identifier: GPL-2.0
//! REQUEUE: who is woken, who is moved where, and what becomes of the moved.

mod counts;
mod kinds;
mod moved;

use libtest_mimic::Trial;

/// The tests of these modules.
pub fn trials() -> Vec<Trial> {
    [counts::trials(), kinds::trials(), moved::trials()]
        .into_iter()
        .flatten()
        .collect()
}
