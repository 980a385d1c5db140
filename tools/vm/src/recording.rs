// SPDX-License-Identifier: GPL-2.0
//! `recording`: the story that README tells of two processes that do not meet, played in a
//! terminal and kept as a picture that moves.
//!
//! The commands and the program are README's. What they print is what is seen, but for this: how
//! long they take is left out, and the checkout is shown as `~/rfutex`.

mod film;
mod story;

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rfutex_trial::printed::alike;

use crate::screen::Screen;
use film::Film;
use story::{PROGRAM, SOURCE, Step, Story};

/// The size of the terminal.
const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// How long a key takes, in seconds.
const KEY: f64 = 0.06;

/// How long a picture is shown on which there is nothing new to read.
const SHORT: f64 = 0.5;

/// What the variables of a `make` that has called us would do to the one of the story.
const OF_MAKE: &[&str] = &[
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "KDIR",
    "MODULES",
    "LLVM",
];

/// A file of the story in the checkout, which is removed on drop.
struct Prop(PathBuf);

impl Prop {
    fn new(path: PathBuf) -> Result<Self> {
        ensure!(!path.exists(), "{} is in the way", path.display());
        Ok(Self(path))
    }
}

impl Drop for Prop {
    fn drop(&mut self) {
        // The story may have ended before the file was made.
        let _ = fs::remove_file(&self.0);
    }
}

/// Plays the story and writes the picture to `to`.
pub fn record(top: &Path, to: &Path) -> Result<()> {
    let film = play(top, &[])?;
    let svg = film.svg();
    let mut file = File::create(to).with_context(|| to.display().to_string())?;
    file.write_all(svg.as_bytes())?;
    println!("{}: {} bytes", to.display(), svg.len());
    Ok(())
}

/// Plays the story in the checkout `top`, with these variables in the environment. Fails if
/// something prints another thing than README says.
pub fn play(top: &Path, variables: &[(&str, &str)]) -> Result<Film> {
    let story = Story::read(top)?;
    let source = Prop::new(top.join(SOURCE))?;
    let _program = Prop::new(top.join(PROGRAM))?;
    fs::write(&source.0, &story.program)?;

    let mut shell = Command::new("sh");
    shell.arg("-i").current_dir(top);
    for name in OF_MAKE {
        shell.env_remove(name);
    }
    shell.envs(variables.iter().copied());
    shell
        .env("PS1", "$ ")
        .env("TERM", "xterm")
        .env_remove("ENV");
    let (mut screen, mut child) = Screen::start(shell, ROWS, COLUMNS)?;
    screen.show_as(&top.display().to_string(), "~/rfutex");
    if let Some(home) = env::home_dir() {
        screen.show_as(&home.display().to_string(), "~");
    }
    let mut player = Player {
        screen,
        film: Film::new(ROWS, COLUMNS),
    };
    player.screen.until("a prompt", at_prompt)?;
    player.show(SHORT);
    for step in &story.steps {
        player.play(step)?;
    }
    // Out of the machine, then out of the shell.
    player.screen.write("exit 0\r")?;
    player.screen.until("the host", |s| s.line() == "$ ")?;
    player.screen.write("exit\r")?;
    player.screen.drain()?;
    child.wait()?;
    Ok(player.film)
}

/// Whether the shell, of the host or of the machine, waits for a command.
fn at_prompt(screen: &Screen) -> bool {
    let line = screen.line();
    line == "$ " || line.ends_with(" # ")
}

/// Who types, and films.
struct Player {
    screen: Screen,
    film: Film,
}

impl Player {
    /// Films the screen, for so many seconds.
    fn show(&mut self, seconds: f64) {
        self.film.take(self.screen.screen(), seconds);
    }

