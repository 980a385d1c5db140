// SPDX-License-Identifier: GPL-2.0
//! Calls of the raw interface, by a few threads of a process of their own.
//!
//! The threads share memory of some kinds, which is always at the same addresses, so that an
//! address in a struct means the same each time; and they share the files that they open: tables,
//! watch sets and listings. A wait that lasts is interrupted soon.

use super::player::Wrong;
use crate::errors::random::{Places, documented, is_listed};
use crate::harness::{Child, Handler, LIMIT, Mapping, PAGE, try_signal_thread};
use libc::c_int;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::mman::MapFlags;
use nix::sys::signal::{SaFlags, Signal};
use nix::sys::wait::WaitStatus;
use nix::unistd::{Pid, gettid};
use rfutex::Rfutex;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::io::{Read, pipe};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Where the memory is that the threads share.
pub const SHARED: u64 = 0x10_0000_0000;

/// Where a thread has the structs of its calls, one after another so far from each other.
const OWN: u64 = 0x20_0000_0000;
const OWN_DISTANCE: u64 = 0x1_0000_0000;

/// Pages of that. What is behind them is not mapped.
const OWN_LEN: usize = 2 * PAGE;

/// The most threads.
pub const THREADS: usize = 3;

/// The most steps of a thread.
pub const STEPS: usize = 40;

/// How long a wait may last, about.
const PATIENCE: Duration = Duration::from_millis(3);

/// The greatest number of an error that user space may see.
const LAST_ERRNO: i32 = 133;

/// What the threads do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Each of them.
    pub threads: Vec<Vec<Step>>,
}

/// What a thread does next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Calls ioctl(2).
    Ioctl {
        /// On which of the open files. The first one is the device.
        file: u8,
        /// The number of the command.
        request: u32,
        /// Its argument.
        arg: Arg,
    },
    /// Writes to the shared memory.
    Write {
        /// To which mapping.
        map: u8,
        /// Where in it.
        at: u16,
        /// What.
        bytes: Vec<u8>,
    },
    /// Maps a file, and unmaps it again.
    Map {
        /// Which.
        file: u8,
        /// How many pages.
        pages: u8,
    },
    /// Reads from a file.
    Read {
        /// From which.
        file: u8,
        /// How much.
        len: u16,
    },
    /// Asks whether there is something to read.
    Poll {
        /// From which file.
        file: u8,
    },
    /// Closes a file, but not the device.
    Close {
        /// Which.
        file: u8,
    },
}

/// The argument of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arg {
    /// A number.
    Number(u64),
    /// The address of a struct of the thread's own.
    Struct {
        /// Where in the thread's memory it is.
        at: u16,
        /// What is in it.
        bytes: Vec<u8>,
    },
}

impl Calls {
    /// Looks whether it can be played.
    ///
    /// # Errors
    ///
    /// It cannot.
    pub fn check(&self) -> Result<(), String> {
        if self.threads.len() > THREADS {
            return Err(format!("there can be {THREADS} threads"));
        }
        Ok(())
    }

    /// Plays them. What was wrong, if something was.
    pub fn play(&self) -> Result<(), Wrong> {
        let (mut told, tell) = pipe().expect("a pipe");
        let child = Child::run(|| {
            spread();
            if let Some(wrong) = self.play_here() {
                use std::io::Write as _;
                // Who listens sees the end of it in any case.
                let _ = (&tell).write_all(wrong.as_bytes());
            }
        });
        drop(tell);
        let start = Instant::now();
        while !child.is_finished() {
            if start.elapsed() > LIMIT {
                return Err(Wrong::Hangs(format!(
                    "not done after {LIMIT:?}, process {}",
                    child.pid()
                )));
            }
            thread::sleep(Duration::from_micros(200));
        }
        let mut wrong = String::new();
        told.read_to_string(&mut wrong).expect("what was told");
        if !wrong.is_empty() {
            return Err(Wrong::Differs(wrong));
        }
        match child.status() {
            // A call may be told to write to where the program has something itself.
            WaitStatus::Exited(_, 0) | WaitStatus::Signaled(..) => Ok(()),
            other => Err(Wrong::Differs(format!("the process ended so: {other:?}"))),
        }
    }

    /// Plays them in this process.
    fn play_here(&self) -> Option<String> {
        let _handler = Handler::counting(Signal::SIGALRM, SaFlags::empty());
        // Opened here: what is set for an open file is set for all who share it.
        let device = Rfutex::open().expect("/dev/rfutex opens");
        let table = Table {
            places: Places::at(SHARED),
            files: Mutex::new(vec![device.as_fd().as_raw_fd()]),
            wrong: Mutex::default(),
        };
        thread::scope(|scope| {
            let (tell, told) = mpsc::channel();
            let mut threads = Vec::new();
            for (number, steps) in (0..).zip(&self.threads) {
                let (tell, table) = (tell.clone(), &table);
                threads.push(scope.spawn(move || {
                    let _ = tell.send(gettid());
                    table.carry_out(number, steps);
                }));
            }
            drop(tell);
            let tids: Vec<_> = told.iter().take(threads.len()).collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                thread::sleep(PATIENCE);
                for tid in &tids {
                    // It may be at its end.
                    let _ = try_signal_thread(*tid, Signal::SIGALRM);
                }
            }
        });
        let wrong = table.wrong.into_inner();
        wrong.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets this process run on every processor, as any other.
fn spread() {
    let mut all = CpuSet::new();
    for cpu in 0..CpuSet::count() {
        all.set(cpu).expect("a processor");
    }
    sched_setaffinity(Pid::from_raw(0), &all).expect("sched_setaffinity");
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: `param` is valid.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &param) };
    assert_eq!(result, 0, "sched_setscheduler");
}

