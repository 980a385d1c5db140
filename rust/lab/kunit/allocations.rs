// SPDX-License-Identifier: GPL-2.0

//! Who allocates memory: counted where the kernel's own tracepoints are.

use crate::bindings as helpers;
use core::ptr;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    task::Task, //
};

/// The task whose allocations are counted. One at a time.
static WATCHED: Atomic<*mut bindings::task_struct> = Atomic::new(ptr::null_mut());

/// How many there were.
static SEEN: Atomic<u32> = Atomic::new(0);

fn count() {
    // Interrupts that come while the task runs allocate for others.
    // SAFETY: May be called anywhere.
    if WATCHED.load(Relaxed) == Task::current_raw() && unsafe { helpers::rfutex_in_task() } {
        SEEN.add(1, Relaxed);
    }
}

extern "C" fn on_kmalloc(
    _data: *mut c_void,
    _call_site: c_ulong,
    _ptr: *const c_void,
    _requested: usize,
    _allocated: usize,
    _flags: bindings::gfp_t,
    _node: c_int,
) {
    count();
}

extern "C" fn on_kmem_cache_alloc(
    _data: *mut c_void,
    _call_site: c_ulong,
    _ptr: *const c_void,
    _cache: *mut bindings::kmem_cache,
    _flags: bindings::gfp_t,
    _node: c_int,
) {
    count();
}

extern "C" fn on_page_alloc(
    _data: *mut c_void,
    _page: *mut bindings::page,
    _order: c_uint,
    _flags: bindings::gfp_t,
    _migratetype: c_int,
) {
    count();
}

/// A tracepoint with our probe on it.
struct Probe {
    tracepoint: *mut bindings::tracepoint,
    probe: *mut c_void,
}

impl Probe {
    fn new(name: &'static CStr, probe: *mut c_void) -> Result<Self> {
        struct Search {
            name: &'static CStr,
            found: *mut bindings::tracepoint,
        }
        /// # Safety
        ///
        /// `tracepoint` must be one, and `search` a `Search`.
        unsafe extern "C" fn look(tracepoint: *mut bindings::tracepoint, search: *mut c_void) {
            // SAFETY: By the function's requirements. Tracepoints have names.
            unsafe {
                let search = &mut *search.cast::<Search>();
                if CStr::from_char_ptr((*tracepoint).name) == search.name {
                    search.found = tracepoint;
                }
            }
        }
        let mut search = Search {
            name,
            found: ptr::null_mut(),
        };
        // SAFETY: `search` outlives the call, and is what `look` takes it for.
        unsafe { bindings::for_each_kernel_tracepoint(Some(look), (&raw mut search).cast()) };
        let tracepoint = search.found;
        if tracepoint.is_null() {
            return Err(ENOENT);
        }
        // SAFETY: The tracepoint is the kernel's own, and `probe` has its prototype.
        to_result(unsafe {
            bindings::tracepoint_probe_register(tracepoint, probe, ptr::null_mut())
        })?;
        Ok(Self { tracepoint, probe })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // SAFETY: It was registered like this. After the second call nobody is in the probe.
        unsafe {
            bindings::tracepoint_probe_unregister(self.tracepoint, self.probe, ptr::null_mut());
            helpers::rfutex_tracepoint_synchronize();
        }
    }
}

/// Runs `what`, and returns how many times the current task allocated memory meanwhile, too: from a
/// slab, or pages. Only one at a time.
///
/// # Errors
///
/// `ENOENT`: the kernel lacks the tracepoints.
pub(crate) fn allocations<T>(what: impl FnOnce() -> T) -> Result<(T, u32)> {
    let _probes = [
        Probe::new(c"kmalloc", on_kmalloc as *mut c_void)?,
        Probe::new(c"kmem_cache_alloc", on_kmem_cache_alloc as *mut c_void)?,
        Probe::new(c"mm_page_alloc", on_page_alloc as *mut c_void)?,
    ];
    SEEN.store(0, Relaxed);
    WATCHED.store(Task::current_raw(), Relaxed);
    let result = what();
    WATCHED.store(ptr::null_mut(), Relaxed);
    Ok((result, SEEN.load(Relaxed)))
}
