// SPDX-License-Identifier: GPL-2.0
//! Whether a module works at all. All of it runs on the plain build too.

use crate::harness::{Mapping, PAGE, Waiter, fx};
use rfutex::{Error, Features, Resolver};
use std::sync::atomic::{AtomicU32, Ordering};

trials![query, wake_private, wake_shared, changed];

fn query() {
    let query = fx().query().expect("query");
    assert_eq!(query.version, rfutex::raw::uapi::RFUTEX_VERSION);
    assert_eq!(query.resolver, Resolver::Page);
    assert!(query.features.contains(Features::WAIT));
    assert!(query.features.contains(Features::WAKE));
    assert!(query.features.contains(Features::KEY_INFO));
    assert_eq!(query.sizes, 1 | 2 | 4 | 8);
    let updates_all = query.features.contains(Features::WAKE_OP_SIZES);
    assert_eq!(updates_all, cfg!(target_arch = "x86_64"));
    assert!(query.nr_buckets.is_power_of_two());
    let watches = query.features.contains(Features::WATCHES);
    assert_eq!(query.max_watches > 0, watches);
}

fn wake_private() {
    let map = Mapping::private(PAGE);
    let word = map.word(0).private();
    let waiter = Waiter::start(word, 0);
    assert_eq!(fx().wake_one(word), Ok(1));
    waiter.woken();
}

fn wake_shared() {
    let map = Mapping::shared(PAGE);
    let waiter = Waiter::start(map.word(0), 0);
    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
    waiter.woken();
}

fn changed() {
    let map = Mapping::private(PAGE);
    map.atomic::<AtomicU32>(0).store(1, Ordering::Relaxed);
    assert_eq!(fx().wait(map.word(0), 0), Err(Error::Again));
}
