// SPDX-License-Identifier: GPL-2.0
//! What the environment asks for, and what there is to say about it.

use crate::device;
use crate::kernel;
use crate::redirect;
use crate::stats;
use core::ffi::{CStr, c_char, c_long};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Whether a process may go on without the device.
static REQUIRED: AtomicBool = AtomicBool::new(false);

/// Why there is no device: an error number.
static ABSENT: AtomicI32 = AtomicI32::new(0);

/// Reads the environment, when the library is loaded: later the program may be
/// changing it, and before other libraries are initialised it cannot be asked for.
///
/// # Safety
///
/// `environment` is one, and nobody changes it meanwhile.
pub(crate) unsafe fn read(environment: *const *const c_char) {
    // SAFETY: The caller's promise.
    let variable = |name| unsafe { variable(environment, name) };
    if let Some(value) = variable(b"RFUTEX_PRELOAD").filter(|value| !value.is_empty()) {
        if value == b"require" {
            REQUIRED.store(true, Ordering::SeqCst);
            if !device::is_there() {
                absent(ABSENT.load(Ordering::SeqCst));
            }
        } else {
            say(format_args!(
                "RFUTEX_PRELOAD knows the value \"require\" only"
            ));
        }
    }
    let report = variable(b"RFUTEX_PRELOAD_REPORT") == Some(b"1");
    if report {
        redirect::enable_report();
    }
    if report || variable(b"RFUTEX_PRELOAD_STATS") == Some(b"1") {
        stats::enable();
    }
    if let Some(directory) = variable(b"RFUTEX_PRELOAD_CACHE") {
        redirect::enable_cache(directory);
    }
    if variable(b"RFUTEX_PRELOAD_REDIRECT") == Some(b"1") {
        redirect::start();
    }
}

/// The value of the variable `name`.
///
/// # Safety
///
/// Those of [`read`].
unsafe fn variable<'a>(environment: *const *const c_char, name: &[u8]) -> Option<&'a [u8]> {
    if environment.is_null() {
        return None;
    }
    // SAFETY: The caller's promise: pointers to strings, and a null pointer behind them.
    let mut all = (0..).map_while(|index| unsafe {
        let entry = *environment.add(index);
        (!entry.is_null()).then(|| CStr::from_ptr(entry).to_bytes())
    });
    all.find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))
}

/// Whether a process must not go on without the device.
pub(crate) fn is_required() -> bool {
    REQUIRED.load(Ordering::SeqCst)
}

/// There is no device: the kernel's futex is used, unless the user said that it
/// must not.
pub(crate) fn absent(error: i32) {
    ABSENT.store(error, Ordering::SeqCst);
    if REQUIRED.load(Ordering::SeqCst) {
        die(
            "/dev/rfutex cannot be used, and RFUTEX_PRELOAD=require",
            error,
        );
    }
}

/// Ends the process.
pub(crate) fn die(why: &str, error: i32) -> ! {
    say(format_args!("{why} (errno {error})"));
    // SAFETY: Ends the process.
    unsafe { libc::abort() }
}

/// Writes a line to standard error.
pub(crate) fn say(text: fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [0; 512],
        len: 0,
    };
    // What does not fit is cut off.
    let _ = writeln!(line, "rfutex-preload: {text}");
    let at = line.bytes.as_ptr().addr() as c_long;
    let args = [2, at, line.len as c_long, 0, 0, 0];
    // SAFETY: Reads the line.
    unsafe { kernel::call(libc::SYS_write, &args) };
}

/// A line of text, without allocation.
struct Line {
    bytes: [u8; 512],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let fits = text.len().min(room.len());
        room[..fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits;
        Ok(())
    }
}
