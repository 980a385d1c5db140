// SPDX-License-Identifier: GPL-2.0
//! The open device: opened when it is first needed, found again when the
//! program closed it, and never mistaken for another file.
//!
//! Whether the device is used is decided once, at the first call, for all who
//! share this memory: a waiter there and a wake by the kernel's futex would
//! miss each other. If it cannot be used then, for whatever reason, the
//! kernel's futex is used for good. If it was used and cannot be any more, the
//! process ends.
//!
//! The state is as shared as the memory is, and the table of open files may
//! not be: a child of vfork(2), or of clone(2) with `CLONE_VM` alone, finds a
//! number here which is not open, or another file, in its own table. To it, the
//! device is a file that was closed: it opens it once more, at the same number
//! if it can, so that the two of them agree from then on.

use crate::kernel::{self, Args};
use crate::options;
use crate::stats::{self, Counter};
use core::ffi::{CStr, c_long};
use core::sync::atomic::{AtomicU64, Ordering};
use rfutex::raw::{OLDEST_VERSION, uapi};

/// Where the device is.
const PATH: &CStr = c"/dev/rfutex";

/// What the module has to have.
const NEEDED: u64 = uapi::RFUTEX_FEATURE_WAIT
    | uapi::RFUTEX_FEATURE_WAKE
    | uapi::RFUTEX_FEATURE_REQUEUE
    | uapi::RFUTEX_FEATURE_WAKE_OP
    | uapi::RFUTEX_FEATURE_WAITV;

/// The file descriptor that all threads use.
static STATE: AtomicU64 = AtomicU64::new(State::new(0, State::UNOPENED).0);

/// The value of [`STATE`]: a file descriptor or a word about it, below a number
/// that grows with each change, so that a descriptor that comes back with the
/// same number is not the same state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State(u64);

impl State {
    /// Not tried yet.
    const UNOPENED: i32 = -1;
    /// Could not be used: this process uses the kernel's futex for good.
    const ABSENT: i32 = -2;

    const fn new(change: u32, fd: i32) -> Self {
        Self((change as u64) << 32 | fd as u32 as u64)
    }

    fn load() -> Self {
        Self(STATE.load(Ordering::Acquire))
    }

    fn fd(self) -> i32 {
        self.0 as u32 as i32
    }

