// SPDX-License-Identifier: GPL-2.0
//! Redirects the system call instructions of the libraries themselves, the C library's first of
//! all, so that its locks use the device as well. See `Documentation/preload.rst`.
//!
//! It begins before the first constructor of any library runs, when no thread but this one is
//! there and none of this code is being executed; and when the loader has mapped a library that is
//! opened later, before any code of that runs. So no thread is ever in what is replaced. The loader
//! calls a function that does nothing each time it has mapped something, for debuggers to have a
//! breakpoint there: this is made to call us.

mod apply;
mod cache;
mod call;
mod cancellable;
mod entry;
mod exec;
mod objects;
mod report;
pub(crate) mod sides;

use crate::device;
use crate::kernel::{SYS_FUTEX_REQUEUE, SYS_FUTEX_WAIT, SYS_FUTEX_WAKE};
use crate::next;
use crate::options;
use apply::Prepared;
use cache::Cache;
use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicBool, Ordering};
use objects::Object;
use rfutex_redirect::{Code, Plan, Slots, Summary, hook};

pub(crate) use cache::enable as enable_cache;
pub(crate) use report::{enable as enable_report, tell};

/// The calls that are redirected: futex's, and those that start programs, which are looked at to
/// count the ones that will not use the device.
pub(crate) const WANTED: [u32; 7] = [
    libc::SYS_futex as u32,
    libc::SYS_futex_waitv as u32,
    SYS_FUTEX_WAKE as u32,
    SYS_FUTEX_WAIT as u32,
    SYS_FUTEX_REQUEUE as u32,
    libc::SYS_execve as u32,
    libc::SYS_execveat as u32,
];

/// From this version of the C library on, cancellation compares the address at which a thread was
/// interrupted with those of its own system call instruction, where it has to wait. See
/// `cancellable.rs`.
const CANCELS_BY_ADDRESS: (u32, u32) = (2, 41);

/// Whether libraries are redirected in this process.
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// True if they are.
#[inline]
pub(crate) fn is_active() -> bool {
    ACTIVE.load(Ordering::Relaxed)
}

/// Redirects all libraries that are there, or none.
pub(crate) fn start() {
    if !device::is_there() {
        return;
    }
    match redirect_all() {
        Ok(()) => (),
        Err(why) => {
            options::say(format_args!("nothing is redirected: {why}"));
            if options::is_required() {
                options::die(
                    "the program cannot be redirected, and RFUTEX_PRELOAD=require",
                    0,
                );
            }
        }
    }
}

/// The same; an error is a sentence.
fn redirect_all() -> Result<(), String> {
    let version = c_library_version().ok_or("the C library is not glibc")?;
    if threads() != Some(1) {
        return Err("other threads run already, or /proc cannot be read".to_owned());
    }
    entry::measure();
    let changed = objects::loader_breakpoint().ok_or("the loader has no breakpoint")?;
    let all = objects::all();
    let cache = Cache::open();
    let mut ready = Vec::new();
    let mut cancellable = 0;
    for object in &all {
        let at = object.contains(changed).then_some(changed);
        let prepared = prepare(object, at, cache.as_ref());
        report::prepared(object, &prepared);
        match prepared {
            Ok(Some(Ready {
                prepared, summary, ..
            })) => {
                if object.is_c_library() {
                    cancellable += summary.cancellable;
                }
                ready.push(prepared);
            }
            Ok(None) => (),
            // The loader's locks are the C library's: without one of them, neither.
            Err(why) if at.is_some() || object.is_c_library() => {
                return Err(format!("{}: {why}", object.name()));
            }
            Err(_) => (),
        }
    }
    can_cancel(version, cancellable)?;
    // From here on all is there that is needed.
    ACTIVE.store(true, Ordering::SeqCst);
    for prepared in ready {
        if let Err(why) = prepared.apply() {
            options::die(&why, 0);
        }
    }
    next::skip_c_library(|address| {
        let mut c_library = all.iter().filter(|object| object.is_c_library());
        c_library.any(|object| object.contains(address))
    });
    objects::remember(all);
    Ok(())
}

/// Whether threads are cancelled as ever with this version of the C library, in which so many places
/// were found where it does that.
fn can_cancel(version: (u32, u32), places: u64) -> Result<(), String> {
    if version < CANCELS_BY_ADDRESS || places == 1 {
        return Ok(());
    }
    let (major, minor) = version;
    Err(format!(
        "glibc {major}.{minor} cancels threads by the address of its system call instruction, which \
         was found {places} times"
    ))
}

