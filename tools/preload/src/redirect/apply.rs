// SPDX-License-Identifier: GPL-2.0
//! Puts the new code where the old one is.
//!
//! Nothing that can be executed is ever written to. A copy of the code is written to a file in
//! memory, with the jumps in it and the trampolines behind it. Then the file is mapped over the
//! code, all of it in one system call: whoever executes code there executes the old one or the new
//! one. As a process that may not execute what it has written finds that out with the trampolines,
//! which are mapped first, nothing of the library has changed then.

use super::objects::Object;
use crate::kernel;
use core::ffi::{c_long, c_void};
use rfutex_redirect::Code;
use std::sync::Mutex;

/// The size of a page, in bytes.
const PAGE: u64 = 4096;

unsafe extern "C" {
    /// libgcc's: has unwinders look at one more table.
    fn __register_frame(table: *const c_void);
    /// libgcc's: no more.
    fn __deregister_frame(table: *const c_void);
}

/// What was mapped for a library.
#[derive(Debug)]
struct Mapped {
    bias: u64,
    trampolines: core::ops::Range<u64>,
    /// The unwind tables, where unwinders look at them.
    tables: Box<[u8]>,
}

/// Only the thread that has the loader's lock gets here.
static MAPPED: Mutex<Vec<Mapped>> = Mutex::new(Vec::new());

/// A library with everything ready.
#[derive(Debug)]
pub(crate) struct Prepared {
    bias: u64,
    file: File,
    /// What is replaced, of which the copy is at the beginning of the file.
    code: core::ops::Range<u64>,
    trampolines: core::ops::Range<u64>,
    tables: Vec<u8>,
}

/// An open file in memory.
#[derive(Debug)]
struct File(c_long);

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: It is this file's number.
        let _ = unsafe { call(libc::SYS_close, &[self.0]) };
    }
}

/// Makes a system call with up to six arguments. An error is its number.
///
/// # Safety
///
/// That of the system call.
pub(super) unsafe fn call(number: c_long, given: &[c_long]) -> Result<c_long, i32> {
    let mut args = [0; 6];
    args[..given.len()].copy_from_slice(given);
    // SAFETY: The caller's promise.
    let result = unsafe { kernel::call(number, &args) };
    match kernel::error(result) {
        None => Ok(result),
        Some(error) => Err(error),
    }
}

impl File {
    fn new() -> Result<Self, String> {
        let name = c"rfutex".as_ptr().addr() as c_long;
        let flags = c_long::from(libc::MFD_CLOEXEC);
        // SAFETY: Takes a string.
        let file = unsafe { call(libc::SYS_memfd_create, &[name, flags]) };
        file.map(Self).map_err(refused("memfd_create"))
    }

    /// Writes `length` bytes at `from` to the offset `to`.
    ///
    /// # Safety
    ///
    /// They are readable memory.
    unsafe fn write(&self, from: u64, length: u64, to: u64) -> Result<(), String> {
        let mut done = 0;
        while done < length {
            let rest = [from + done, length - done, to + done].map(|word| word as c_long);
            let [from, length, to] = rest;
            // SAFETY: The caller's promise.
            let wrote = unsafe { call(libc::SYS_pwrite64, &[self.0, from, length, to]) };
            done += wrote.map_err(refused("pwrite"))? as u64;
        }
        Ok(())
    }

    /// Maps the part of the file that begins at `offset`, to be executed, at `range`, in place of
    /// what is there.
    ///
    /// # Safety
    ///
    /// The part is good code for whoever executes any at `range`.
    unsafe fn map(&self, range: &core::ops::Range<u64>, offset: u64) -> Result<(), String> {
        let length = range.end - range.start;
        // SAFETY: The caller's promise.
        unsafe { map(range.start, length, EXECUTABLE, FIXED, self.0, offset) }
            .map_err(refused("mapping code"))?;
        Ok(())
    }
}

const EXECUTABLE: i32 = libc::PROT_READ | libc::PROT_EXEC;
const FIXED: i32 = libc::MAP_PRIVATE | libc::MAP_FIXED;

/// # Safety
///
/// That of mmap(2).
unsafe fn map(
    at: u64,
    length: u64,
    protection: i32,
    flags: i32,
    file: c_long,
    offset: u64,
) -> Result<c_long, i32> {
    let (at, length, offset) = (at as c_long, length as c_long, offset as c_long);
    let args = [at, length, protection.into(), flags.into(), file, offset];
    // SAFETY: The caller's promise.
    unsafe { call(libc::SYS_mmap, &args) }
}

/// # Safety
///
/// Nobody uses what is there.
unsafe fn unmap(range: &core::ops::Range<u64>) {
    let length = (range.end - range.start) as c_long;
    // SAFETY: The caller's promise.
    let _ = unsafe { call(libc::SYS_munmap, &[range.start as c_long, length]) };
}

