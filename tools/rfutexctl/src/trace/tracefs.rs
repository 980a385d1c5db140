// SPDX-License-Identifier: GPL-2.0
//! An instance of tracefs: a buffer of one's own, in which only events of rfutex are.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Where tracefs may be.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The most that one call reads, so that a storm does not keep it.
const AT_ONCE: usize = 1 << 20;

/// An instance, which is removed when it is dropped.
#[derive(Debug)]
pub struct Instance {
    // It is closed before its directory is removed.
    pipe: Option<File>,
    dir: PathBuf,
    /// The beginning of a line whose end has not been read.
    rest: Vec<u8>,
}

impl Instance {
    /// Makes an instance that is named for `purpose`, with these events of rfutex; all if
    /// `events` is empty.
    ///
    /// # Errors
    ///
    /// There is no tracefs, permission is missing, or the module has no such events.
    pub fn new(purpose: &str, events: &[String]) -> Result<Self> {
        let place = PLACES.into_iter().map(Path::new);
        let Some(place) = place.clone().find(|place| place.join("instances").exists()) else {
            // Without permission, not even that it is there can be seen.
            let denied = place
                .map(|place| place.join("instances").metadata())
                .any(|m| m.is_err_and(|e| e.kind() == ErrorKind::PermissionDenied));
            ensure!(!denied, "permission to use tracefs is missing");
            bail!("tracefs is not mounted at {}", PLACES[0]);
        };
        let dir = place.join(format!(
            "instances/rfutexctl-{purpose}-{}",
            std::process::id()
        ));
        match fs::create_dir(&dir) {
            Ok(()) => (),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                bail!("permission to use tracefs is missing")
            }
            Err(error) => return Err(error).context(dir.display().to_string()),
        }
        // From here on, it is removed whatever happens.
        let mut instance = Self {
            pipe: None,
            dir,
            rest: Vec::new(),
        };
        ensure!(
            instance.has_events(),
            "the module that is loaded has no trace events: it is too old, or the kernel was built \
             without them"
        );
        // A thread that has ended cannot be asked for its process any more.
        let _ = fs::write(instance.dir.join("options/record-tgid"), "1");
        // The first event wakes the reader, not half a buffer of them.
        let _ = fs::write(instance.dir.join("buffer_percent"), "0");
        let all = [String::new()];
        for event in if events.is_empty() { &all } else { events } {
            let file = instance.events().join(event).join("enable");
            ensure!(
                !event.contains('/') && file.exists(),
                "there is no event {event}: there are {}",
                instance.names().join(", ")
            );
            fs::write(&file, "1").with_context(|| file.display().to_string())?;
        }
        let pipe = instance.dir.join("trace_pipe");
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&pipe)
            .with_context(|| pipe.display().to_string())?;
        instance.pipe = Some(opened);
        Ok(instance)
    }

    fn events(&self) -> PathBuf {
        self.dir.join("events/rfutex")
    }

    /// Whether the module's events are there: not after it was unloaded.
    pub fn has_events(&self) -> bool {
        self.events().exists()
    }

    /// The names of the module's events.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.events()).into_iter().flatten().flatten();
        let directories = entries.filter(|entry| entry.path().is_dir());
        let mut names: Vec<_> = directories
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// The lines that have come, or that come within `wait`.
    pub fn read(&mut self, wait: Duration) -> Result<Vec<String>> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(Vec::new());
        };
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => (),
            Err(error) => return Err(error).context("trace_pipe"),
        }
        let mut chunk = [0; 1 << 14];
        let mut len = 0;
        while len < AT_ONCE {
            match pipe.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => {
                    self.rest.extend_from_slice(&chunk[..n]);
                    len += n;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => break,
                Err(error) => return Err(error).context("trace_pipe"),
            }
        }
        Ok(lines(&mut self.rest))
    }
}

/// Takes the whole lines out of `bytes`.
fn lines(bytes: &mut Vec<u8>) -> Vec<String> {
    let end = bytes
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |at| at + 1);
    let whole: Vec<u8> = bytes.drain(..end).collect();
    String::from_utf8_lossy(&whole)
        .lines()
        .map(str::to_owned)
        .collect()
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.pipe = None;
        // An instance with events that are on can be removed.
        let _ = fs::remove_dir(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole() {
        let mut bytes = b"one\ntwo\nthr".to_vec();
        assert_eq!(lines(&mut bytes), ["one", "two"]);
        bytes.extend(b"ee\n");
        assert_eq!(lines(&mut bytes), ["three"]);
        assert_eq!(lines(&mut bytes), [""; 0]);
    }
}
