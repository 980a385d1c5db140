// SPDX-License-Identifier: GPL-2.0
//! The set-up scripts: the cache keeps what is whole and nothing else, and what
//! is missing is said by name.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A builder that takes a while, notes that it ran, and makes two files.
const BUILDER: &str = r#"
builder() {
    echo built >>"$RFUTEX_CACHE/built"
    echo one >"$1/one"
    [ ! -e "$RFUTEX_CACHE/fail" ] || return 1
    while [ -e "$RFUTEX_CACHE/wait" ]; do sleep 0.05; done
    echo two >"$1/two"
    entry_finish "$1" one two
}
"#;

/// A builder whose work is a step with a spinner. What the step runs notes that
/// a signal ends it, which takes it a moment.
const STEP: &str = r#"
job() {
    bash -c 'trap "sleep 0.5; echo ended >>$RFUTEX_CACHE/ended; exit 1" INT TERM
        echo built >>"$RFUTEX_CACHE/built"
        while [ -e "$RFUTEX_CACHE/wait" ]; do sleep 0.05; done'
}
builder() {
    echo one >"$1/one"
    with_spinner step "$1/log" job
    echo two >"$1/two"
    entry_finish "$1" one two
}
"#;

/// How the scripts call it, most often.
const MAKE: &str = "dir=$(make_entry thing builder)\nprintf '%s\\n' \"$dir\"";

/// A cache of its own, and the scripts' functions on it.
struct Cache(TempDir);

impl Cache {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Bash with the functions and on the cache, as one that a user starts:
    /// SIGINT ends it even where it is ignored here.
    fn script(&self, text: &str) -> Command {
        let lib = top().join("tools/kernel/lib.sh");
        let mut bash = Command::new("env");
        bash.args(["--default-signal=INT", "bash", "-c"])
            .arg(format!(". {}\n{text}", lib.display()))
            .env("RFUTEX_CACHE", self.0.path());
        bash
    }

    fn command(&self) -> Command {
        self.script(&format!("{BUILDER}\n{MAKE}"))
    }

    fn make(&self) -> Output {
        self.command().output().unwrap()
    }

    /// Makes the entry, which must work, and returns how often it was built so far.
    fn made(&self) -> usize {
        let output = self.make();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(
            text(&output.stdout).trim_end(),
            self.at("thing").display().to_string()
        );
        assert_eq!(fs::read_to_string(self.at("thing/two")).unwrap(), "two\n");
        self.times_built()
    }

    fn times_built(&self) -> usize {
        fs::read_to_string(self.at("built"))
            .unwrap_or_default()
            .lines()
            .count()
    }

