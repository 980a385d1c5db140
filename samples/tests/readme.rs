// SPDX-License-Identifier: GPL-2.0
//! The examples in the README are samples, word for word. So `make check` builds
//! them and runs them in the VM.

const README: &str = include_str!("../../README.md");

/// The one block of the README in this language.
fn block(language: &str) -> &'static str {
    let start = format!("\n```{language}\n");
    let (_, rest) = README.split_once(&start).expect("the README has one");
    assert!(!rest.contains(&start), "two examples in {language}");
    let (block, _) = rest.split_once("```\n").expect("it ends");
    block
}

#[test]
fn rust() {
    let sample = include_str!("../src/bin/ready.rs");
    let (_, code) = sample.split_once("\n\n").expect("a header");
    assert_eq!(block("rust"), code);
}

#[test]
fn c() {
    let sample = include_str!("../child.c");
    let (_, code) = sample.split_once('\n').expect("a header");
    assert_eq!(block("c"), code);
}
