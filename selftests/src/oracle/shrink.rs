// SPDX-License-Identifier: GPL-2.0
//! Makes a failing scenario small.

use super::script::Scenario;
use proptest::strategy::ValueTree;

/// How many smaller scenarios are tried. All that were seen to fail came to an end before that.
const TRIES: u32 = 500;

/// The smallest scenario within reach of `tree`, whose current one fails, that still `fails`.
pub fn shrink(
    tree: &mut dyn ValueTree<Value = Scenario>,
    mut fails: impl FnMut(&Scenario) -> bool,
) -> Scenario {
    let mut best = tree.current();
    let mut tries = 0;
    let mut more = tree.simplify();
    while more && tries < TRIES {
        let candidate = tree.current();
        // Not every number that is made smaller is one that anything depends on.
        let same = candidate.clone().tidy() == best.clone().tidy();
        tries += u32::from(!same);
        more = if same || fails(&candidate) {
            best = candidate;
            tree.simplify()
        } else {
            tree.complicate()
        };
    }
    let tidy = best.clone().tidy();
    if fails(&tidy) { tidy } else { best }
}
