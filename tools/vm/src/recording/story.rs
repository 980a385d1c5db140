// SPDX-License-Identifier: GPL-2.0
//! The story, as README tells it: a program, and what is typed on a terminal.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The part of README in which it is.
const HEADING: &str = "\n### Who waits, and why they do not meet\n";

/// The recording, in the checkout.
#[cfg(test)]
pub const PICTURE: &str = "Documentation/turns.svg";

/// The program's name, and the name of its source.
pub const PROGRAM: &str = "turns";
pub const SOURCE: &str = "turns.c";

/// A command, and what it prints. Nothing is said of those that print nothing in README.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    pub command: String,
    pub prints: String,
}

/// The story.
#[derive(Debug, PartialEq, Eq)]
pub struct Story {
    pub program: String,
    pub steps: Vec<Step>,
}

impl Story {
    /// The one in the README of the checkout `top`.
    pub fn read(top: &Path) -> Result<Self> {
        let path = top.join("README.md");
        let readme = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Self::of(&readme)
    }

    fn of(readme: &str) -> Result<Self> {
        let (_, rest) = readme.split_once(HEADING).context("README has no story")?;
        let (program, rest) = block(rest, "c").context("the story has no program")?;
        let (session, _) = block(rest, "console").context("the story has no commands")?;
        let show = Step {
            command: format!("cat {SOURCE}"),
            prints: program.to_owned(),
        };
        let mut steps = vec![show];
        for line in session.lines() {
            // The prompts of the host's shell and of the machine's.
            let command = line.strip_prefix("$ ").or_else(|| line.strip_prefix("# "));
            if let Some(command) = command {
                steps.push(Step {
                    command: command.to_owned(),
                    prints: String::new(),
                });
            } else if let Some(last) = steps.last_mut() {
                last.prints += &format!("{line}\n");
            }
        }
        Ok(Self {
            program: program.to_owned(),
            steps,
        })
    }
}

/// The first block of `language` in `text`, and what follows it.
fn block<'a>(text: &'a str, language: &str) -> Option<(&'a str, &'a str)> {
    let (_, rest) = text.split_once(&format!("\n```{language}\n"))?;
    let (block, rest) = rest.split_once("```\n")?;
    Some((block, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_has_a_program_and_steps() {
        let readme = "```c\nno\n```\n\n### Who waits, and why they do not meet\n\nText.\n\n\
                      ```c\nint x;\n```\n\n```console\n$ cc x\n# x &\nping\npong\n```\n";
        let step = |command: &str, prints: &str| Step {
            command: command.to_owned(),
            prints: prints.to_owned(),
        };
        let story = Story {
            program: "int x;\n".to_owned(),
            steps: vec![
                step("cat turns.c", "int x;\n"),
                step("cc x", ""),
                step("x &", "ping\npong\n"),
            ],
        };
        assert_eq!(Story::of(readme).unwrap(), story);
        assert!(Story::of("### Who waits").is_err());
    }
}
