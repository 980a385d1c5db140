// SPDX-License-Identifier: GPL-2.0
//! One test process: run with a time limit, in a group of its own, and nothing
//! of it left behind afterwards.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use wait_timeout::ChildExt;

/// How much of a test's output is kept: its end, in bytes.
const OUTPUT_KEPT: u64 = 512 * 1024;

/// How often it is asked whether a test was given up.
const TICK: Duration = Duration::from_millis(100);

/// How long killed processes may take to be gone.
const DEATH: Duration = Duration::from_secs(10);

/// How long processes may take to be gone by themselves once their test ended.
const PARTING: Duration = Duration::from_secs(2);

/// A cgroup that holds a test's processes, so that all of them can be found and
/// ended, whatever they did to their session or parent.
pub struct Group {
    dir: PathBuf,
}

impl Group {
    /// Makes the cgroup `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// The processes in it, and in groups below it, each as a line that tells
    /// what it is and where it sleeps.
    fn members(&self) -> Vec<String> {
        let mut lines = Vec::new();
        walk(&self.dir, &mut |dir| {
            let pids = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            lines.extend(pids.lines().map(describe));
        });
        lines
    }

    /// Waits until there are none, or for `limit`. Returns whether there are none.
    fn empties_within(&self, limit: Duration) -> bool {
        let began = Instant::now();
        while !self.members().is_empty() {
            if began.elapsed() > limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Kills all of them, and waits until they are gone. Returns whether they are.
    fn kill(&self) -> bool {
        // Fails only if the group is gone, and then so are its processes.
        let _ = fs::write(self.dir.join("cgroup.kill"), "1");
        self.empties_within(DEATH)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut dirs = Vec::new();
        walk(&self.dir, &mut |dir| dirs.push(dir.to_owned()));
        for dir in dirs.iter().rev() {
            // A group with an unkillable process stays; that was reported.
            let _ = fs::remove_dir(dir);
        }
    }
}

/// The exit status as a shell has it: 128 and the signal's number if a signal has killed
/// the process.
pub fn exit_status(status: ExitStatus) -> i32 {
    let killed = || 128 + status.signal().unwrap_or(0);
    status.code().unwrap_or_else(killed)
}

/// Calls `visit` on `dir` and each directory below it, parents first.
fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(dir);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), visit);
        }
    }
}

/// What a process is and what its threads do, for a person.
fn describe(pid: &str) -> String {
    let read = |path: String| fs::read_to_string(path).unwrap_or_default();
    let mut text = format!(
        "process {pid} ({})",
        read(format!("/proc/{pid}/comm")).trim()
    );
    for task in fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let dir = task.path().display().to_string();
        let status = read(format!("{dir}/status"));
        let state = status
            .lines()
            .find(|line| line.starts_with("State:"))
            .unwrap_or_default();
        let tid = task.file_name();
        text += &format!("\n  thread {}: {state}", tid.to_string_lossy());
        for frame in read(format!("{dir}/stack")).lines() {
            text += &format!("\n    {frame}");
        }
    }
    text
}

/// How a test process ended.
pub struct Ended {
    /// Its exit status; `None` if it was still running at its time limit.
    pub status: Option<ExitStatus>,
    /// The end of what it wrote to standard output and standard error.
    pub output: String,
    /// How long it ran.
    pub took: Duration,
    /// What was wrong about its end: one sentence each.
    pub wrong: Vec<String>,
}

impl Ended {
    /// True if it exited with 0 and left nothing running.
    pub fn well(&self) -> bool {
        self.status.is_some_and(|s| s.success()) && self.wrong.is_empty()
    }

    /// Judges it as a test program that was to run one trial (`--exact NAME`), and
    /// notes in `wrong` if it did not. Returns why the trial was skipped, if it was.
    pub fn judge_trial(&mut self) -> Option<String> {
        if !self.wrong.is_empty() {
            return None;
        }
        match parse_result(&self.output) {
            Some((1, 0)) => return None,
            Some((0, 1)) => return Some(parse_reason(&self.output)),
            _ => (),
        }
        let wrong = "it did not run exactly this one test";
        self.wrong.push(wrong.to_owned());
        None
    }
}

/// Runs `command` to its end, or for `limit`. Afterwards all of `group`'s
/// processes are dead, or `Ended::wrong` says which are not.
pub fn run(command: &mut Command, limit: Duration, group: Option<&Group>) -> io::Result<Ended> {
    run_unless(command, limit, group, None)
}

