// SPDX-License-Identifier: GPL-2.0
//! Which lines the basic blocks of an instrumented module consist of.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use addr2line::Loader;
use anyhow::{Context, Result, anyhow, ensure};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

/// The sections that the compilers make: a flag for each block, and its address
/// and a word of properties.
const FLAGS: &str = "__sancov_bools";
const ADDRESSES: &str = "__sancov_pcs";

/// A line of source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// The file, from the top of the checkout.
    pub file: String,
    /// From 1.
    pub number: u32,
}

/// The blocks of a module, in the order of their flags.
#[derive(Clone, Debug)]
pub struct Blocks {
    /// The lines below `rust/` that each has instructions of, those of inlined
    /// functions and of their callers, too.
    pub lines: Vec<BTreeSet<Line>>,
}

impl Blocks {
    /// Those of the `module`, which was compiled from the checkout at `top`.
    pub fn of(module: &Path, top: &Path) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let linked = dir.path().join("linked");
        link(module, &linked)?;
        let data = fs::read(&linked)?;
        let file = object::File::parse(&*data).context("the linked module")?;
        let addresses = addresses(&file)
            .with_context(|| format!("{} is not instrumented", module.display()))?;
        let functions = functions(&file);
        // What sets a flag is often put behind everything else in a function.
        let mut starts = stores(&file)?;
        starts.extend(addresses.iter().copied().zip(0..));
        starts.sort_unstable();
        let loader = Loader::new(&linked).map_err(|error| anyhow!("{error}"))?;
        let mut all = vec![BTreeSet::new(); addresses.len()];
        for (number, &(start, block)) in starts.iter().enumerate() {
            let next = starts.get(number + 1).map_or(u64::MAX, |&(next, _)| next);
            let end = function_end(&functions, start).min(next);
            all[block].extend(lines(&loader, start, end, top)?);
        }
        Ok(Self { lines: all })
    }
}

/// Where a flag is set, and whose it is.
fn stores(file: &object::File<'_>) -> Result<Vec<(u64, usize)>> {
    let flags = file.section_by_name(FLAGS).context(FLAGS)?;
    let mut stores = Vec::new();
    for section in file.sections() {
        if section.kind() != SectionKind::Text {
            continue;
        }
        // movb $1, offset(%rip)
        for (at, code) in section.data()?.windows(7).enumerate() {
            let &[0xc6, 0x05, a, b, c, d, 0x01] = code else {
                continue;
            };
            let offset = i64::from(i32::from_le_bytes([a, b, c, d]));
            let start = section.address() + at as u64;
            let target = (start + 7).wrapping_add_signed(offset);
            if (flags.address()..flags.address() + flags.size()).contains(&target) {
                stores.push((start, (target - flags.address()) as usize));
            }
        }
    }
    Ok(stores)
}

/// Links a module as if it were a program, so that each instruction has an
/// address of its own, and debug information names these. What the module uses
/// of the kernel stays undefined.
fn link(module: &Path, to: &Path) -> Result<()> {
    let output = Command::new("ld.lld")
        .args(["--entry=0", "--unresolved-symbols=ignore-all", "-o"])
        .arg(to)
        .arg(module)
        .output()
        .context("ld.lld")?;
    ensure!(
        output.status.success(),
        "ld.lld {}: {}",
        module.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Where each block begins.
fn addresses(file: &object::File<'_>) -> Result<Vec<u64>> {
    let section = |name: &str| file.section_by_name(name).with_context(|| name.to_owned());
    let table = section(ADDRESSES)?.data()?;
    let words = table.chunks_exact(8).map(|word| {
        let word = word.try_into().expect("eight bytes");
        u64::from_le_bytes(word)
    });
    let addresses: Vec<_> = words.step_by(2).collect();
    let flags = section(FLAGS)?.size();
    ensure!(
        addresses.len() as u64 == flags,
        "{} addresses for {flags} flags",
        addresses.len()
    );
    Ok(addresses)
}

/// The beginning and the end of each function, in their order.
fn functions(file: &object::File<'_>) -> Vec<(u64, u64)> {
    let mut functions: Vec<_> = file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text)
        .map(|symbol| (symbol.address(), symbol.address() + symbol.size()))
        .collect();
    functions.sort_unstable();
    functions
}

/// The end of the function that `address` is in.
fn function_end(functions: &[(u64, u64)], address: u64) -> u64 {
    let before = functions.partition_point(|&(start, _)| start <= address);
    let ends = functions[..before].iter().rev().map(|&(_, end)| end);
    ends.take(8).find(|&end| address < end).unwrap_or(u64::MAX)
}

/// The lines of the instructions in this range.
fn lines(loader: &Loader, start: u64, end: u64, top: &Path) -> Result<BTreeSet<Line>> {
    let mut lines = BTreeSet::new();
    let rows = loader
        .find_location_range(start, end)
        .map_err(|error| anyhow!("{error}"))?;
    for (address, _, _) in rows {
        // A row may begin before the range does.
        let mut frames = loader
            .find_frames(address.max(start))
            .map_err(|error| anyhow!("{error}"))?;
        while let Some(frame) = frames.next()? {
            lines.extend(frame.location.and_then(|location| {
                let number = location.line.filter(|&number| number > 0)?;
                let file = Path::new(location.file?);
                let file = file.strip_prefix(top).unwrap_or(file);
                let file = file
                    .starts_with("rust")
                    .then(|| file.display().to_string())?;
                Some(Line { file, number })
            }));
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_with_its_function() {
        let functions = [(10, 20), (20, 20), (20, 30), (40, 50)];
        assert_eq!(function_end(&functions, 10), 20);
        assert_eq!(function_end(&functions, 20), 30);
        assert_eq!(function_end(&functions, 49), 50);
        assert_eq!(function_end(&functions, 35), u64::MAX);
    }

    /// A function that goes one way or the other, compiled as the module is.
    #[test]
    fn each_block_has_its_lines() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        let source = "void one(void), two(void);\nvoid f(int x)\n{\n\tif (x)\n\t\tone();\n\
            \telse\n\t\ttwo();\n}\n";
        fs::create_dir(dir.join("rust")).unwrap();
        fs::write(dir.join("rust/x.c"), source).unwrap();
        let status = Command::new("clang")
            .current_dir(&dir)
            .args(["-g", "-O2", "-fno-pic", "-c", "rust/x.c", "-o", "x.o"])
            .arg("-fsanitize-coverage=inline-bool-flag,pc-table")
            .arg("-mllvm=-sanitizer-coverage-prune-blocks=0")
            .status();
        assert!(status.unwrap().success());
        let blocks = Blocks::of(&dir.join("x.o"), &dir).unwrap();
        let with = |number| {
            let line = Line {
                file: "rust/x.c".to_owned(),
                number,
            };
            let has = |lines: &&BTreeSet<Line>| lines.contains(&line);
            blocks.lines.iter().filter(has).collect::<Vec<_>>()
        };
        assert_eq!((with(5).len(), with(7).len(), with(6).len()), (1, 1, 0));
        assert_ne!(with(5), with(7), "one block has both");
    }
}
