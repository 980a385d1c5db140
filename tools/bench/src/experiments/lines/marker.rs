// SPDX-License-Identifier: GPL-2.0
//! What is said to the plugin, `tools/lines/plugin.c`: a read of a byte, by an
//! instruction that it knows, and whose address in its page is what is said.
//!
//! Without the plugin, nothing comes of it.

use std::arch::asm;

#[repr(align(4096))]
struct Page([u8; 4096]);

static PAGE: Page = Page([0; 4096]);

/// A window of place 0 begins.
pub const BEGIN: u64 = 0x200;
/// A window ends.
pub const END: u64 = 0x100;

const SECTION: u64 = 0x000;
const GROUP: u64 = 0x300;
const OVER: u64 = 0x400;

/// An address that says `word`.
pub fn address(word: u64) -> u64 {
    PAGE.0.as_ptr().addr() as u64 + word
}

/// Says `word`.
#[inline(always)]
fn say(word: u64) {
    // SAFETY: It reads a byte of the page.
    unsafe {
        asm!(
            ".byte 0x3e, 0x3e, 0x3e, 0x8a, 0x00",
            inout("rax") address(word) => _,
            options(nostack, preserves_flags),
        );
    }
}

/// A section begins: from now on, accesses are looked at. Nobody has any line yet.
pub fn section() {
    say(SECTION);
}

/// Accesses of this processor are counted from now on, for `place`.
#[inline(always)]
pub fn begin(place: usize) {
    say(BEGIN + place as u64);
}

/// And no longer.
#[inline(always)]
pub fn end() {
    say(END);
}

/// In windows of this processor, those of others are counted that have said the same
/// `group`.
pub fn group(group: usize) {
    say(GROUP + group as u64);
}

/// All has been said.
pub fn over() {
    say(OVER);
}