/// The sentence about a system call that failed.
fn refused(what: &'static str) -> impl Fn(i32) -> String {
    move |error| format!("{what} was refused (errno {error})")
}

/// Reserves `length` bytes so near to `code` that a jump reaches all of both.
fn reserve(code: &core::ops::Range<u64>, length: u64) -> Result<core::ops::Range<u64>, String> {
    /// The farthest distance, with some to spare, and the steps in which room is looked for.
    const FARTHEST: u64 = (1 << 31) - (1 << 24);
    const STEP: u64 = 1 << 20;
    let size = code.end - code.start + length;
    let below = code.start.checked_sub(length);
    let distances = (0..FARTHEST.saturating_sub(size)).step_by(STEP as usize);
    for distance in distances {
        let below = below.and_then(|below| below.checked_sub(distance));
        for at in [below, Some(code.end + distance)].into_iter().flatten() {
            let flags = libc::MAP_PRIVATE
                | libc::MAP_ANONYMOUS
                | libc::MAP_NORESERVE
                | libc::MAP_FIXED_NOREPLACE;
            // SAFETY: Replaces nothing.
            match unsafe { map(at, length, libc::PROT_NONE, flags, -1, 0) } {
                Ok(got) if got as u64 == at => return Ok(at..at + length),
                // A kernel that does not know the flag takes the address for a wish.
                // SAFETY: It was just mapped.
                Ok(got) => unsafe { unmap(&(got as u64..got as u64 + length)) },
                Err(_) => (),
            }
        }
    }
    Err("there is no room for trampolines near it".to_owned())
}

impl Prepared {
    /// Makes `object` ready. `code` makes the code for trampolines at an address, which need no
    /// more than `room` bytes.
    pub(crate) fn new(
        object: &Object,
        room: usize,
        code: impl FnOnce(u64) -> Result<Code, String>,
    ) -> Result<Self, String> {
        let whole = |address: u64| address / PAGE * PAGE;
        let around = object.code().ok_or("it has no code")?;
        let trampolines = reserve(&around, (room as u64).next_multiple_of(PAGE))?;
        let made = code(trampolines.start).and_then(|code| {
            let first = code.patches.iter().map(|patch| patch.address).min();
            let ends = code
                .patches
                .iter()
                .map(|patch| patch.address + patch.bytes.len() as u64);
            let (first, last) = first
                .zip(ends.max())
                .ok_or("there is nothing to redirect")?;
            if !object.is_one_piece(first..last) {
                return Err("its code is not in one piece".to_owned());
            }
            let pages = whole(first)..last.next_multiple_of(PAGE);
            let length = pages.end - pages.start;
            let file = File::new()?;
            // SAFETY: These pages are the library's code, and can be read.
            unsafe { file.write(pages.start, length, 0) }?;
            let own = |bytes: &[u8], to| {
                // SAFETY: They are bytes of ours.
                unsafe { file.write(bytes.as_ptr().addr() as u64, bytes.len() as u64, to) }
            };
            for patch in &code.patches {
                own(&patch.bytes, patch.address - pages.start)?;
            }
            own(&code.trampolines, length)?;
            // SAFETY: Nobody executes anything there yet.
            unsafe { file.map(&trampolines, length) }?;
            Ok((file, pages, code.eh_frame))
        });
        match made {
            Ok((file, pages, tables)) => Ok(Self {
                bias: object.bias(),
                file,
                code: pages,
                trampolines,
                tables,
            }),
            Err(why) => {
                // SAFETY: It was reserved here.
                unsafe { unmap(&trampolines) };
                Err(why)
            }
        }
    }

    /// Replaces the code.
    pub(crate) fn apply(self) -> Result<(), String> {
        let tables = self.tables.into_boxed_slice();
        // SAFETY: They are well-formed and stay where they are until `forget`.
        unsafe { __register_frame(tables.as_ptr().cast()) };
        // SAFETY: It is what is there, but for jumps to code that does the same, and for system
        // calls that it is about; no thread is in what is replaced.
        unsafe { self.file.map(&self.code, 0) }?;
        if let Ok(mut mapped) = MAPPED.try_lock() {
            mapped.push(Mapped {
                bias: self.bias,
                trampolines: self.trampolines,
                tables,
            });
        } else {
            // Unwinders go on looking at them.
            Box::leak(tables);
        }
        Ok(())
    }
}

/// Takes away what belongs to a library that is no longer there.
pub(crate) fn forget(object: Object) {
    let Ok(mut mapped) = MAPPED.try_lock() else {
        return;
    };
    let its = |mapped: &Mapped| mapped.bias == object.bias();
    while let Some(index) = mapped.iter().position(its) {
        let gone = mapped.swap_remove(index);
        // SAFETY: Nothing jumps to the trampolines any more, and a thread that is in one would
        // return to code which is not there.
        unsafe {
            __deregister_frame(gone.tables.as_ptr().cast());
            unmap(&gone.trampolines);
        }
    }
}
