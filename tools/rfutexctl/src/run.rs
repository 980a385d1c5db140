// SPDX-License-Identifier: GPL-2.0
//! `run`: a program whose futex calls, and those of its libraries, go to rfutex.
//!
//! The work is the preloaded library's. Here it is made sure that it can be done: a program into
//! which the library cannot be loaded would run, and wait elsewhere than its peers.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use object::elf::{FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, elf};
use rustix::fs::{Access, access, getxattr};
use rustix::io::Errno;

use crate::cli::Run;
use crate::device;

/// The library, as a file.
const LIBRARY: &str = "librfutex_preload.so";

/// The C library that it is for, by its loader.
const LOADER: &[u8] = b"ld-linux-x86-64.so.2";

/// How many bytes at the beginning of a program are looked at.
const START: u64 = 4096;

/// How often a script may name another script as what interprets it, as in the kernel.
const SCRIPTS: usize = 5;

/// Why the program does not run, and the exit status that says so.
#[derive(Debug)]
pub struct Refused {
    /// The exit status.
    pub status: u8,
    why: String,
}

impl Refused {
    /// It is not for the program.
    const OURS: u8 = 125;
    /// There is such a program, and it cannot be run.
    const CANNOT: u8 = 126;
    /// There is none.
    const MISSING: u8 = 127;

