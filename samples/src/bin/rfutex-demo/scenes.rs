// SPDX-License-Identifier: GPL-2.0
//! The scenes.

use crate::meeting::{Meeting, describe_folio};
use crate::memory::{HUGE, Mapping, PAGE};
use crate::screen::Screen;
use crate::waiter::{self, Process, Sight};
use anyhow::{Context, Result};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{major, minor};
use nix::unistd::ftruncate;
use rfutex::{Rfutex, Word};
use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::thread;

/// Where in its page the word is, in bytes, in every scene.
const OFFSET: usize = 0x40;
/// The page of the file on which the processes meet.
const FILE_PAGE: usize = 3;
/// The page of the huge page on which the threads meet.
const TAIL: usize = 5;

/// The arguments of [`wait_in_process`].
#[derive(clap::Args)]
pub struct ProcessArgs {
    /// The file to map.
    file: PathBuf,
    /// The address at which the other process has mapped it.
    other: u64,
}

/// Maps the first pages of `file`.
fn map_file(file: &Path) -> Result<Mapping> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .with_context(|| format!("{}", file.display()))?;
    Mapping::of_file(file, 0, (FILE_PAGE + 1) * PAGE, PAGE)
}

/// The other process of [`processes`].
pub fn wait_in_process(args: &ProcessArgs) -> Result<()> {
    let rfutex = Rfutex::open()?;
    let first = map_file(&args.file)?;
    // As both exist, at least one lies at another address than the other side's.
    let second = map_file(&args.file)?;
    let mapping = if first.addr() == args.other {
        second
    } else {
        first
    };
    let word = Word::new(mapping.word(FILE_PAGE * PAGE + OFFSET));
    waiter::wait(&rfutex, word, waiter::to_stdout)
}

/// Two processes meet on a word of a shared file mapping.
pub fn processes(screen: &mut Screen, rfutex: &Rfutex) -> Result<()> {
    screen.title("1. Two processes, one file, two addresses");
    let file = tempfile::Builder::new().prefix("rfutex-demo-").tempfile()?;
    file.as_file().set_len(((FILE_PAGE + 1) * PAGE) as u64)?;
    let mapping = map_file(file.path())?;
    screen.say(&format!(
        "Each process maps {} at an address of its own.\n\
         The word is in page {FILE_PAGE} of the file, at byte {OFFSET:#x}.",
        file.path().display()
    ));
    let child = Command::new(std::env::current_exe()?)
        .arg("wait-in-process")
        .arg(file.path())
        .arg(mapping.addr().to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut process = Process::new(child)?;
    let memory = mapping.word(FILE_PAGE * PAGE + OFFSET);
    let meeting = Meeting {
        rfutex,
        memory,
        word: Word::new(memory),
        others: vec![],
    };
    let sleeper = meeting.show(screen, &mut process)?;
    process.join()?;

    let stat = file.as_file().metadata()?;
    let name = format!(
        "file {}:{} inode {}",
        major(stat.dev()),
        minor(stat.dev()),
        stat.ino()
    );
    let place = (FILE_PAGE as u64, OFFSET as u32);
    screen.check(
        sleeper.addr != Word::new(memory).addr(),
        "their addresses differ, but the place in the file is the same",
    );
    screen.check(
        sleeper.key.1 == name && (sleeper.key.2, sleeper.key.3) == place,
        "stat(2) of the file shows the device and the inode of the key",
    );
    Ok(())
}

/// Lets a thread wait on `word`, and this one wake it.
fn threads(screen: &mut Screen, word: Word<'_>, meeting: &Meeting<'_>) -> Result<Sight> {
    thread::scope(|scope| {
        let (sender, mut receiver) = channel();
        let waiter =
            scope.spawn(move || waiter::wait(meeting.rfutex, word, waiter::to_thread(sender)));
        let sleeper = meeting.show(screen, &mut receiver)?;
        waiter.join().expect("it does not panic")?;
        Ok(sleeper)
    })
}

/// Two threads meet on memory of their own process.
pub fn private(screen: &mut Screen, rfutex: &Rfutex) -> Result<()> {
    screen.title("2. Two threads of one process, private memory");
    let mapping = Mapping::anonymous(PAGE)?;
    let memory = mapping.word(OFFSET);
    let shared = Word::new(memory);
    for (text, word, kind, other, what) in [
        (
            "Anonymous memory has no file: the key is the address in this address space.\n\
             The module looked at the page to find that out.",
            shared,
            "mm",
            shared.private(),
            "the same word with the PRIVATE flag",
        ),
        (
            "\nThe same word with the PRIVATE flag: the caller says that only threads of this\n\
             process meet here, so the module need not look at the page.",
            shared.private(),
            "private",
            shared,
            "the same word without the flag",
        ),
    ] {
        screen.say(text);
        memory.store(0, Ordering::Relaxed);
        let meeting = Meeting {
            rfutex,
            memory,
            word,
            others: vec![(what, other)],
        };
        let sleeper = threads(screen, word, &meeting)?;
        screen.check(
            sleeper.key.0 == kind && sleeper.folio.is_some() == (kind == "mm"),
            &format!("the key is of kind {kind}"),
        );
    }
    Ok(())
}

/// Two threads meet on a page inside a huge page, if the kernel has such pages.
pub fn huge(screen: &mut Screen, rfutex: &Rfutex) -> Result<()> {
    screen.title("3. Inside a huge page");
    if !Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
        screen.say("This kernel has no transparent huge pages.");
        return Ok(());
    }
    let file = memfd_create("rfutex-demo", MFdFlags::MFD_CLOEXEC)?;
    ftruncate(&file, HUGE.try_into()?)?;
    let whole = Mapping::of_file(&file, 0, HUGE, HUGE)?;
    let part = Mapping::of_file(&file, TAIL * PAGE, PAGE, PAGE)?;
    let word = Word::new(whole.word(TAIL * PAGE + OFFSET));
    let neighbour = Word::new(whole.word((TAIL + 1) * PAGE + OFFSET));
    let memory = part.word(OFFSET);

    screen.say(&format!(
        "madvise(MADV_COLLAPSE) makes one huge page of a memfd of 2 MiB. The waiter maps\n\
         all of it and uses page {TAIL}, at byte {OFFSET:#x}. The waker maps page {TAIL} alone.\n\
         Page {} has a word at the same byte.",
        TAIL + 1
    ));
    let before = Sight::of(rfutex, word)?;
    whole.collapse()?;
    let after = Sight::of(rfutex, word)?;
    let next = Sight::of(rfutex, neighbour)?;
    screen.check(
        before.folio == Some((0, 0)) && after.folio == Some((9, TAIL as u64)),
        &format!(
            "the word lay on {}, and lies on {} now",
            describe_folio(before.folio),
            describe_folio(after.folio)
        ),
    );
    screen.check(before.key == after.key, "its key is the same as before");
    screen.check(
        next.folio == Some((9, TAIL as u64 + 1)) && next.key != after.key,
        &format!(
            "the next page is part of the same huge page, but its key has page {}",
            next.key.2
        ),
    );
    let meeting = Meeting {
        rfutex,
        memory,
        word: Word::new(memory),
        others: vec![("the same byte of the next page", neighbour)],
    };
    threads(screen, word, &meeting).map(drop)
}
