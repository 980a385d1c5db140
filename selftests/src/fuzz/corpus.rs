// SPDX-License-Identifier: GPL-2.0
//! The inputs that are kept, and the directory that they are kept in.

use super::input::Input;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The corpus:
///
/// | file | |
/// |---|---|
/// | `corpus/*.ron` | the inputs that are kept |
/// | `running.ron` | the one that is played, if the machine comes to its end by it |
/// | `found.ron` | the one that failed, made small |
/// | `found.txt` | what was wrong with it |
#[derive(Debug)]
pub struct Corpus {
    dir: PathBuf,
    running: File,
    inputs: Vec<Input>,
}

impl Corpus {
    /// The corpus in `dir`, with no input yet; and those that were kept there.
    ///
    /// # Errors
    ///
    /// The directory is not usable, or has something else in it.
    pub fn open(dir: &Path) -> io::Result<(Self, Vec<(PathBuf, Input)>)> {
        fs::create_dir_all(dir.join("corpus"))?;
        let mut paths = Vec::new();
        for entry in fs::read_dir(dir.join("corpus"))? {
            paths.push(entry?.path());
        }
        paths.sort();
        let read = |path: PathBuf| {
            let text = fs::read_to_string(&path)?;
            let input = Input::parse(&text)
                .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
            Ok((path, input))
        };
        let kept = paths.into_iter().map(read).collect::<io::Result<_>>()?;
        let corpus = Self {
            dir: dir.to_owned(),
            running: File::create(dir.join("running.ron"))?,
            inputs: Vec::new(),
        };
        Ok((corpus, kept))
    }

    /// Notes what is about to be played.
    ///
    /// # Errors
    ///
    /// As for files.
    pub fn runs(&self, input: &Input) -> io::Result<()> {
        let text = input.text();
        // Blanks take the place of what was longer.
        let len = self.running.metadata()?.len() as usize;
        self.running
            .write_all_at(format!("{text:<len$}").as_bytes(), 0)
    }

    /// Adds an input that was kept before.
    pub fn add(&mut self, input: Input) {
        self.inputs.push(input);
    }

    /// Adds an input, and keeps it.
    ///
    /// # Errors
    ///
    /// As for files.
    pub fn keep(&mut self, input: Input) -> io::Result<()> {
        let text = input.text();
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let name = format!("corpus/{:016x}.ron", hasher.finish());
        fs::write(self.dir.join(name), text)?;
        self.inputs.push(input);
        Ok(())
    }

    /// Keeps an input that failed.
    ///
    /// # Errors
    ///
    /// As for files.
    pub fn found(&self, input: &Input, what: &str) -> io::Result<()> {
        fs::write(self.dir.join("found.ron"), input.text())?;
        fs::write(self.dir.join("found.txt"), what)
    }

    /// Everything came to its end: no input runs.
    ///
    /// # Errors
    ///
    /// As for files.
    pub fn close(self) -> io::Result<()> {
        fs::remove_file(self.dir.join("running.ron"))
    }

    /// The inputs.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }
}
