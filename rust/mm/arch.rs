// SPDX-License-Identifier: GPL-2.0

//! The few primitives that every operation needs and that C inlines.
//!
//! Where the kernel inlines its helpers into Rust (`CONFIG_RUST_INLINE_HELPERS`), they cost the
//! same everywhere. Where it does not, each would be a call, with registers to save and restore; so
//! on x86-64 these five are the instructions that C has in their place.

// User Mode Linux has CONFIG_X86_64, but not CONFIG_X86.
#[cfg(all(CONFIG_SMP, CONFIG_X86_64, CONFIG_X86))]
mod x86;

#[cfg(all(CONFIG_SMP, CONFIG_X86_64, CONFIG_X86))]
pub(crate) use x86::*;

#[cfg(not(all(CONFIG_SMP, CONFIG_X86_64, CONFIG_X86)))]
mod generic;

#[cfg(not(all(CONFIG_SMP, CONFIG_X86_64, CONFIG_X86)))]
pub(crate) use generic::*;
