// SPDX-License-Identifier: GPL-2.0
//! A profile beside the instructions, as llvm-objdump has them.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustc_demangle::demangle;

use super::trace::Profile;

/// Text by function and place in it.
type Text = HashMap<(String, u64), String>;

/// The functions of `profile`, each with its instructions and how often each
/// ran in a call. What the kernel patches as it boots reads as before that.
pub fn of(profile: &Profile, binaries: &[PathBuf]) -> Result<String> {
    let functions = profile.functions();
    let names: Vec<_> = functions.iter().map(|&(name, _)| name).collect();
    let mut text = Text::new();
    for binary in binaries {
        disassemble(binary, &names, &mut text)?;
    }
    let calls = profile.calls as f64;
    let mut listing = String::new();
    for (name, count) in functions {
        let count = count as f64 / calls;
        writeln!(listing, "\n{count:8.2}  {:#}", demangle(name))?;
        for (at, count) in profile.instructions(name) {
            let count = count as f64 / calls;
            let key = (name.to_owned(), at);
            let text = text.get(&key).map_or("", String::as_str);
            writeln!(listing, "  {count:8.2}  +{at:<5x} {text}")?;
        }
    }
    Ok(listing)
}

/// Adds the instructions of the functions `names` of `binary`, those that it has.
fn disassemble(binary: &PathBuf, names: &[&str], text: &mut Text) -> Result<()> {
    let output = Command::new("llvm-objdump")
        .arg("--no-show-raw-insn")
        .arg(format!("--disassemble-symbols={}", names.join(",")))
        .arg(binary)
        .output()
        .context("llvm-objdump cannot be run")?;
    ensure!(
        output.status.success(),
        "llvm-objdump {}: {}",
        binary.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    parse(&String::from_utf8_lossy(&output.stdout), text);
    Ok(())
}

fn parse(output: &str, text: &mut Text) {
    let mut function: Option<(String, u64)> = None;
    for line in output.lines() {
        if let Some((address, name)) = line
            .strip_suffix(">:")
            .and_then(|line| line.split_once(" <"))
        {
            function = u64::from_str_radix(address, 16)
                .ok()
                .map(|address| (name.to_owned(), address));
            continue;
        }
        let (Some((name, start)), Some((address, instruction))) = (&function, line.split_once(':'))
        else {
            continue;
        };
        if let Ok(address) = u64::from_str_radix(address.trim(), 16) {
            let instruction = instruction.trim().replace('\t', " ");
            text.insert((name.clone(), address - start), instruction);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_have_their_places() {
        let mut text = Text::new();
        let output = "\nx.ko:\tfile format elf64\n\n0000000000000010 <work>:\n\
            \x20     10:      \tnop\n      14:      \tmovq\t%rax, %rbx\n";
        parse(output, &mut text);
        assert_eq!(text[&("work".to_owned(), 4)], "movq %rax, %rbx");
        assert_eq!(text.len(), 2);
    }
}
