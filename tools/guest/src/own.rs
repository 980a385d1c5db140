// SPDX-License-Identifier: GPL-2.0
//! Runs a program that is not ours: in the root directory and with the directory that
//! the user, or a test, asked for.

use std::ffi::CString;
use std::fs;
use std::io::{BufRead, BufReader, stdin};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{chdir, chroot};
use rfutex_guest::event::Event;
use rfutex_guest::plan::{DIR, HOST, HOST_ROOT, HostRoot, Place};
use rfutex_guest::trial;

/// What the kernel shows of itself, and the guest's own temporary files, are the
/// guest's in the host's root directory, too.
const OF_THE_GUEST: &[&str] = &["/proc", "/sys", "/dev", "/tmp"];

/// What a shell says of a command that cannot be run.
const NO_COMMAND: i32 = 127;

/// Runs `argv` in `place` to its end. Returns its exit status, or 128 and the
/// number of the signal that killed it.
pub fn run(argv: &[String], place: &Place) -> Result<i32> {
    let mut command = in_place(argv, place, "/")?;
    if place.terminal {
        // virtme-ng's init opens it as it suits init; programs expect reads to wait.
        let flags = OFlag::from_bits_retain(fcntl(stdin(), FcntlArg::F_GETFL)?);
        fcntl(stdin(), FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    } else {
        command.stderr(Stdio::piped());
    }
    // What the user types to interrupt the program is not meant for us.
    // SAFETY: Ignoring a signal runs no handler.
    unsafe {
        signal(Signal::SIGINT, SigHandler::SigIgn)?;
        signal(Signal::SIGQUIT, SigHandler::SigIgn)?;
    }
    // SAFETY: Between fork and exec the closure makes two system calls, and allocates
    // nothing.
    unsafe {
        command.pre_exec(|| {
            signal(Signal::SIGINT, SigHandler::SigDfl)?;
            signal(Signal::SIGQUIT, SigHandler::SigDfl)?;
            Ok(())
        });
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let line = format!("{}: {error}", argv[0]);
            Event::Stderr { line }.emit()?;
            return Ok(NO_COMMAND);
        }
    };
    if let Some(stderr) = child.stderr.take() {
        pass_on(stderr)?;
    }
    Ok(trial::exit_status(child.wait()?))
}

/// The command that runs `argv` in `place`. It begins in `start` if no directory was brought.
pub fn in_place(argv: &[String], place: &Place, start: &str) -> Result<Command> {
    let root = match place.host_root {
        Some(kind) => host_root(kind).context("the host's root directory")?,
        None => PathBuf::from("/"),
    };
    let start = match &place.dir {
        Some(dir) => {
            bind(DIR, &below(&root, dir)).with_context(|| format!("mounting {dir}"))?;
            dir
        }
        None => start,
    };
    let start = CString::new(start)?;
    let root = CString::new(root.as_os_str().as_bytes())?;
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).envs(place.env.iter().cloned());
    // SAFETY: Between fork and exec the closure makes two system calls, with strings that
    // it owns, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            chroot(root.as_c_str())?;
            Ok(chdir(start.as_c_str())?)
        });
    }
    Ok(command)
}

/// Passes on, line by line, what the program writes to its standard error.
fn pass_on(stderr: ChildStderr) -> Result<()> {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    while stderr.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        let line_of = text.trim_end_matches('\n').to_owned();
        Event::Stderr { line: line_of }.emit()?;
        line.clear();
    }
    Ok(())
}

/// Makes a root directory of the host's, with what has to be the guest's in it, unless
/// that was made before.
fn host_root(kind: HostRoot) -> Result<PathBuf> {
    let root = Path::new(HOST_ROOT);
    if root.exists() {
        return Ok(root.to_owned());
    }
    fs::create_dir_all(root)?;
    match kind {
        HostRoot::Writable => bind(HOST, root)?,
        HostRoot::Overlay => {
            let (upper, work) = ("/run/rfutex/upper", "/run/rfutex/work");
            fs::create_dir_all(upper)?;
            fs::create_dir_all(work)?;
            let options = format!("lowerdir={HOST},upperdir={upper},workdir={work},xino=off");
            mount(
                Some("overlay"),
                root,
                Some("overlay"),
                MsFlags::empty(),
                Some(options.as_str()),
            )?;
        }
    }
    for path in OF_THE_GUEST {
        bind(path, &below(root, path)).with_context(|| (*path).to_owned())?;
    }
    let run = below(root, "/run");
    mount(
        Some("tmpfs"),
        &run,
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .context("/run")?;
    Ok(root.to_owned())
}

/// Shows the directory `from`, and what is mounted below it, at `to` as well.
fn bind(from: impl AsRef<Path>, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(from.as_ref()), to, None::<&str>, flags, None::<&str>)?;
    Ok(())
}

/// The absolute `path`, as it is called outside of `root`.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
