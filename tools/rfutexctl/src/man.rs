// SPDX-License-Identifier: GPL-2.0
//! The man pages, and what shells complete with. Both are made from the command line's definition.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::cli::{Cli, STATUS};

/// The title of examples in the help. In a page they have a section.
const TITLE: &str = "Examples:\n";

/// Prints what `shell` needs. Returns the exit status.
pub fn completions(shell: Shell, out: &mut impl Write) -> Result<u8> {
    // It panics if it cannot write.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rfutexctl", &mut text);
    out.write_all(&text)?;
    Ok(0)
}

/// Writes the man pages into the directory `dir`. Returns the exit status.
pub fn write_to(dir: &Path) -> Result<u8> {
    for (name, page) in pages()? {
        let path = dir.join(name);
        fs::write(&path, page).with_context(|| path.display().to_string())?;
    }
    Ok(0)
}

/// All pages: their files' names, and their texts.
fn pages() -> Result<Vec<(String, Vec<u8>)>> {
    let mut root = Cli::command();
    // Gives the subcommands their full names.
    root.build();
    let shown = root
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    let commands = shown.filter(|command| command.get_name() != "help");
    let commands: Vec<_> = commands.cloned().collect();
    let mut pages = vec![("rfutexctl.1".to_owned(), page(&root)?)];
    for command in commands {
        let name = format!("rfutexctl-{}", command.get_name());
        let command = command.name(name.clone());
        pages.push((format!("{name}.1"), page(&command)?));
    }
    Ok(pages)
}

fn page(command: &Command) -> Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    let after_help = command.get_after_help().map(ToString::to_string);
    if let Some(examples) = after_help
        .as_ref()
        .and_then(|text| text.strip_prefix(TITLE))
    {
        rest.control("SH", ["EXAMPLES"]);
        as_it_stands(&mut rest, examples);
    }
    rest.control("SH", ["EXIT STATUS"]);
    as_it_stands(&mut rest, STATUS);
    rest.control("SH", ["SEE ALSO"]);
    rest.text([roman(
        "rfutexctl(1), and Documentation/ioctl.rst in the source of the module",
    )]);
    rest.to_writer(&mut page)?;
    Ok(page)
}

/// Adds `text` without filling its lines.
fn as_it_stands(roff: &mut Roff, text: &str) {
    roff.control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let pages = pages().unwrap();
        let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[0], "rfutexctl.1");
        for name in [
            "status", "list", "top", "doctor", "key", "trace", "run", "wait", "wake", "store",
            "load",
        ] {
            let file = format!("rfutexctl-{name}.1");
            assert!(names.contains(&file.as_str()), "{names:?}");
        }
        assert!(!names.contains(&"rfutexctl-man.1"));
    }

    #[test]
    fn pages_have_examples_and_exit_status() {
        for (name, page) in pages().unwrap() {
            let page = String::from_utf8(page).unwrap();
            assert!(page.contains(".SH \"EXIT STATUS\""), "{name}: {page}");
            let has_examples = page.contains(".SH EXAMPLES");
            assert_eq!(has_examples, name != "rfutexctl.1", "{name}");
            assert!(!page.contains("Examples:"), "{name}");
            // A hyphen would not be one that can be copied.
            if name == "rfutexctl-wait.1" {
                assert!(page.contains(r"$ rfutexctl store \-\-create /dev/shm/wait:0 0"));
            }
        }
    }

    #[test]
    fn every_shell_gets_something() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut out = Vec::new();
            completions(shell, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.contains("older-than"), "{shell}");
        }
    }
}