    fn new(status: u8, why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self { status, why }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Refused {}

/// Becomes the program. Returns only if that cannot be.
pub fn run(options: &Run) -> Result<u8> {
    let error = match prepared(options) {
        Ok(mut command) => {
            let error = command.exec();
            let program = command.get_program().display().to_string();
            let status = match error.kind() {
                ErrorKind::NotFound => Refused::MISSING,
                _ => Refused::CANNOT,
            };
            Refused::new(status, format_args!("{program} cannot be run: {error}"))
        }
        Err(refused) => refused,
    };
    Err(error.into())
}

/// The command, if all is there that it needs.
fn prepared(options: &Run) -> Result<Command, Refused> {
    if !cfg!(target_arch = "x86_64") {
        let why = "programs can be run on rfutex on x86-64 only";
        return Err(Refused::new(Refused::OURS, why));
    }
    let (name, arguments) = options.program.split_first().expect("clap wants one");
    let program = find(name, env::var_os("PATH").as_deref())?;
    look(&program)?;
    let ours = |error: anyhow::Error| Refused::new(Refused::OURS, format_args!("{error:#}"));
    device::open().map_err(ours)?;
    let library = match &options.library {
        Some(library) => std::path::absolute(library)
            .map_err(|error| ours(error.into()))
            .and_then(named)?,
        None => beside().ok_or_else(|| {
            let why = format!("{LIBRARY} is not where it is installed: name it with --library");
            Refused::new(Refused::OURS, why)
        })?,
    };
    let mut command = Command::new(&program);
    command
        .arg0(name)
        .args(arguments)
        .env("LD_PRELOAD", preload(&library, env::var_os("LD_PRELOAD")))
        .env("RFUTEX_PRELOAD_REDIRECT", "1");
    if options.report {
        command.env("RFUTEX_PRELOAD_REPORT", "1");
    }
    if options.require {
        command.env("RFUTEX_PRELOAD", "require");
    }
    // Whoever has set it, to nothing maybe, knows better.
    if env::var_os(CACHE).is_none()
        && let Some(directory) = cache()
    {
        command.env(CACHE, directory);
    }
    Ok(command)
}

/// The variable that names the directory in which the library keeps what it has found out about
/// other libraries.
const CACHE: &str = "RFUTEX_PRELOAD_CACHE";

/// How long that is of use without having been made anew: nobody knows of which libraries it is
/// that are there no more.
const KEPT: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// That directory, made if it was not there. `None` if there can be none: programs just start more
/// slowly then.
fn cache() -> Option<PathBuf> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let parent = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    let directory = parent.join("rfutex-preload");
    let mut builder = fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .ok()?;
    for entry in fs::read_dir(&directory).ok()?.flatten() {
        let age = entry.metadata().and_then(|metadata| metadata.modified());
        if age.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > KEPT)) {
            // Another may have removed it, and if it stays, it does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
    Some(directory)
}

/// The library that the user has named.
fn named(library: PathBuf) -> Result<PathBuf, Refused> {
    let refuse = |why: fmt::Arguments<'_>| Refused::new(Refused::OURS, why);
    access(&library, Access::READ_OK).map_err(|error| {
        refuse(format_args!(
            "{} cannot be used: {error}",
            library.display()
        ))
    })?;
    // The loader takes both for the end of a name.
    if library
        .as_os_str()
        .as_bytes()
        .iter()
        .any(|byte| b": ".contains(byte))
    {
        let name = library.display();
        let why = format_args!("{name} has a space or a colon in it, which the loader cannot take");
        return Err(refuse(why));
    }
    Ok(library)
}

/// The library beside this program, or where it is installed with it.
fn beside() -> Option<PathBuf> {
    let own = env::current_exe().ok()?;
    let directory = own.parent()?;
    let places = [
        directory.join(LIBRARY),
        directory.parent()?.join("lib/rfutex").join(LIBRARY),
    ];
    places.into_iter().find_map(|place| named(place).ok())
}

/// The libraries to preload: ours first.
fn preload(library: &Path, others: Option<OsString>) -> OsString {
    let mut all = library.as_os_str().to_owned();
    if let Some(others) = others.filter(|others| !others.is_empty()) {
        all.push(":");
        all.push(others);
    }
    all
}

/// Finds a program as a shell does, in the directories of `path` if its name has no slash.
fn find(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Refused> {
    if name.as_bytes().contains(&b'/') {
        return Ok(name.into());
    }
    // What is there and cannot be run is better than nothing.
    let mut there = None;
    for directory in env::split_paths(path.unwrap_or_default()) {
        let file = directory.join(name);
        if !file.is_file() {
            continue;
        }
        if access(&file, Access::EXEC_OK).is_ok() {
            return Ok(file);
        }
        there = there.or(Some(file));
    }
    there.ok_or_else(|| {
        let why = format!("there is no program {}", name.display());
        Refused::new(Refused::MISSING, why)
    })
}

/// Looks whether the library can be loaded into a program.
fn look(program: &Path) -> Result<(), Refused> {
    let name = program.display().to_string();
    let cannot = |why: fmt::Arguments<'_>| {
        Refused::new(
            Refused::CANNOT,
            format_args!("{name} cannot be run on rfutex: {why}"),
        )
    };
    let mut file = program.to_owned();
    for _ in 0..SCRIPTS {
        let metadata = fs::metadata(&file).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Refused::new(
                Refused::MISSING,
                format_args!("there is no {}", file.display()),
            ),
            _ => cannot(format_args!("{error}")),
        })?;
        if !metadata.is_file() {
            return Err(cannot(format_args!("it is not a file")));
        }
        if access(&file, Access::EXEC_OK).is_err() {
            return Err(cannot(format_args!("it may not be executed")));
        }
        let mut bytes = Vec::new();
        let read = File::open(&file).and_then(|file| file.take(START).read_to_end(&mut bytes));
        match read {
            Ok(_) => (),
            // It may be executed all the same; then the loader says what there is to say.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(()),
            Err(error) => return Err(cannot(format_args!("{error}"))),
        }
        match Kind::of(&bytes) {
            Kind::Script(interpreter) => file = interpreter,
            Kind::Good if has_more_privileges(&file, &metadata) => {
                let why = "it has more privileges than its caller, and the loader loads no library \
                           into such a program";
                return Err(cannot(format_args!("{why}")));
            }
            Kind::Good => return Ok(()),
            Kind::Bad(why) => return Err(cannot(format_args!("{why}"))),
        }
    }
    Err(cannot(format_args!(
        "its interpreter is a script of a script"
    )))
}

/// True if the loader ignores `LD_PRELOAD` for this program.
fn has_more_privileges(file: &Path, metadata: &fs::Metadata) -> bool {
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    let another_user = metadata.mode() & libc::S_ISUID != 0 && metadata.uid() != user;
    let another_group = metadata.mode() & libc::S_ISGID != 0 && metadata.gid() != group;
    let capabilities = getxattr(file, c"security.capability", &mut [0_u8; 64][..]);
    let has_capabilities = matches!(capabilities, Ok(_) | Err(Errno::RANGE));
    another_user || another_group || has_capabilities && user != 0
}

/// What a program is, by its first bytes.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// The library can be loaded into it.
    Good,
    /// Another program interprets it.
    Script(PathBuf),
    /// The library cannot be loaded into it.
    Bad(&'static str),
}