/// The same, but ends it as soon as `given_up` says so, as if that were its limit.
pub fn run_unless(
    command: &mut Command,
    limit: Duration,
    group: Option<&Group>,
    given_up: Option<&dyn Fn() -> bool>,
) -> io::Result<Ended> {
    let mut output = tempfile::tempfile()?;
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0);
    if let Some(group) = group {
        let procs = File::options()
            .write(true)
            .open(group.dir.join("cgroup.procs"))?;
        // SAFETY: Between fork and exec the closure makes one system call on a
        // file that it owns, and touches no memory but a constant.
        unsafe {
            command.pre_exec(move || Ok(nix::unistd::write(&procs, b"0").map(drop)?));
        }
    }
    let began = Instant::now();
    let mut child = command.spawn()?;
    let status = match given_up {
        None => child.wait_timeout(limit)?,
        Some(given_up) => loop {
            let left = limit.saturating_sub(began.elapsed());
            let status = child.wait_timeout(left.min(TICK))?;
            if status.is_some() || left.is_zero() || given_up() {
                break status;
            }
        },
    };
    let mut wrong = Vec::new();
    match status {
        None => wrong.push(format!(
            "still running after its limit of {} s",
            limit.as_secs()
        )),
        Some(status) if !status.success() => wrong.push(status.to_string()),
        Some(_) => (),
    }
    let took = began.elapsed();
    wrong.extend(finish(&mut child, status.is_none(), group)?);
    Ok(Ended {
        status,
        output: tail(&mut output)?,
        took,
        wrong,
    })
}

/// Ends what is left of a test; returns what should not have been left.
fn finish(child: &mut Child, running: bool, group: Option<&Group>) -> io::Result<Vec<String>> {
    let mut wrong = Vec::new();
    let pgid = Pid::from_raw(child.id() as i32);
    if let Some(group) = group {
        if !running && group.empties_within(PARTING) {
            return Ok(wrong);
        }
        let members = group.members();
        let word = if running { "stopped:" } else { "left behind:" };
        wrong.extend(members.iter().map(|member| format!("{word} {member}")));
        if !group.kill() {
            let left = group.members().join("\n");
            wrong.push(format!("does not die:\n{left}"));
        }
    } else if killpg(pgid, Signal::SIGKILL).is_ok() && !running {
        wrong.push("left processes behind".to_owned());
    }
    if running {
        child.wait_timeout(DEATH)?;
    }
    Ok(wrong)
}

/// The end of `file`'s contents.
fn tail(file: &mut File) -> io::Result<String> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(OUTPUT_KEPT)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A trial in the list that a test program prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Its name.
    pub name: String,
    /// Its kind: the word in brackets before the name, or nothing.
    pub kind: String,
}

/// The trials in the output of a test program's `--list`.
pub fn parse_list(output: &str) -> Vec<Trial> {
    let trial = |line: &str| {
        let line = line.strip_suffix(": test")?;
        let (kind, name) = match line
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("] "))
        {
            Some((kind, name)) => (kind, name),
            None => ("", line),
        };
        Some(Trial {
            name: name.to_owned(),
            kind: kind.to_owned(),
        })
    };
    output.lines().filter_map(trial).collect()
}

/// What a run of one trial with `--exact` says it did: `(passed, ignored)`.
/// A name that matches nothing is no success, though the exit status says so.
pub fn parse_result(output: &str) -> Option<(u32, u32)> {
    let line = output
        .lines()
        .rev()
        .find(|line| line.starts_with("test result: "))?;
    let count = |word: &str| -> Option<u32> {
        let before = line.split(word).next()?.trim_end();
        before
            .rsplit(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    Some((count(" passed")?, count(" ignored")?))
}

/// Why the one trial of such a run was ignored, as far as the output tells.
fn parse_reason(output: &str) -> String {
    let reason = output
        .lines()
        .find_map(|line| line.strip_prefix("test ")?.split_once("... ignored ("));
    let reason = reason.and_then(|(_, rest)| rest.strip_suffix(')'));
    reason.unwrap_or("ignored").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_an_ignored_trial() {
        let output = "running 1 test\ntest a::b ... ignored (there is none)\n";
        assert_eq!(parse_reason(output), "there is none");
        assert_eq!(parse_reason("test a::b ... ignored\n"), "ignored");
    }

    fn sh(script: &str, limit: u64) -> Ended {
        run(
            Command::new("sh").args(["-c", script]),
            Duration::from_secs(limit),
            None,
        )
        .unwrap()
    }

    #[test]
    fn success_failure_and_output() {
        let ended = sh("echo out; echo err >&2", 10);
        assert!(ended.well());
        assert_eq!(ended.output, "out\nerr\n");
        assert!(!sh("exit 3", 10).well());
        assert!(!sh("kill -SEGV $$", 10).well());
    }

    #[test]
    fn a_hang_ends_at_the_limit_with_its_children() {
        let ended = sh("sleep 1000 & sleep 1000", 1);
        assert!(ended.status.is_none() && !ended.well());
        assert!(ended.took < Duration::from_secs(5));
    }

    #[test]
    fn a_child_left_behind_is_seen() {
        let ended = sh("sleep 1000 >/dev/null & exit 0", 10);
        assert!(ended.status.is_some_and(|s| s.success()) && !ended.well());
    }

    #[test]
    fn lists_and_results() {
        let list =
            parse_list("smoke::wake: test\n[lab] keys::held: test\n\n2 tests, 0 benchmarks\n");
        let trial = |name: &str, kind: &str| Trial {
            name: name.into(),
            kind: kind.into(),
        };
        assert_eq!(list, [trial("smoke::wake", ""), trial("keys::held", "lab")]);
        let line = "\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out\n";
        assert_eq!(parse_result(line), Some((1, 0)));
        let none = "test result: ok. 0 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out";
        assert_eq!(parse_result(none), Some((0, 1)));
        assert_eq!(parse_result("killed"), None);
    }
}
