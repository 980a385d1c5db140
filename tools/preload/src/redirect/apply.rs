// SPDX-License-Identifier: GPL-2.0
//! Puts the new code where the old one is.
//!
//! Nothing that can be executed is ever written to. A copy of the pages in which something changes
//! is written to a file in memory, with the jumps in it, and the trampolines behind them. Then the
//! parts of that file are mapped over the code. Nobody executes any of the library's code while
//! this is done, so it does not matter that one part comes after another. As a process that may not
//! execute what it has written finds that out with the trampolines, which are mapped first, nothing
//! of the library has changed then.

use super::call::{File, call};
use super::objects::Object;
use core::ffi::{c_long, c_void};
use core::ops::Range;
use core::slice;
use rfutex_redirect::{Patch, Placed};
use std::io::IoSlice;
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
    /// The trampolines, and their unwind tables.
    trampolines: Range<u64>,
    /// Where these tables are.
    tables: u64,
}

/// Only the thread that has the loader's lock gets here.
static MAPPED: Mutex<Vec<Mapped>> = Mutex::new(Vec::new());

/// A library with everything ready.
#[derive(Debug)]
pub(crate) struct Prepared {
    bias: u64,
    file: File,
    /// What is replaced, of which the copies follow each other from the beginning of the file.
    parts: Vec<Range<u64>>,
    trampolines: Range<u64>,
    tables: u64,
}

impl File {
    /// A new one in memory.
    fn new() -> Result<Self, String> {
        let name = c"rfutex".as_ptr().addr() as c_long;
        let flags = c_long::from(libc::MFD_CLOEXEC);
        // SAFETY: Takes a string.
        let file = unsafe { call(libc::SYS_memfd_create, &[name, flags]) };
        file.map(Self).map_err(refused("memfd_create"))
    }

