// SPDX-License-Identifier: GPL-2.0
//! The examples in the README are samples, word for word. So `make check` builds
//! them and runs them in the VM.

const README: &str = include_str!("../../README.md");

/// The block of the README that follows the link to `sample`.
fn block(sample: &str, language: &str) -> &'static str {
    let link = format!("]({sample})");
    let (_, rest) = README.split_once(&link).expect("the README links to it");
    assert!(!rest.contains(&link), "two links to {sample}");
    let (_, rest) = rest.split_once("\n```").expect("a block");
    let rest = rest.strip_prefix(language).expect("in this language");
    let rest = rest.strip_prefix('\n').expect("a line of its own");
    let (block, _) = rest.split_once("```\n").expect("it ends");
    block
}

/// What comes after the header of a sample in Rust.
fn code(sample: &str) -> &str {
    sample.split_once("\n\n").expect("a header").1
}

#[test]
fn rust() {
    let sample = include_str!("../src/bin/ready.rs");
    assert_eq!(block("samples/src/bin/ready.rs", "rust"), code(sample));
}

#[test]
fn tokio() {
    let sample = include_str!("../src/bin/ready-async.rs");
    assert_eq!(
        block("samples/src/bin/ready-async.rs", "rust"),
        code(sample)
    );
}

#[test]
fn c() {
    let sample = include_str!("../child.c");
    let (_, code) = sample.split_once('\n').expect("a header");
    assert_eq!(block("samples/child.c", "c"), code);
}
