// SPDX-License-Identifier: GPL-2.0
//! The open device: opened when it is first needed, found again when the
//! program closed it, and never mistaken for another file.

use crate::kernel;
use crate::options;
use crate::stats::{self, Counter};
use core::ffi::{CStr, c_long};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU64, Ordering};
use rfutex::raw::uapi;

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

/// The number of the device, as fstat(2) tells it, once it was opened.
static DEVICE: AtomicU64 = AtomicU64::new(0);

/// The value of [`STATE`]: a file descriptor or a word about it, below a number
/// that grows with each change, so that a descriptor that comes back with the
/// same number is not the same state.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State(u64);

impl State {
    /// Not tried yet.
    const UNOPENED: i32 = -1;
    /// Could not be opened: this process uses the kernel's futex for good. A
    /// wait there and a wake here would miss each other.
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

/// Gives the device a command. An error is the negative of its number; `None`
/// if there is no device.
///
/// # Safety
///
/// `argument` is what `command` takes: an address of which the kernel reads as
/// much as the command says, or any word's.
pub(crate) unsafe fn call(counter: Counter, command: u32, argument: u64) -> Option<c_long> {
    let mut counted = false;
    loop {
        let state = State::load();
        match state.fd() {
            State::ABSENT => return None,
            State::UNOPENED => {
                first_open(state);
                continue;
            }
            fd => {
                // Before the call, which may be a wait that never ends.
                if !counted {
                    stats::count(counter);
                    counted = true;
                }
                // SAFETY: The caller's promise.
                let result = unsafe { ioctl(fd, command, argument) };
                // Another file knows none of our commands, and says so in
                // ways of its own. Some errors are no file's but ours, and
                // some never ours: by now another thread may have opened the
                // device at the number that was closed, or was another file's.
                let ours = match kernel::error(result) {
                    None | Some(libc::EAGAIN | libc::ETIMEDOUT | libc::EINTR) => true,
                    Some(libc::EBADF | libc::ENOTTY) => false,
                    Some(_) => is_device(fd) && State::load() == state,
                };
                if ours {
                    return Some(result);
                }
                reopen(state);
            }
        }
    }
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
    unsafe {
        kernel::call(
            libc::SYS_ioctl,
            &[fd.into(), command.into(), argument as c_long, 0, 0, 0],
        )
    }
}

fn close(fd: i32) {
    // SAFETY: Only called with files that were opened here, and by nobody else.
    unsafe { kernel::call(libc::SYS_close, &[fd.into(), 0, 0, 0, 0, 0]) };
}

/// The device number of an open character device. An error is its number.
fn device_number(fd: i32) -> Result<u64, i32> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    let at = stat.as_mut_ptr().addr() as c_long;
    // SAFETY: The kernel writes to `stat`, and on success all of it.
    let stat = unsafe {
        let result = kernel::call(libc::SYS_fstat, &[fd.into(), at, 0, 0, 0, 0]);
        if let Some(error) = kernel::error(result) {
            return Err(error);
        }
        stat.assume_init()
    };
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFCHR => Ok(stat.st_rdev),
        _ => Err(libc::ENODEV),
    }
}

/// True if `fd` is the device, still.
fn is_device(fd: i32) -> bool {
    device_number(fd) == Ok(DEVICE.load(Ordering::Relaxed))
}

/// Opens the device. An error is its number.
fn open() -> Result<i32, i32> {
    loop {
        match try_open() {
            // Another thread closed the file at once, as all that it found.
            Err(libc::EBADF | libc::EINTR) => (),
            result => return result,
        }
    }
}

/// Opens the device, unless another thread interferes: that is `EBADF`.
fn try_open() -> Result<i32, i32> {
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
    match check(fd) {
        Ok(device) => {
            DEVICE.store(device, Ordering::Relaxed);
            Ok(out_of_the_way(fd))
        }
        Err(error) => {
            close(fd);
            Err(error)
        }
    }
}

/// Makes sure that the file is the device, of a module that has all that is
/// needed. Returns its device number; an error is its number.
fn check(fd: i32) -> Result<u64, i32> {
    let device = device_number(fd)?;
    let mut query = uapi::rfutex_query::default();
    let at = (&raw mut query).addr() as u64;
    // SAFETY: The command writes to `query` what its number says.
    let result = unsafe { ioctl(fd, uapi::RFUTEX_QUERY, at) };
    match kernel::error(result) {
        Some(error) => Err(error),
        None if query.features & NEEDED != NEEDED => Err(libc::ENOSYS),
        None => Ok(device),
    }
}

/// Moves a file descriptor to a high number if possible, where programs that
/// count on low ones do not meet it.
fn out_of_the_way(fd: i32) -> i32 {
    /// Above it the table of open files would grow for one file's sake.
    const HIGHEST: u64 = 1024;
    /// How far below the limit to begin.
    const ROOM: u64 = 32;
    let mut limit = libc::rlimit {
        rlim_cur: HIGHEST,
        rlim_max: 0,
    };
    let at = (&raw mut limit).addr() as c_long;
    let resource = c_long::from(libc::RLIMIT_NOFILE);
    // SAFETY: The kernel writes to `limit`.
    unsafe { kernel::call(libc::SYS_prlimit64, &[0, resource, 0, at, 0, 0]) };
    let least = limit.rlim_cur.min(HIGHEST).saturating_sub(ROOM);
    let command = libc::F_DUPFD_CLOEXEC.into();
    // SAFETY: Makes a new file descriptor, and touches no memory.
    let moved = unsafe {
        kernel::call(
            libc::SYS_fcntl,
            &[fd.into(), command, least as c_long, 0, 0, 0],
        )
    };
    if kernel::error(moved).is_some() {
        return fd;
    }
    close(fd);
    moved as i32
}

/// True if nobody can open the device after this error: there is none, or not
/// for this program. Else it may be there, and others may be using it.
fn is_absence(error: i32) -> bool {
    !matches!(error, libc::EMFILE | libc::ENFILE | libc::ENOMEM)
}

/// Opens the device for the first time, or notes that there is none.
#[cold]
fn first_open(state: State) {
    match open() {
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

/// Opens the device once more: the program closed it.
#[cold]
fn reopen(state: State) {
    if State::load() != state {
        return;
    }
    match open() {
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
            "the program closed /dev/rfutex, and it cannot be opened again",
            error,
        ),
    }
}