impl Kind {
    fn of(bytes: &[u8]) -> Self {
        if let Some(rest) = bytes.strip_prefix(b"#!") {
            let line = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
            let mut words = line.split(|byte| b" \t".contains(byte));
            return match words.find(|word| !word.is_empty()) {
                Some(word) => Self::Script(OsString::from_vec(word.to_vec()).into()),
                None => Self::Bad("it does not say what interprets it"),
            };
        }
        if !bytes.starts_with(&elf::ELFMAG) {
            return Self::Bad("it is no program of this machine");
        }
        Self::of_elf(bytes).unwrap_or(Self::Bad("it is for another architecture"))
    }

    /// What an ELF file is; `None` if it is for another machine.
    fn of_elf(bytes: &[u8]) -> Option<Self> {
        let header = FileHeader64::<LittleEndian>::parse(bytes).ok()?;
        let endian = header.endian().ok()?;
        if header.e_machine(endian) != elf::EM_X86_64 {
            return None;
        }
        let headers = header.program_headers(endian, bytes).unwrap_or_default();
        let loader = headers
            .iter()
            .find(|header| header.p_type(endian) == PT_INTERP);
        let Some(loader) = loader else {
            return Some(Self::Bad(
                "it is static, and no library can be loaded into it",
            ));
        };
        let name = loader.data(endian, bytes).unwrap_or_default();
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        if name.is_empty() || name.ends_with(LOADER) {
            return Some(Self::Good);
        }
        Some(Self::Bad("it uses another C library than glibc"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_by_a_shell() {
        let directory = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| directory.path().join(name));
        for place in [&first, &second] {
            fs::create_dir(place).unwrap();
        }
        let path = env::join_paths([&first, &second]).unwrap();
        let find = |name: &str| find(OsStr::new(name), Some(&path));
        assert_eq!(find("program").unwrap_err().status, 127);
        fs::write(first.join("program"), "").unwrap();
        assert_eq!(find("program").unwrap(), first.join("program"));
        fs::write(second.join("program"), "").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(second.join("program"), mode).unwrap();
        assert_eq!(find("program").unwrap(), second.join("program"));
        assert_eq!(find("./program").unwrap(), Path::new("./program"));
        fs::create_dir(first.join("directory")).unwrap();
        assert_eq!(find("directory").unwrap_err().status, 127);
    }

    /// The beginning of a program with one header of this kind, and a name there.
    fn program(kind: u32, name: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 120];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[18] = 62;
        bytes[20] = 1;
        bytes[32] = 64;
        bytes[52] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64..68].copy_from_slice(&kind.to_le_bytes());
        bytes[72] = 120;
        bytes[96] = name.len() as u8;
        bytes.extend(name);
        bytes
    }

    #[test]
    fn what_a_program_is() {
        let good = program(3, b"/lib64/ld-linux-x86-64.so.2\0");
        assert_eq!(Kind::of(&good), Kind::Good);
        let bad = |bytes: &[u8], word: &str| match Kind::of(bytes) {
            Kind::Bad(why) => assert!(why.contains(word), "{why}"),
            other => panic!("{other:?}"),
        };
        bad(&program(1, b""), "static");
        bad(
            &program(3, b"/lib/ld-musl-x86_64.so.1\0"),
            "another C library",
        );
        for (at, value) in [(4, 1), (18, 183), (5, 2)] {
            let mut other = good.clone();
            other[at] = value;
            bad(&other, "another architecture");
        }
        bad(b"", "no program");
        bad(b"\x7fELF", "another architecture");
        bad(b"#!\n/bin/sh", "what interprets it");
        let script = |text: &str| Kind::of(text.as_bytes());
        let shell = Kind::Script("/bin/sh".into());
        assert_eq!(script("#!/bin/sh"), shell);
        assert_eq!(script("#! /bin/sh -e\nexit 0\n"), shell);
    }

    #[test]
    fn other_libraries_come_after_ours() {
        let library = Path::new("/a/b.so");
        assert_eq!(preload(library, None), "/a/b.so");
        assert_eq!(preload(library, Some("".into())), "/a/b.so");
        assert_eq!(
            preload(library, Some("c.so d.so".into())),
            "/a/b.so:c.so d.so"
        );
    }

    #[test]
    fn names_that_the_loader_cannot_take() {
        let directory = tempfile::tempdir().unwrap();
        for (name, good) in [("a.so", true), ("a b.so", false), ("a:b.so", false)] {
            let library = directory.path().join(name);
            fs::write(&library, "").unwrap();
            assert_eq!(named(library).is_ok(), good, "{name}");
        }
        let refused = named(directory.path().join("missing.so")).unwrap_err();
        assert_eq!(refused.status, 125);
    }
}
