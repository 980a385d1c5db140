// SPDX-License-Identifier: GPL-2.0
//! The libraries that are mapped.

use core::ffi::{CStr, c_int, c_void};
use core::ops::Range;
use core::slice;
use core::sync::atomic::{AtomicPtr, Ordering};
use rfutex_redirect::{Image, Segment};
use std::ffi::CString;
use std::sync::Mutex;

/// A library, or the program itself.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    bias: u64,
    name: String,
    headers: Vec<libc::Elf64_Phdr>,
}

/// What is known of all libraries.
#[derive(Debug, Default)]
struct Known {
    objects: Vec<Object>,
    /// How many were added and removed when they were listed.
    changes: (u64, u64),
}

/// Only the thread that has the loader's lock gets here, so that nobody ever waits for it.
static KNOWN: Mutex<Known> = Mutex::new(Known {
    objects: Vec::new(),
    changes: (0, 0),
});

impl Object {
    /// The difference between its addresses and those in its file.
    pub(crate) fn bias(&self) -> u64 {
        self.bias
    }

    /// The name of its file.
    pub(crate) fn name(&self) -> &str {
        match self.name.as_str() {
            "" => "the program",
            name => name,
        }
    }

    /// The path of its file.
    pub(crate) fn file(&self) -> Option<CString> {
        let name = match self.name.as_str() {
            "" => "/proc/self/exe",
            name => name,
        };
        CString::new(name).ok()
    }

    /// Its program headers, as numbers.
    pub(crate) fn header_words(&self) -> impl Iterator<Item = u64> {
        self.headers.iter().flat_map(|header| {
            [
                u64::from(header.p_type) << 32 | u64::from(header.p_flags),
                header.p_offset,
                header.p_vaddr,
                header.p_filesz,
                header.p_memsz,
            ]
        })
    }

    pub(crate) fn is_c_library(&self) -> bool {
        let file = self.name.rsplit('/').next().unwrap_or_default();
        file.starts_with("libc.so.") || file.starts_with("libpthread.so.")
    }

    /// The addresses of its segments that are in memory as the file has them, and whether they
    /// are code.
    fn segments(&self) -> impl Iterator<Item = (Range<u64>, bool)> {
        let loaded = |header: &&libc::Elf64_Phdr| {
            header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_R != 0
        };
        self.headers.iter().filter(loaded).map(|header| {
            let start = header.p_vaddr.wrapping_add(self.bias);
            let executable = header.p_flags & libc::PF_X != 0;
            (start..start + header.p_filesz, executable)
        })
    }

    pub(crate) fn contains(&self, address: u64) -> bool {
        self.segments().any(|(range, _)| range.contains(&address))
    }

    /// The addresses from the beginning of its code to the end.
    pub(crate) fn code(&self) -> Option<Range<u64>> {
        let code = self.segments().filter(|&(_, executable)| executable);
        code.map(|(range, _)| range)
            .reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
    }

    /// Whether its code is looked through as fast as what was found out before is read.
    pub(crate) fn has_little_code(&self) -> bool {
        const LITTLE: u64 = 64 << 10;
        self.code()
            .is_none_or(|code| code.end - code.start < LITTLE)
    }

    /// Whether one segment has all these addresses.
    pub(crate) fn is_one_piece(&self, wanted: Range<u64>) -> bool {
        self.segments()
            .any(|(range, _)| range.start <= wanted.start && wanted.end <= range.end)
    }

    /// The library as it is in memory.
    pub(crate) fn image(&self) -> Option<Image<'_>> {
        // SAFETY: Headers are integers.
        let headers = unsafe {
            let at = self.headers.as_ptr().cast::<u8>();
            slice::from_raw_parts(at, size_of_val(self.headers.as_slice()))
        };
        Image::loaded(self.bias, headers, self.bytes())
    }

    /// The same, but without what its tables say of functions.
    pub(crate) fn bare_image(&self) -> Image<'_> {
        Image::new(self.bytes(), Vec::new(), Vec::new())
    }

    /// Its segments, with what is there.
    fn bytes(&self) -> Vec<Segment<'_>> {
        let segments = self.segments().map(|(range, executable)| Segment {
            address: range.start,
            // SAFETY: The loader mapped it there, to be read. It stays while the loader's lock is
            // held, and if this is data that somebody changes meanwhile, then only pointers to
            // code that were not there before.
            bytes: unsafe {
                let length = (range.end - range.start) as usize;
                slice::from_raw_parts(range.start as *const u8, length)
            },
            executable,
        });
        segments.collect()
    }

    /// Whether it is what `other` is.
    fn is(&self, other: &Self) -> bool {
        self.bias == other.bias && self.name == other.name
    }
}

