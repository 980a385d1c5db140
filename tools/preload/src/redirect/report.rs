// SPDX-License-Identifier: GPL-2.0
//! What was redirected and what was not, if the user wants to know.

use super::Ready;
use super::objects::Object;
use crate::options;
use crate::stats::{self, Counter};
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering};

/// Whether there is to be one.
static ENABLED: AtomicBool = AtomicBool::new(false);

/// Has a report made.
pub(crate) fn enable() {
    ENABLED.store(true, Ordering::Relaxed);
}

/// True if there is to be one.
pub(crate) fn is_enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Says what becomes of a library.
pub(crate) fn prepared(object: &Object, result: &Result<Option<Ready>, String>) {
    if !is_enabled() {
        return;
    }
    let name = object.name();
    match result {
        Ok(None) => (),
        Ok(Some(Ready { summary, kept, .. })) => {
            let before = if *kept { "; found out before" } else { "" };
            options::say(format_args!(
                "{name}: {} of {} system calls are redirected, {} of them by the number that they \
                 have when they are made{before}",
                summary.redirected, summary.sites, summary.unknown,
            ));
            if summary.cancellable > 0 {
                options::say(format_args!(
                    "{name}: threads are cancelled at {} of them, which stays where it is",
                    summary.cancellable,
                ));
            }
            if summary.outside > 0 {
                options::say(format_args!(
                    "{name}: {} more are in no function that is described, and left alone: the \
                     first at {:#x}",
                    summary.outside, summary.first_outside,
                ));
            }
        }
        Err(why) => options::say(format_args!("{name} is not redirected: {why}")),
    }
}

/// Says that a program was started that the library is not in, and counts it.
pub(crate) fn child(name: &CStr, why: &str) {
    stats::count(Counter::Without);
    // What is no text is left out, as is what does not fit.
    let name = name.to_str().unwrap_or("a program");
    options::say(format_args!("{name} {why}: it uses the kernel's futex"));
}

/// Says at the end how often both sides were needed.
pub(crate) fn tell(get: impl Fn(Counter) -> u64) {
    if is_enabled() {
        options::say(format_args!(
            "wakes that went on to the kernel {} programs without the library {}",
            get(Counter::Rest),
            get(Counter::Without),
        ));
    }
}
