// SPDX-License-Identifier: GPL-2.0
//! The events of resolvers that have to begin again.

use super::{Instance, Memory};
use crate::harness::{Fault, PAGE, holds_inode, past};
use crate::memory::{Region, memfd};
use crate::resolvers::Via;
use rfutex::{Error, Resolver};

trials![no_number_yet, nothing_mapped; lab: faults];

/// What is to be seen of retries while `f` runs.
#[track_caller]
fn retries(f: impl FnOnce()) -> Vec<String> {
    let instance = Instance::off();
    instance.switch("rfutex_retry", true);
    f();
    instance.texts()
}

fn text(resolver: &str, step: &str) -> String {
    format!("rfutex_retry: resolver={resolver} step={step}")
}

/// Only a resolver that has a lock may give a number to an inode.
fn no_number_yet() {
    let via = Via::new(Resolver::Vma);
    let region = Region::shared(memfd(PAGE), 0, PAGE);
    let wake = || assert_eq!(via.fx.wake_all(region.word(0)), Ok(0));
    let mut seen = retries(wake);
    // Where a VMA cannot be locked by itself, mmap_lock is taken at once.
    seen.retain(|text| !text.ends_with("step=vma_locked"));
    assert_eq!(seen, [text("vma", "no_number")]);
    assert_eq!(retries(wake), [""; 0]);
}

fn nothing_mapped() {
    let via = Via::new(Resolver::Vma);
    let region = crate::harness::Mapping::private(2 * PAGE);
    region.unmap_part(0, PAGE);
    let seen = retries(|| assert_eq!(via.fx.wake_all(region.word(0)), Err(Error::Fault)));
    assert_eq!(seen[0], text("vma", "no_area"));
}

/// Each step at which a resolver can find that it has to begin again, as often as it does.
fn faults() {
    let memory = Memory::new();
    let word = memory.words()[2];
    let mut page = vec!["no-mapping", "host-gone", "mapping-changed"];
    let mut vma = vec!["mmap-locked", "area-changed", "mapping-changed"];
    if holds_inode() {
        page.push("inode-going");
        vma.push("inode-going");
    }
    for (resolver, name, points, times) in [
        (Resolver::Page, "page", page, 3),
        (Resolver::Vma, "vma", vma, 1),
    ] {
        let via = Via::new(resolver);
        for point in points {
            let seen = retries(|| {
                let fault = Fault::arm(point, times);
                assert_eq!(via.fx.wait_with(word, 0, past()), Err(Error::TimedOut));
                assert_eq!(fault.left(), 0, "{point}");
            });
            let step = point.replace('-', "_");
            let expected = vec![text(name, &step); times as usize];
            assert_eq!(seen, expected, "{point}");
        }
    }
}