    fn await_times_built(&self, times: usize) {
        let began = Instant::now();
        while self.times_built() < times {
            assert!(began.elapsed() < Duration::from_secs(30), "no build began");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn what_is_there_is_not_built_again() {
    let cache = Cache::new();
    assert_eq!((cache.made(), cache.made()), (1, 1));
}

#[test]
fn damage_is_noticed() {
    let cache = Cache::new();
    cache.made();
    fs::write(cache.at("thing/one"), "another\n").unwrap();
    assert_eq!(cache.made(), 2);
    fs::remove_file(cache.at("thing/two")).unwrap();
    assert_eq!(cache.made(), 3);
    fs::write(cache.at("thing/.complete"), "").unwrap();
    assert_eq!(cache.made(), 4);
}

#[test]
fn a_build_that_fails_leaves_nothing_that_counts() {
    let cache = Cache::new();
    fs::write(cache.at("fail"), "").unwrap();
    // Nor does who asks for it go on, however it asks.
    for ask in [
        MAKE,
        "dir=$(make_entry thing builder)/bin",
        "outer() { local dir; dir=$(make_entry thing builder); echo; }; dir=$(outer)",
        "dir=$(make_entry thing builder) || exit 1",
    ] {
        let output = cache
            .script(&format!("{BUILDER}\n{ask}\necho went on"))
            .output()
            .unwrap();
        let said = text(&output.stdout);
        assert!(!output.status.success() && said.is_empty(), "{ask}: {said}");
    }
    fs::remove_file(cache.at("fail")).unwrap();
    assert_eq!(cache.made(), 5);
}

#[test]
fn a_killed_build_is_begun_anew() {
    let cache = Cache::new();
    fs::write(cache.at("wait"), "").unwrap();
    let mut run = cache.command().process_group(0).spawn().unwrap();
    cache.await_times_built(1);
    killpg(Pid::from_raw(run.id() as i32), Signal::SIGKILL).unwrap();
    run.wait().unwrap();
    fs::remove_file(cache.at("wait")).unwrap();
    assert_eq!(cache.made(), 2);
}

#[test]
fn an_interrupted_build_has_ended_when_the_next_begins() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let cache = Cache::new();
        fs::write(cache.at("wait"), "").unwrap();
        let script = format!("{STEP}\n{MAKE}");
        let run = cache
            .script(&script)
            .process_group(0)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        cache.await_times_built(1);
        killpg(Pid::from_raw(run.id() as i32), signal).unwrap();
        // It gets the lock as soon as nobody has it.
        let next = cache
            .script("alone \"$CACHE/locks/thing.lock\" testing cat \"$CACHE/ended\"")
            .output()
            .unwrap();
        assert_eq!(text(&next.stdout), "ended\n", "{signal}");
        let output = run.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert!(!output.status.success());
        assert!(said.contains("step was interrupted"), "{said}");
        fs::remove_file(cache.at("wait")).unwrap();
        assert_eq!(cache.made(), 2);
    }
}

#[test]
fn two_at_once_build_once() {
    let cache = Cache::new();
    fs::write(cache.at("wait"), "").unwrap();
    let mut first = cache.command().spawn().unwrap();
    cache.await_times_built(1);
    let mut others: Vec<_> = (0..2)
        .map(|_| cache.command().stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for other in &mut others {
        let mut said = String::new();
        BufReader::new(other.stderr.as_mut().unwrap())
            .read_line(&mut said)
            .unwrap();
        assert!(said.contains("another run is preparing thing"), "{said}");
    }
    fs::remove_file(cache.at("wait")).unwrap();
    for run in others.iter_mut().chain([&mut first]) {
        assert!(run.wait().unwrap().success());
    }
    assert_eq!(cache.made(), 1);
}

/// A directory of links to the programs that any system has, and no more.
fn small_path(dir: &Path) -> PathBuf {
    for name in [
        "bash", "cat", "dirname", "id", "mkdir", "sed", "sort", "tr", "head", "flock",
    ] {
        let which = Command::new("sh")
            .args(["-c", &format!("command -v {name}")])
            .output()
            .unwrap();
        symlink(text(&which.stdout).trim(), dir.join(name)).unwrap();
    }
    dir.to_owned()
}

#[test]
fn without_apt_what_is_missing_is_named() {
    let (dir, cache) = (tempfile::tempdir().unwrap(), Cache::new());
    let output = Command::new("bash")
        .arg(top().join("tools/kernel/packages.sh"))
        .env("PATH", small_path(dir.path()))
        .env("RFUTEX_CACHE", cache.0.path())
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("no apt"), "{said}");
    for name in [
        "make",
        "flex",
        "qemu-system-x86_64",
        "busybox",
        "libelf-dev",
    ] {
        assert!(
            said.split_whitespace().any(|word| word == name),
            "{name} is not in: {said}"
        );
    }
}

/// Writes programs, each a shell script, into `dir`.
fn programs(dir: &Path, scripts: &[(&str, &str)]) {
    for (name, script) in scripts {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/bash\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Where programs are looked for: in `dir` before anywhere else.
fn path_with(dir: &Path) -> String {
    format!("{}:{}", dir.display(), std::env::var("PATH").unwrap())
}

/// rustc's own LLVM is one that no system has. Which one is chosen depends on what apt has after
/// its lists were updated, however much apt-cache prints, and is the same for all runs.
#[test]
fn all_runs_choose_the_same_llvm() {
    const RUSTC: &str = "echo 'LLVM version: 9999.1.2'";
    const UPDATE: &str = "[ \"$1\" != update ] || echo updated >>\"$RFUTEX_CACHE/updates\"";
    // More than a pipe holds, so that it writes when nobody reads any more.
    const CANDIDATE: &str = "[ -e \"$RFUTEX_CACHE/updates\" ] || exit 0
        echo '  Candidate: 1:9999.1.8-1'
        for i in {1..20000}; do echo '     500 a mirror'; done";
    const NONE: &str = "echo '  Candidate: (none)'";
    for (policy, version, updates) in [(CANDIDATE, "9999", 2), (NONE, "19", 1)] {
        let (dir, cache) = (tempfile::tempdir().unwrap(), Cache::new());
        programs(
            dir.path(),
            &[
                ("rustc", RUSTC),
                ("sudo", "\"$@\""),
                ("apt-get", UPDATE),
                ("apt-cache", policy),
            ],
        );
        let choose = || {
            let output = Command::new("bash")
                .args([
                    "-c",
                    ". tools/kernel/lib.sh; version=$(llvm_version); echo $version",
                ])
                .current_dir(top())
                .env("PATH", path_with(dir.path()))
                .env("RFUTEX_CACHE", cache.0.path())
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
            text(&output.stdout)
        };
        assert_eq!(
            [choose(), choose()].map(|v| v.trim().to_owned()),
            [version; 2]
        );
        let log = fs::read_to_string(cache.at("updates")).unwrap();
        assert_eq!(log.lines().count(), updates);
        // What becomes available later is for a new cache.
        programs(dir.path(), &[("apt-cache", CANDIDATE)]);
        assert_eq!(choose().trim(), version);
    }
}

/// `make modules` for a build directory with these files in it.
fn make_for(files: &[(&str, &str)]) -> String {
    let kdir = tempfile::tempdir().unwrap();
    for (name, contents) in files {
        let path = kdir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    let output = Command::new("make")
        .args(["--no-print-directory", "-C"])
        .arg(top())
        .arg("modules")
        .arg(format!("KDIR={}", kdir.path().display()))
        .env_remove("MAKEFLAGS")
        .output()
        .unwrap();
    assert!(!output.status.success());
    text(&output.stderr)
}

#[test]
fn a_kernel_without_rust_is_refused_in_a_sentence() {
    let auto = "include/config/auto.conf";
    for (said, want) in [
        (make_for(&[]), "is not the build directory of a kernel"),
        (
            make_for(&[(auto, "CONFIG_SMP=y\n")]),
            "built without Rust (CONFIG_RUST)",
        ),
        (
            make_for(&[(auto, "CONFIG_RUST=y\n")]),
            "lacks rust/libkernel.rmeta",
        ),
    ] {
        assert!(said.contains(want) && said.contains("make demo"), "{said}");
        assert_eq!(
            said.lines()
                .filter(|line| line.starts_with("rfutex:"))
                .count(),
            1,
            "{said}"
        );
    }
}

#[test]
fn a_source_that_is_none_is_refused() {
    let (dir, cache) = (tempfile::tempdir().unwrap(), Cache::new());
    let output = Command::new(top().join("tools/kernel/source.sh"))
        .env("KSRC", dir.path())
        .env("RFUTEX_CACHE", cache.0.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("is not a kernel source tree"));
}

/// An apt that knows the kernel's source, but cannot fetch it.
const APT: &str = r#"
case $* in
indextargets*) echo "http://mirror.invalid/debian main" ;;
madison*) echo "linux-source | 7.3.4-1 | index" ;;
download*) echo "cannot be fetched" >&2; exit 100 ;;
esac
"#;

#[test]
fn a_download_that_fails_says_what_else_would_do() {
    let (dir, cache) = (tempfile::tempdir().unwrap(), Cache::new());
    programs(dir.path(), &[("apt-get", APT), ("apt-cache", APT)]);
    let output = Command::new(top().join("tools/kernel/source.sh"))
        .env("PATH", path_with(dir.path()))
        .env("RFUTEX_CACHE", cache.0.path())
        // Nobody listens there.
        .env("DEBIAN_SNAPSHOT", "http://127.0.0.1:1")
        .env("KERNEL_ORG", "http://127.0.0.1:1")
        .env_remove("KSRC")
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(said.contains("apt cannot download linux-source"), "{said}");
    assert!(said.contains("KSRC=DIR"), "{said}");
    assert!(!said.contains("unpack"), "{said}");
}

#[test]
fn the_compiler_asked_for_builds_the_programs() {
    let output = Cache::new()
        .script("printf %s \"$RUSTC_MIN\"")
        .output()
        .unwrap();
    let wanted = concat!(env!("CARGO_PKG_RUST_VERSION"), ".0");
    assert_eq!(text(&output.stdout), wanted);
}
