// SPDX-License-Identifier: GPL-2.0
//! WAIT and WAKE: who meets, how many, in which order, and that no wake is lost.

mod meet;
mod order;
mod stress;

use libtest_mimic::Trial;

/// The tests of these modules.
pub fn trials() -> Vec<Trial> {
    [meet::trials(), order::trials(), stress::trials()]
        .into_iter()
        .flatten()
        .collect()
}
