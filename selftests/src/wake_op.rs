// SPDX-License-Identifier: GPL-2.0
//! WAKE_OP: what becomes of the word, and who is woken.

mod arithmetic;
mod concurrent;
mod places;
mod standing;

use crate::harness::fx;
use libtest_mimic::Trial;
use rfutex::{Compare, Error, Op, Target, Word};

/// The tests of these modules.
pub fn trials() -> Vec<Trial> {
    [arithmetic::trials(), concurrent::trials(), places::trials()]
        .into_iter()
        .flatten()
        .collect()
}

/// Any word of a mapping as a target.
pub fn target(word: Word<'static>) -> Target<'static> {
    // SAFETY: In the tests' mappings is nothing but atomics.
    unsafe { Target::from_word(word) }
}

/// Changes `word`, and wakes nobody.
fn change(word: Word<'static>, op: Op) -> Result<u32, Error> {
    fx().wake_op(word, 0, target(word), 0, op, Compare::Equal(0))
}