    /// Types the command of `step`, and sees that it prints what it should.
    fn play(&mut self, step: &Step) -> Result<()> {
        for key in step.command.chars() {
            let before = self.screen.screen().cursor_position();
            self.screen.write(key.encode_utf8(&mut [0; 4]))?;
            self.screen
                .until("what was typed", |s| s.screen().cursor_position() != before)?;
            self.show(KEY);
        }
        self.show(SHORT);
        self.screen.write("\r")?;
        if step.command == "rfutexctl top" {
            self.look_around()?;
        } else if step.command.ends_with('&') {
            self.start_waiters()?;
        } else {
            self.screen.until(&step.command, at_prompt)?;
        }
        let printed = self.printed(step);
        ensure!(
            step.prints.is_empty() || alike(&printed) == alike(&step.prints),
            "{} prints:\n{printed}\nREADME says:\n{}",
            step.command,
            step.prints
        );
        // The time to read it.
        self.show(SHORT + 0.2 * alike(&printed).len() as f64);
        Ok(())
    }

    /// What stands between the command and the next prompt.
    fn printed(&self, step: &Step) -> String {
        let lines = self.screen.lines();
        let (row, _) = self.screen.screen().cursor_position();
        let before = &lines[..row.into()];
        let command = before.iter().rposition(|l| l.ends_with(&step.command));
        before[command.map_or(0, |at| at + 1)..].join("\n")
    }

    /// The program of the story has printed its only word, before or after the shell has asked
    /// for the next command. Asks it to do so once more if need be.
    fn start_waiters(&mut self) -> Result<()> {
        let after = |s: &Screen| s.lines().iter().any(|line| line.ends_with("# ping"));
        let before = |s: &Screen| at_prompt(s) && s.lines().iter().any(|line| line == "ping");
        self.screen.until("ping", |s| after(s) || before(s))?;
        if !at_prompt(&self.screen) {
            self.show(SHORT);
            self.screen.write("\r")?;
            self.screen.until("a prompt", at_prompt)?;
        }
        Ok(())
    }

    /// Looks at all words in `top` when its history has begun, and opens the first.
    fn look_around(&mut self) -> Result<()> {
        self.screen.until("two waiters", |s| {
            s.lines()[0].starts_with("rfutexctl top: 2 waiters on 2 words in 2 processes")
                && s.lines()[1].ends_with("████")
                && s.screen().hide_cursor()
        })?;
        self.show(5.0);
        self.screen.write("\r")?;
        self.screen.until("one word", |s| {
            s.lines()[4].starts_with("mm word") && s.lines()[6].contains(PROGRAM)
        })?;
        self.show(4.0);
        self.screen.write("q")?;
        self.screen.until("the end of top", at_prompt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roxmltree::Document;

    /// The most bytes that the picture may have.
    const MOST: usize = 200 << 10;

    fn top() -> PathBuf {
        env::var_os("RFUTEX_TOP").map_or_else(|| "../..".into(), PathBuf::from)
    }

    /// Whoever changes the story has to make the recording anew.
    #[test]
    fn the_recording_is_of_this_story() {
        let top = top();
        let svg = fs::read_to_string(top.join(story::PICTURE)).unwrap();
        assert!(svg.len() <= MOST, "{} bytes", svg.len());
        let document = Document::parse(&svg).unwrap();
        let rows: Vec<String> = document
            .descendants()
            .filter(|node| node.tag_name().name() == "g" && node.has_attribute("data-row"))
            .map(|row| {
                let texts = row.descendants().filter(roxmltree::Node::is_text);
                texts.filter_map(|node| node.text()).collect()
            })
            .collect();
        let story = Story::read(&top).unwrap();
        let printed = story.steps.iter().flat_map(|step| step.prints.lines());
        let commands = story.steps.iter().map(|step| step.command.as_str());
        for line in printed.chain(commands).chain(story.program.lines()) {
            let wanted = alike(line);
            let has = |row: &String| alike(row).ends_with(&wanted);
            assert!(rows.iter().any(has), "the recording does not show: {line}");
        }
        let readme = fs::read_to_string(top.join("README.md")).unwrap();
        assert!(readme.contains(&format!("]({})", story::PICTURE)));
    }
}
