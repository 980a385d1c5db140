// SPDX-License-Identifier: GPL-2.0

//! Counting the allocations that a task makes, by means of the kernel's tracepoints.

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

/// The task whose allocations are counted. There can be only one at a time.
static WATCHED: Atomic<*mut bindings::task_struct> = Atomic::new(ptr::null_mut());

/// The number of allocations that were counted.
static SEEN: Atomic<u32> = Atomic::new(0);

/// How many of them are charged to a memory cgroup.
static CHARGED: Atomic<u32> = Atomic::new(0);

/// Counts an allocation with these `flags`, if it is made by the task that is watched.
fn count(flags: bindings::gfp_t) {
    // Allocations of interrupts that arrive while the task runs are not those of the task.
    // SAFETY: The function only reads the preemption count, which is possible in any context.
    if WATCHED.load(Relaxed) == Task::current_raw() && unsafe { helpers::rfutex_in_task() } {
        SEEN.add(1, Relaxed);
        if flags & (bindings::GFP_KERNEL_ACCOUNT & !bindings::GFP_KERNEL) != 0 {
            CHARGED.add(1, Relaxed);
        }
    }
}

extern "C" fn on_kmalloc(
    _data: *mut c_void,
    _call_site: c_ulong,
    _ptr: *const c_void,
    _requested: usize,
    _allocated: usize,
    flags: bindings::gfp_t,
    _node: c_int,
) {
    count(flags);
}

extern "C" fn on_kmem_cache_alloc(
    _data: *mut c_void,
    _call_site: c_ulong,
    _ptr: *const c_void,
    _cache: *mut bindings::kmem_cache,
    flags: bindings::gfp_t,
    _node: c_int,
) {
    count(flags);
}

extern "C" fn on_page_alloc(
    _data: *mut c_void,
    _page: *mut bindings::page,
    _order: c_uint,
    flags: bindings::gfp_t,
    _migratetype: c_int,
) {
    count(flags);
}

/// A probe that is registered with a tracepoint, until this is dropped.
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
        /// Looks at one tracepoint.
        ///
        /// # Safety
        ///
        /// `tracepoint` must be valid, and `search` must point to a `Search` that nobody else uses.
        unsafe extern "C" fn look(tracepoint: *mut bindings::tracepoint, search: *mut c_void) {
            // SAFETY: By the function's requirements, both pointers are valid, and nobody else uses
            // the `Search`. The name of a tracepoint is a C string.
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
        // SAFETY: The function calls `look` with valid tracepoints and with the pointer to
        // `search`, which is a `Search` that exists until the call returns, and is not used
        // otherwise.
        unsafe { bindings::for_each_kernel_tracepoint(Some(look), (&raw mut search).cast()) };
        let tracepoint = search.found;
        if tracepoint.is_null() {
            return Err(ENOENT);
        }
        // SAFETY: The tracepoint is one of the kernel itself, so that it is always valid. The
        // callers pass a `probe` that has the prototype of the tracepoint of that name.
        to_result(unsafe {
            bindings::tracepoint_probe_register(tracepoint, probe, ptr::null_mut())
        })?;
        Ok(Self { tracepoint, probe })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // The second call waits until no processor runs the probe any more.
        // SAFETY: The probe was registered with this tracepoint, and with this data.
        unsafe {
            bindings::tracepoint_probe_unregister(self.tracepoint, self.probe, ptr::null_mut());
            helpers::rfutex_tracepoint_synchronize();
        }
    }
}

/// Runs `what`. Returns its result, and how many times the current task has allocated memory
/// meanwhile, either from a slab or as pages. Only one task can use this at a time.
///
/// # Errors
///
/// `ENOENT`: the kernel does not have the tracepoints.
pub(crate) fn allocations<T>(what: impl FnOnce() -> T) -> Result<(T, u32)> {
    let result = watch(what)?;
    Ok((result, SEEN.load(Relaxed)))
}

/// As [`allocations`], but counts only those that are charged to a memory cgroup.
pub(crate) fn charged_allocations<T>(what: impl FnOnce() -> T) -> Result<(T, u32)> {
    let result = watch(what)?;
    Ok((result, CHARGED.load(Relaxed)))
}

/// Runs `what`, and counts the allocations that the current task makes meanwhile.
fn watch<T>(what: impl FnOnce() -> T) -> Result<T> {
    let _probes = [
        Probe::new(c"kmalloc", on_kmalloc as *mut c_void)?,
        Probe::new(c"kmem_cache_alloc", on_kmem_cache_alloc as *mut c_void)?,
        Probe::new(c"mm_page_alloc", on_page_alloc as *mut c_void)?,
    ];
    SEEN.store(0, Relaxed);
    CHARGED.store(0, Relaxed);
    WATCHED.store(Task::current_raw(), Relaxed);
    let result = what();
    WATCHED.store(ptr::null_mut(), Relaxed);
    Ok(result)
}