/// What the threads share.
struct Table {
    places: Places,
    files: Mutex<Vec<RawFd>>,
    /// The first call that went wrong.
    wrong: Mutex<Option<String>>,
}

impl Table {
    /// The file with this number, and whether it is the device.
    fn file(&self, number: u8) -> (RawFd, bool) {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let index = usize::from(number) % files.len();
        (files[index], index == 0)
    }

    fn complain(&self, text: String) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.get_or_insert(text);
    }

    fn carry_out(&self, number: u64, steps: &[Step]) {
        let own = Mapping::at(OWN + number * OWN_DISTANCE, OWN_LEN, MapFlags::MAP_PRIVATE);
        let own = own.expect("nothing is there");
        for (at, step) in steps.iter().enumerate() {
            let Err(errno) = self.step(&own, step) else {
                continue;
            };
            let allowed = match step {
                Step::Ioctl { file, request, .. } if self.file(*file).1 && is_listed(*request) => {
                    documented(*request).contains(&errno)
                }
                _ => (1..=LAST_ERRNO).contains(&errno),
            };
            if !allowed {
                let mut text = format!("thread {number}, step {at} gave errno {errno}: ");
                let _ = write!(text, "{step:?}");
                self.complain(text);
            }
        }
    }

    /// The error, if there is one.
    fn step(&self, own: &Mapping, step: &Step) -> Result<(), i32> {
        match step {
            Step::Ioctl { file, request, arg } => {
                let arg = match arg {
                    Arg::Number(number) => *number,
                    Arg::Struct { at, bytes } => put(own, *at, bytes),
                };
                let (fd, _) = self.file(*file);
                // SAFETY: What the call writes to is memory that holds atomics only, or nothing, or
                // if chance will have it so, this process, which then comes to its end, and whose
                // parent expects that.
                let result = unsafe { libc::ioctl(fd, (*request).into(), arg) };
                let new = done(result)?;
                if opens(*request) && new > 2 {
                    let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
                    files.push(new);
                }
            }
            Step::Write { map, at, bytes } => {
                let map = &self.places.maps[usize::from(*map % 2)];
                put(map, *at, bytes);
            }
            Step::Map { file, pages } => {
                let len = (usize::from(*pages) + 1) * PAGE;
                let (fd, _) = self.file(*file);
                // SAFETY: Nothing that is there is replaced.
                let addr = unsafe {
                    libc::mmap(
                        std::ptr::null_mut(),
                        len,
                        libc::PROT_READ | libc::PROT_WRITE,
                        libc::MAP_SHARED,
                        fd,
                        0,
                    )
                };
                if addr == libc::MAP_FAILED {
                    return done(-1).map(drop);
                }
                // SAFETY: It was mapped just now, and nobody knows where.
                done(unsafe { libc::munmap(addr, len) })?;
            }
            Step::Read { file, len } => {
                let (fd, is_device) = self.file(*file);
                if is_device {
                    return Ok(());
                }
                let mut buffer = vec![0; usize::from(*len)];
                // SAFETY: The buffer is valid for writes of its length.
                let result = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
                done(result.try_into().unwrap_or(c_int::MAX))?;
            }
            Step::Poll { file } => {
                let (fd, _) = self.file(*file);
                // SAFETY: Another thread may close the file meanwhile, and then this is about
                // another one or about none, which poll(2) says.
                let fd = unsafe { BorrowedFd::borrow_raw(fd) };
                let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
                poll(&mut fds, PollTimeout::ZERO).map_err(|errno| errno as i32)?;
            }
            Step::Close { file } => {
                let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
                let index = usize::from(*file) % files.len();
                if index > 0 {
                    let fd = files.remove(index);
                    // SAFETY: It was opened by a step; that others may still use its number is
                    // what is tried here.
                    done(unsafe { libc::close(fd) })?;
                }
            }
        }
        Ok(())
    }
}

/// Whether a command returns a file that it opened.
fn opens(request: u32) -> bool {
    matches!(request & 0xff, 0x24 | 0x27 | 0x30)
}

/// What a call returned, or its error.
fn done(result: c_int) -> Result<c_int, i32> {
    if result < 0 {
        let error = std::io::Error::last_os_error();
        return Err(error.raw_os_error().expect("an errno"));
    }
    Ok(result)
}

/// Puts bytes into a mapping, as far as there is room. Where they are.
fn put(map: &Mapping, at: u16, bytes: &[u8]) -> u64 {
    let at = usize::from(at) % OWN_LEN;
    for (offset, byte) in (at..OWN_LEN).zip(bytes) {
        map.atomic::<AtomicU8>(offset)
            .store(*byte, Ordering::Relaxed);
    }
    map.addr() + at as u64
}
