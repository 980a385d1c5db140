// SPDX-License-Identifier: GPL-2.0
//! The examples in the README are samples, word for word. So `make check` builds
//! them and runs them in the VM. And the README's tables have all samples.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const README: &str = include_str!("../../README.md");

/// The block of the README that follows the first link to `sample`.
fn block(sample: &str, language: &str) -> &'static str {
    let link = format!("]({sample})");
    let (_, rest) = README.split_once(&link).expect("the README links to it");
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

/// What the README's tables should say of the samples in `dir`, which ends with a slash: the
/// language by the link.
fn samples(dir: &str) -> BTreeMap<String, &'static str> {
    let top = std::env::var("RFUTEX_TOP").unwrap_or_else(|_| "..".to_owned());
    let entries = fs::read_dir(Path::new(&top).join(dir)).expect("a directory of samples");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut samples = BTreeMap::new();
    for name in names {
        let name = name.into_string().expect("the name is UTF-8");
        let (stem, kind) = name.rsplit_once('.').unwrap_or((&name, ""));
        let (language, file) = match kind {
            "c" => ("C", &*name),
            "cc" => ("C++", &*name),
            "rs" => ("Rust", &*name),
            "" if dir.ends_with("bin/") => ("Rust", &*format!("{name}/main.rs")),
            _ => continue,
        };
        samples.insert(format!("[{stem}]({dir}{file})"), language);
    }
    samples
}

#[test]
fn tables() {
    let mut expected = samples("samples/");
    expected.append(&mut samples("samples/src/bin/"));
    let mut found = BTreeMap::new();
    for line in README.lines() {
        if let ["", link, language, _, ""] = line.split('|').map(str::trim).collect::<Vec<_>>()[..]
            && link.starts_with('[')
        {
            let other = found.insert(link.to_owned(), language);
            assert!(other.is_none(), "two rows of {link}");
        }
    }
    assert_eq!(found, expected);
}
