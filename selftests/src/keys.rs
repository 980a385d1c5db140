// SPDX-License-Identifier: GPL-2.0
//! What identifies a word: memory of every kind, what does not change a key, and what has none.

mod change;
mod copy_up;
mod each;
mod fault;
mod file;
mod full;
mod fuse;
mod kinds;
mod lifetime;
mod migrate;
mod privileges;
mod seals;
mod uffd;
mod write_protect;

pub use kinds::{KINDS, Sample};
use libtest_mimic::Trial;

/// The tests of this module.
pub fn trials() -> Vec<Trial> {
    [
        each::trials(),
        fault::trials(),
        uffd::trials(),
        file::trials(),
        change::trials(),
        migrate::trials(),
        lifetime::trials(),
        privileges::trials(),
        seals::trials(),
        full::trials(),
        write_protect::trials(),
        copy_up::trials(),
        fuse::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