    /// Writes all this, from its beginning on.
    fn write(&self, mut content: &mut [IoSlice<'_>]) -> Result<(), String> {
        /// How many pieces the kernel takes at once.
        const MOST: usize = libc::UIO_MAXIOV as usize;
        while !content.is_empty() {
            let count = content.len().min(MOST) as c_long;
            let at = content.as_ptr().addr() as c_long;
            // SAFETY: They can be read, and have the form that the kernel takes.
            let wrote = unsafe { call(libc::SYS_writev, &[self.0, at, count]) };
            let wrote = wrote.map_err(refused("writev"))?;
            IoSlice::advance_slices(&mut content, wrote as usize);
        }
        Ok(())
    }

    /// Maps the part of the file that begins at `offset`, to be executed, at `range`, in place of
    /// what is there.
    ///
    /// # Safety
    ///
    /// The part is good code for whoever executes any at `range`.
    unsafe fn map(&self, range: &Range<u64>, offset: u64) -> Result<(), String> {
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
unsafe fn unmap(range: &Range<u64>) {
    let length = (range.end - range.start) as c_long;
    // SAFETY: The caller's promise.
    let _ = unsafe { call(libc::SYS_munmap, &[range.start as c_long, length]) };
}

/// What is at these addresses.
///
/// # Safety
///
/// It can be read, and stays as it is.
unsafe fn bytes<'a>(range: Range<u64>) -> IoSlice<'a> {
    let length = (range.end - range.start) as usize;
    // SAFETY: The caller's promise.
    IoSlice::new(unsafe { slice::from_raw_parts(range.start as *const u8, length) })
}

/// The sentence about a system call that failed.
fn refused(what: &'static str) -> impl Fn(i32) -> String {
    move |error| format!("{what} was refused (errno {error})")
}

/// Reserves `length` bytes so near to `code` that a jump reaches all of both.
fn reserve(code: &Range<u64>, length: u64) -> Result<Range<u64>, String> {
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

/// The first byte of a page.
fn whole(address: u64) -> u64 {
    address / PAGE * PAGE
}

/// What is changed, from the first byte to the last, of pages so near to each other that they are
/// copied with those between them: to map one more part costs more than to copy a few pages. The
/// patches are in order.
fn changed(patches: &[Patch]) -> impl Iterator<Item = (Range<u64>, &[Patch])> {
    const NEAR: u64 = 4 * PAGE;
    let end = |patch: &Patch| patch.address + patch.bytes.len() as u64;
    let together = move |a: &Patch, b: &Patch| whole(b.address) <= end(a) + NEAR;
    patches.chunk_by(together).map(move |chunk| {
        let (first, last) = (&chunk[0], &chunk[chunk.len() - 1]);
        (first.address..end(last), chunk)
    })
}

impl Prepared {
    /// Makes `object` ready. `code` makes the code for trampolines at an address, which need `room`
    /// bytes.
    pub(crate) fn new(
        object: &Object,
        room: usize,
        code: impl FnOnce(u64) -> Result<Placed, String>,
    ) -> Result<Self, String> {
        let around = object.code().ok_or("it has no code")?;
        let trampolines = reserve(&around, (room as u64).next_multiple_of(PAGE))?;
        let made = code(trampolines.start).and_then(|code| {
            let file = File::new()?;
            let (mut parts, mut content) = (Vec::new(), Vec::new());
            let mut length = 0;
            for (changed, patches) in changed(&code.patches) {
                if !object.is_one_piece(changed.clone()) {
                    return Err("its code is not in one piece".to_owned());
                }
                let pages = whole(changed.start)..changed.end.next_multiple_of(PAGE);
                let mut end = pages.start;
                for patch in patches {
                    // SAFETY: These pages are the library's code, and can be read.
                    content.push(unsafe { bytes(end..patch.address) });
                    content.push(IoSlice::new(&patch.bytes));
                    end = patch.address + patch.bytes.len() as u64;
                }
                // SAFETY: As above.
                content.push(unsafe { bytes(end..pages.end) });
                length += pages.end - pages.start;
                parts.push(pages);
            }
            if parts.is_empty() {
                return Err("there is nothing to redirect".to_owned());
            }
            content.push(IoSlice::new(&code.bytes));
            file.write(&mut content)?;
            // SAFETY: Nobody executes anything there yet.
            unsafe { file.map(&trampolines, length) }?;
            Ok((file, parts, trampolines.start + code.tables as u64))
        });
        match made {
            Ok((file, parts, tables)) => Ok(Self {
                bias: object.bias(),
                file,
                parts,
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
        // SAFETY: They are well-formed and stay where they are until `forget`.
        unsafe { __register_frame(self.tables as *const c_void) };
        let mut offset = 0;
        for part in &self.parts {
            // SAFETY: It is what is there, but for jumps to code that does the same, and for system
            // calls that it is about; no thread is in any part of the library.
            unsafe { self.file.map(part, offset) }?;
            offset += part.end - part.start;
        }
        if let Ok(mut mapped) = MAPPED.try_lock() {
            mapped.push(Mapped {
                bias: self.bias,
                trampolines: self.trampolines,
                tables: self.tables,
            });
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
            __deregister_frame(gone.tables as *const c_void);
            unmap(&gone.trampolines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_with_changes_are_copied() {
        let patch = |address, length| Patch {
            address,
            bytes: vec![0; length],
        };
        // The first ends on a page that has another one, the third begins far away, and the last
        // is just too far from it to be copied with it.
        let patches = [
            patch(0x10_fffe, 5),
            patch(0x11_0800, 2),
            patch(0x11_4ffe, 2),
            patch(0x90_0010, 5),
            patch(0x90_6000, 5),
        ];
        let parts: Vec<_> = changed(&patches)
            .map(|(range, patches)| (range, patches.len()))
            .collect();
        let expected = [
            (0x10_fffe..0x11_5000, 3),
            (0x90_0010..0x90_0015, 1),
            (0x90_6000..0x90_6005, 1),
        ];
        assert_eq!(parts, expected);
    }
}
