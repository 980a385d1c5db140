// SPDX-License-Identifier: GPL-2.0

//! The few primitives that every operation needs, and that are inlined in C.
//!
//! If the kernel inlines its C helpers into Rust (`CONFIG_RUST_INLINE_HELPERS`), they cost as much
//! in Rust as in C. If it does not, each of them is a function call, which also has to save and
//! restore registers. On x86-64, these five primitives are therefore written as the instructions
//! that C code has in their place.

// User Mode Linux is excluded by the last condition: it has CONFIG_X86_64, but not CONFIG_X86.
#[cfg(all(CONFIG_SMP, CONFIG_X86_64, CONFIG_X86))]
mod x86;

#[cfg(all(CONFIG_SMP, CONFIG_X86_64, CONFIG_X86))]
pub(crate) use x86::*;

#[cfg(not(all(CONFIG_SMP, CONFIG_X86_64, CONFIG_X86)))]
mod generic;

#[cfg(not(all(CONFIG_SMP, CONFIG_X86_64, CONFIG_X86)))]
pub(crate) use generic::*;
