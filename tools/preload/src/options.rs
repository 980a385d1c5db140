// SPDX-License-Identifier: GPL-2.0
//! What the environment asks for, and what there is to say about it.

use crate::device;
use crate::kernel;
use crate::stats;
use core::ffi::{CStr, c_long};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Whether a process may go on without the device.
static REQUIRED: AtomicBool = AtomicBool::new(false);

/// Why there is no device: an error number.
static ABSENT: AtomicI32 = AtomicI32::new(0);

/// Reads the environment, when the library is loaded: later the program may be
/// changing it. Constructors of other libraries may have been here before.
pub(crate) fn read() {
    if let Some(value) = variable(c"RFUTEX_PRELOAD")
        && !value.is_empty()
    {
        if value.to_bytes() == b"require" {
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
    if let Some(value) = variable(c"RFUTEX_PRELOAD_STATS")
        && value.to_bytes() == b"1"
    {
        stats::enable();
    }
}

fn variable(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: Nobody changes the environment while libraries are loaded. The
    // strings are there as long as the process, unless it changes them.
    unsafe {
        let value = libc::getenv(name.as_ptr());
        (!value.is_null()).then(|| CStr::from_ptr(value))
    }
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
        bytes: [0; 256],
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
    bytes: [u8; 256],
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