/// Makes everything ready to redirect a library. `None` if it makes no call that is redirected. If
/// the loader's breakpoint is in it, at `breakpoint`, that is hooked.
fn prepare(
    object: &Object,
    breakpoint: Option<u64>,
    cache: Option<&Cache>,
) -> Result<Option<Ready>, String> {
    if breakpoint.is_none() && object.has_little_code() && !object.bare_image().may_have_calls() {
        return Ok(None);
    }
    let entry = cache.and_then(|cache| cache.entry(object, breakpoint));
    let found = entry.as_ref().and_then(|entry| kept(object, entry));
    let was_kept = found.is_some();
    let (code, summary) = match found {
        Some(found) => found,
        None => {
            let (code, summary) = planned(object, breakpoint)?;
            if let Some(entry) = entry
                && let Some(bytes) = code.to_bytes(&summary)
            {
                entry.store(&bytes);
            }
            (code, summary)
        }
    };
    if code.is_empty() {
        return Ok(None);
    }
    let slots = Slots {
        call: entry::address(),
        hook: (objects_changed as *const ()).addr() as u64,
        cancellable: cancellable::address(),
    };
    let prepared = Prepared::new(object, code.size(), |base| {
        let placed = code.place(base, object.bias(), &slots);
        placed.map_err(|error| error.to_string())
    })?;
    Ok(Some(Ready {
        prepared,
        summary,
        kept: was_kept,
    }))
}

/// A library for which everything is there.
struct Ready {
    prepared: Prepared,
    summary: Summary,
    /// The code was made before.
    kept: bool,
}

/// Makes a plan, and the code for it.
fn planned(object: &Object, breakpoint: Option<u64>) -> Result<(Code, Summary), String> {
    let image = object.image().ok_or("its headers are not understood")?;
    let bias = object.bias();
    let plan = Plan::new(&image, &WANTED);
    if let Some((site, why)) = plan.refused().next() {
        let address = site.address - bias;
        let more = plan.refused().count() - 1;
        let more = match more {
            0 => String::new(),
            _ => format!(" (and {more} more)"),
        };
        return Err(format!(
            "its system call at {address:#x} cannot be redirected: {why}{more}"
        ));
    }
    let jump = match breakpoint {
        None => None,
        Some(address) => Some(hook(&image, address).ok_or("its breakpoint cannot be hooked")?),
    };
    let code = Code::new(&plan, jump.as_ref(), &image, bias);
    Ok((code.map_err(|error| error.to_string())?, plan.summary(bias)))
}

/// What was kept of this, if it is for the library that is there.
fn kept(object: &Object, entry: &cache::Entry) -> Option<(Code, Summary)> {
    let kept = entry.load()?;
    let (code, summary) = Code::from_bytes(kept.bytes())?;
    code.is_for(&object.bare_image(), object.bias())
        .then_some((code, summary))
}

/// Called by the loader when it has begun to change what is mapped, and when it is done. It holds
/// its lock: there is one call at a time.
extern "C" fn objects_changed() {
    let (new, gone) = objects::changes();
    for object in gone {
        apply::forget(object);
    }
    let cache = (!new.is_empty()).then(Cache::open).flatten();
    for object in new {
        let prepared = prepare(&object, None, cache.as_ref());
        report::prepared(&object, &prepared);
        if let Ok(Some(Ready { prepared, .. })) = prepared
            && let Err(why) = prepared.apply()
        {
            options::die(&why, 0);
        }
    }
}

/// The version of the C library: two numbers.
fn c_library_version() -> Option<(u32, u32)> {
    type Version = unsafe extern "C" fn() -> *const c_char;
    // SAFETY: Takes a string.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"gnu_get_libc_version".as_ptr()) };
    if found.is_null() {
        return None;
    }
    // SAFETY: That function has this type, and returns a string that stays.
    let version = unsafe {
        let version: Version = core::mem::transmute(found);
        CStr::from_ptr(version())
    };
    let mut numbers = version.to_str().ok()?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// How many threads this process has; `None` if that cannot be found out.
fn threads() -> Option<u64> {
    let directory = cache::status(cache::HERE, c"/proc/self/task", 0)?;
    // A directory has two links, and one more for each directory in it.
    directory.st_nlink.checked_sub(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_cancellation_is_found_once() {
        for old in [(1, 99), (2, 36), (2, 40)] {
            assert_eq!(can_cancel(old, 0), Ok(()), "{old:?}");
        }
        for new in [(2, 41), (2, 50), (3, 0)] {
            assert_eq!(can_cancel(new, 1), Ok(()), "{new:?}");
            for places in [0, 2] {
                let why = can_cancel(new, places).unwrap_err();
                assert!(why.contains(&format!("found {places} times")), "{why}");
            }
        }
    }

    #[test]
    fn threads_are_counted() {
        const MORE: usize = 20;
        let before = threads().unwrap();
        assert!(before >= 1);
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let ended = std::sync::Mutex::new(ended);
        std::thread::scope(|scope| {
            for _ in 0..MORE {
                scope.spawn(|| ended.lock().unwrap().recv());
            }
            // This one, and these; there are those of other tests, too.
            assert!(threads().unwrap() > MORE as u64);
            drop(end);
        });
    }
}