    /// Replaces this state, unless another thread did. Returns whether it was us.
    fn replace(self, fd: i32) -> bool {
        let next = Self::new(((self.0 >> 32) as u32).wrapping_add(1), fd);
        STATE
            .compare_exchange(self.0, next.0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// How often a call is repeated whose error may be another thread's doing, who
/// closed or opened files. An error that stays has another cause.
const TRIES: u32 = 1000;

/// A command for the device, which is given to it until it has answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    counter: Counter,
    command: u32,
    argument: u64,
    /// With which file it was given last.
    state: State,
    counted: bool,
    tries: u32,
}

impl Command {
    /// `argument` is what `command` takes.
    #[inline]
    pub(crate) fn new(counter: Counter, command: u32, argument: u64) -> Self {
        Self {
            counter,
            command,
            argument,
            state: State(0),
            counted: false,
            tries: 0,
        }
    }

    /// The arguments of the ioctl(2) that gives it to the device next; `None` if there is no device.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Args> {
        loop {
            self.state = State::load();
            match self.state.fd() {
                State::ABSENT => return None,
                State::UNOPENED => first_open(self.state),
                fd => {
                    // Before the call, which may be a wait that never ends.
                    if !self.counted {
                        stats::count(self.counter);
                        self.counted = true;
                    }
                    return Some(ioctl_args(fd, self.command, self.argument));
                }
            }
        }
    }

    /// What that call has answered, as futex does: an error is the negative of its number. `None` if
    /// it was no answer of the device: it has to be made again.
    #[inline]
    pub(crate) fn answered(&mut self, result: c_long) -> Option<c_long> {
        let Some(error) = kernel::error(result) else {
            return Some(result);
        };
        // A wait often ends like this, and no other file gives these answers.
        if self.counter.compares() && matches!(error, libc::EAGAIN | libc::ETIMEDOUT | libc::EINTR)
        {
            return Some(result);
        }
        // It may also be the answer of another file, which does not know the
        // command, or of a system call filter, which may say anything. So the
        // device is asked whether it is there.
        let state = self.state;
        if query(state.fd()).is_err() || State::load() != state {
            reopen(state);
        } else if is_answer(error) {
            return Some(result);
        } else {
            // Another thread may just have opened the device at this number.
            self.tries += 1;
            if self.tries == TRIES {
                options::die("/dev/rfutex is open, and calls of it are refused", error);
            }
        }
        None
    }
}

/// Gives the device a command. An error is the negative of its number; `None`
/// if there is no device.
///
/// # Safety
///
/// The argument is what the command takes: an address of which the kernel reads as
/// much as the command says, or any word's.
pub(crate) unsafe fn call(mut command: Command) -> Option<c_long> {
    loop {
        let args = command.next()?;
        // SAFETY: The caller's promise.
        let result = unsafe { kernel::call(libc::SYS_ioctl, &args) };
        if let Some(answer) = command.answered(result) {
            return Some(answer);
        }
    }
}

/// True for an error that the device itself gives to the commands that are used
/// here, beside those of a call that compares.
fn is_answer(error: i32) -> bool {
    matches!(error, libc::EFAULT | libc::EINVAL | libc::ENOMEM)
}

/// True if the device can be used, or could not be told yet.
pub(crate) fn may_be_there() -> bool {
    State::load().fd() != State::ABSENT
}

/// Opens the device if that was not tried yet. True if it can be used.
pub(crate) fn is_there() -> bool {
    let state = State::load();
    if state.fd() == State::UNOPENED {
        first_open(state);
    }
    may_be_there()
}

/// # Safety
///
/// That of [`call`].
unsafe fn ioctl(fd: i32, command: u32, argument: u64) -> c_long {
    // SAFETY: The caller's promise.
    unsafe { kernel::call(libc::SYS_ioctl, &ioctl_args(fd, command, argument)) }
}

fn ioctl_args(fd: i32, command: u32, argument: u64) -> Args {
    [fd.into(), command.into(), argument as c_long, 0, 0, 0]
}

fn close(fd: i32) {
    // SAFETY: Only called with files that were opened here, and by nobody else.
    unsafe { kernel::call(libc::SYS_close, &[fd.into(), 0, 0, 0, 0, 0]) };
}

/// Asks whether the file is the device, of a module that has all that is needed.
/// If not, the error is a number.
fn query(fd: i32) -> Result<(), i32> {
    let mut query = uapi::rfutex_query::default();
    let at = (&raw mut query).addr() as u64;
    // SAFETY: The command writes to `query` what its number says.
    let result = unsafe { ioctl(fd, uapi::RFUTEX_QUERY, at) };
    match kernel::error(result) {
        Some(error) => Err(error),
        None if query.version < OLDEST_VERSION => Err(libc::ENOSYS),
        None if query.features & NEEDED != NEEDED => Err(libc::ENOSYS),
        None => Ok(()),
    }
}

/// Opens the device, at the number `wanted` if it is free. An error is its
/// number.
fn open(wanted: Option<i32>) -> Result<i32, i32> {
    let mut result = try_open(wanted);
    for _ in 1..TRIES {
        // Another thread closed the file at once, as all that it found.
        if !matches!(result, Err(libc::EBADF | libc::EINTR)) {
            break;
        }
        result = try_open(wanted);
    }
    result
}

/// Opens the device, unless another thread interferes: that is `EBADF`.
fn try_open(wanted: Option<i32>) -> Result<i32, i32> {
    const AT_FDCWD: c_long = libc::AT_FDCWD as c_long;
    let flags = libc::O_RDWR | libc::O_CLOEXEC;
    let path = PATH.as_ptr().addr() as c_long;
    // SAFETY: Reads a constant.
    let result =
        unsafe { kernel::call(libc::SYS_openat, &[AT_FDCWD, path, flags.into(), 0, 0, 0]) };
    if let Some(error) = kernel::error(result) {
        return Err(error);
    }
    let fd = result as i32;
    match query(fd) {
        Ok(()) => Ok(out_of_the_way(fd, wanted)),
        Err(error) => {
            close(fd);
            Err(error)
        }
    }
}

/// Moves a file descriptor to the number `wanted` if that is free, else to a high
/// number if possible, where programs that count on low ones do not meet it.
fn out_of_the_way(fd: i32, wanted: Option<i32>) -> i32 {
    /// Above it the table of open files would grow for one file's sake.
    const HIGHEST: u64 = 1024;
    /// How far below the limit to begin.
    const ROOM: u64 = 32;
    if let Some(wanted) = wanted {
        match duplicate(fd, wanted) {
            Some(moved) if moved == wanted => {
                close(fd);
                return moved;
            }
            Some(other) => close(other),
            None => (),
        }
    }
    let mut limit = libc::rlimit {
        rlim_cur: HIGHEST,
        rlim_max: 0,
    };
    let at = (&raw mut limit).addr() as c_long;
    let resource = c_long::from(libc::RLIMIT_NOFILE);
    // SAFETY: The kernel writes to `limit`.
    unsafe { kernel::call(libc::SYS_prlimit64, &[0, resource, 0, at, 0, 0]) };
    let least = limit.rlim_cur.min(HIGHEST).saturating_sub(ROOM);
    match duplicate(fd, least as i32) {
        Some(moved) => {
            close(fd);
            moved
        }
        None => fd,
    }
}

/// Makes another file descriptor of `fd`, at the first free number from `least`
/// on; `None` if there is none.
fn duplicate(fd: i32, least: i32) -> Option<i32> {
    let command = libc::F_DUPFD_CLOEXEC.into();
    let args = [fd.into(), command, least.into(), 0, 0, 0];
    // SAFETY: Makes a new file descriptor, and touches no memory.
    let result = unsafe { kernel::call(libc::SYS_fcntl, &args) };
    kernel::error(result).is_none().then_some(result as i32)
}

/// True if this program cannot use the device: there is none, or not for it,
/// or not in its sandbox. Else only something is lacking at the moment.
fn is_absence(error: i32) -> bool {
    !matches!(error, libc::EMFILE | libc::ENFILE | libc::ENOMEM)
}

/// Opens the device for the first time, or notes that there is none.
#[cold]
fn first_open(state: State) {
    match open(None) {
        Ok(fd) => {
            if !state.replace(fd) {
                close(fd);
            }
        }
        Err(error) if is_absence(error) => {
            if state.replace(State::ABSENT) {
                options::absent(error);
            }
        }
        // With the kernel's futex it would miss those that use the device.
        Err(error) if State::load() == state => options::die(
            "/dev/rfutex may be there, and there is no file descriptor or memory to open it",
            error,
        ),
        // Another thread was luckier.
        Err(_) => (),
    }
}

/// Opens the device once more: the program closed it, or it was opened by
/// another process, which shares our memory and not our open files.
#[cold]
fn reopen(state: State) {
    if State::load() != state {
        return;
    }
    match open(Some(state.fd())) {
        Ok(fd) => {
            if state.replace(fd) {
                stats::count(Counter::Reopened);
            } else {
                close(fd);
            }
        }
        // Others may sleep there already: the kernel's futex would not find
        // them, nor they us.
        Err(error) => options::die(
            "/dev/rfutex was used, and cannot be any more: \
             it was closed and cannot be opened, or calls of it are refused",
            error,
        ),
    }
}
