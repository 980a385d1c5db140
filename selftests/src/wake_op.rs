// SPDX-License-Identifier: GPL-2.0
//! WAKE_OP: what becomes of the word, and who is woken.

mod arithmetic;
mod concurrent;
mod places;
mod standing;

use crate::harness::{Mapping, PAGE, can_update, fx};
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

/// The sizes in bytes of words that can be changed where they have addresses. The others are
/// refused.
fn sizes() -> Vec<u32> {
    let (can, cannot): (Vec<u32>, Vec<u32>) =
        [1, 2, 4, 8].into_iter().partition(|&size| can_update(size));
    let map = Mapping::private(PAGE);
    for size in cannot {
        let refused = change(map.sized_word(0, size), Op::Set(1));
        assert_eq!(refused, Err(Error::Invalid), "{size} bytes");
        assert_eq!(map.read(0, 8), [0; 8]);
    }
    can
}

/// Changes `word`, and wakes nobody.
fn change(word: Word<'static>, op: Op) -> Result<u32, Error> {
    fx().wake_op(word, 0, target(word), 0, op, Compare::Equal(0))
}