/// All libraries that may be redirected, and how many were added and removed so far.
fn list() -> (Vec<Object>, (u64, u64)) {
    let mut found = (Vec::new(), (0, 0));
    unsafe extern "C" fn add(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: The loader gives a description that is there during the call, and what was
        // given to it for us.
        let (info, (objects, changes)) =
            unsafe { (&*info, &mut *data.cast::<(Vec<Object>, (u64, u64))>()) };
        // SAFETY: As above.
        let (name, headers) = unsafe {
            let name = match info.dlpi_name.is_null() {
                true => c"",
                false => CStr::from_ptr(info.dlpi_name),
            };
            let count = usize::from(info.dlpi_phnum);
            (name, slice::from_raw_parts(info.dlpi_phdr, count))
        };
        *changes = (info.dlpi_adds, info.dlpi_subs);
        let object = Object {
            bias: info.dlpi_addr,
            name: name.to_string_lossy().into_owned(),
            headers: headers.to_vec(),
        };
        // The kernel's own library calls itself with other numbers only. And this library's
        // instructions are the ones that go to the kernel.
        let own = (list as *const ()).addr() as u64;
        if !object.name.starts_with("linux-vdso") && !object.contains(own) {
            objects.push(object);
        }
        0
    }
    // SAFETY: The function takes what the loader and we give it.
    unsafe { libc::dl_iterate_phdr(Some(add), (&raw mut found).cast()) };
    found
}

/// All libraries that may be redirected.
pub(crate) fn all() -> Vec<Object> {
    list().0
}

/// Notes that these have been looked at, and are all that there are.
pub(crate) fn remember(objects: Vec<Object>) {
    if let Ok(mut known) = KNOWN.try_lock() {
        known.objects = objects;
        known.changes = list().1;
    }
}

/// Libraries that are new since the last call, and those that are gone.
pub(crate) fn changes() -> (Vec<Object>, Vec<Object>) {
    let nothing = (Vec::new(), Vec::new());
    let Ok(mut known) = KNOWN.try_lock() else {
        return nothing;
    };
    // SAFETY: The loader's description of itself stays.
    let state = unsafe { DEBUG.load(Ordering::Acquire).as_ref() }.map(|debug| debug.state);
    if state != Some(CONSISTENT) {
        return nothing;
    }
    let (now, changes) = list();
    if changes == known.changes {
        return nothing;
    }
    known.changes = changes;
    let not_in = |list: &[Object], object: &Object| !list.iter().any(|other| other.is(object));
    let gone = known.objects.iter().filter(|object| not_in(&now, object));
    let gone = gone.cloned().collect();
    let new = now.iter().filter(|object| not_in(&known.objects, object));
    let new = new.cloned().collect();
    known.objects = now;
    (new, gone)
}

/// The beginning of the loader's `struct r_debug`.
#[repr(C)]
struct Debug {
    version: c_int,
    map: *mut c_void,
    breakpoint: u64,
    state: c_int,
}

/// The state in which the list of libraries is complete.
const CONSISTENT: c_int = 0;

/// Where the loader describes itself to debuggers.
static DEBUG: AtomicPtr<Debug> = AtomicPtr::new(core::ptr::null_mut());

/// The address of the function that the loader calls when it changes what is mapped.
pub(crate) fn loader_breakpoint() -> Option<u64> {
    // SAFETY: Takes a string.
    let debug = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_r_debug".as_ptr()) }.cast::<Debug>();
    // SAFETY: It is the loader's description of itself, which stays.
    let breakpoint = unsafe { debug.as_ref() }?.breakpoint;
    DEBUG.store(debug, Ordering::Release);
    (breakpoint != 0).then_some(breakpoint)
}
