// SPDX-License-Identifier: GPL-2.0
//! Which resolver an open file uses.

use super::{RESOLVERS, Via, each, open};
use crate::harness::{Child, Mapping, PAGE, Task, command, module_parameter, until};
use rfutex::raw::uapi;
use rfutex::{Error, Features, Resolver, Rfutex};
use std::os::fd::{AsFd, OwnedFd};

trials![
    default,
    every_one_of_the_build,
    unknown,
    missing,
    one_open_file_alone,
    who_shares_the_open_file,
    operations_that_have_begun,
    private_words,
];

/// What the file uses, by both commands that tell.
#[track_caller]
fn used(fx: &Rfutex) -> Resolver {
    let map = Mapping::shared(PAGE);
    let resolver = fx.query().expect("query").resolver;
    let info = fx.key_info(map.word(0)).expect("a key");
    assert_eq!(info.resolver, resolver);
    resolver
}

/// What open files begin with: what the module was loaded with, if with anything.
fn initial() -> Resolver {
    let number = module_parameter("resolver").map_or(uapi::RFUTEX_RESOLVER_PAGE, |number| {
        number.parse().expect("a number")
    });
    match number {
        uapi::RFUTEX_RESOLVER_PAGE => Resolver::Page,
        uapi::RFUTEX_RESOLVER_VMA => Resolver::Vma,
        uapi::RFUTEX_RESOLVER_LOCKED => Resolver::Locked,
        other => panic!("the module does not load with resolver={other}"),
    }
}

fn default() {
    assert_eq!(used(&open()), initial());
}

fn every_one_of_the_build() {
    let features = open().query().expect("query").features;
    assert!(features.contains(Features::RESOLVER_PAGE));
    assert!(features.contains(Features::RESOLVER_VMA));
    assert_eq!(
        features.contains(Features::RESOLVER_LOCKED),
        features.contains(Features::LAB)
    );
    let fx = open();
    for via in each() {
        fx.set_resolver(via.resolver).expect("a resolver");
        assert_eq!(used(&fx), via.resolver);
    }
}

fn unknown() {
    let fx = open();
    fx.set_resolver(Resolver::Vma).expect("a resolver");
    let known = RESOLVERS.len() as u64;
    for number in [0, known + 1, 1 << 31, 1 << 32 | 1, 1 << 63, u64::MAX] {
        let result = command::call_addr(&fx, uapi::RFUTEX_SET_RESOLVER, number);
        assert_eq!(result, Err(Error::Invalid), "{number:#x}");
    }
    // With a struct it is another command.
    let sized = command::call_bytes(&fx, uapi::RFUTEX_SET_RESOLVER, &mut [1, 0, 0, 0]);
    assert_eq!(sized, Err(Error::Unsupported));
    assert_eq!(used(&fx), Resolver::Vma);
}

fn missing() {
    let fx = open();
    let features = fx.query().expect("query").features;
    for (resolver, feature) in RESOLVERS {
        let expected = if features.contains(feature) {
            Ok(())
        } else {
            Err(Error::NotBuilt)
        };
        assert_eq!(fx.set_resolver(resolver), expected, "{resolver:?}");
    }
}

fn one_open_file_alone() {
    let (one, other) = (open(), open());
    let another = match initial() {
        Resolver::Page => Resolver::Vma,
        _ => Resolver::Page,
    };
    one.set_resolver(another).expect("a resolver");
    assert_eq!(used(&one), another);
    assert_eq!(used(&other), initial());
    assert_eq!(used(&open()), initial());
}

fn who_shares_the_open_file() {
    let one = open();
    let dup = OwnedFd::from(open());
    drop(dup);
    let dup = Rfutex::try_from(one.as_fd().try_clone_to_owned().expect("dup")).expect("the device");
    one.set_resolver(Resolver::Vma).expect("a resolver");
    assert_eq!(used(&dup), Resolver::Vma);
    Child::run(|| {
        assert_eq!(used(&one), Resolver::Vma);
        dup.set_resolver(Resolver::Page).expect("a resolver");
    })
    .join();
    assert_eq!(used(&one), Resolver::Page);
}

/// A waiter keeps the key with which it came.
fn operations_that_have_begun() {
    let map = Mapping::shared(PAGE);
    for via in each() {
        let waiter = via.waiter(map.word(0), 0);
        for other in each() {
            via.fx.set_resolver(other.resolver).expect("a resolver");
            assert_eq!(via.nr_waiters(map.word(0)), 1);
        }
        assert_eq!(via.fx.wake_all(map.word(0)), Ok(1));
        assert_eq!(waiter.join(), Ok(()));
    }
    // While others change it all the time, every call has one of them.
    const ROUNDS: u32 = 2000;
    let via = Via::new(Resolver::Page);
    let fx = via.fx.clone();
    let changes = Task::spawn(move || {
        for round in 0..ROUNDS {
            let resolver = [Resolver::Page, Resolver::Vma][round as usize % 2];
            fx.set_resolver(resolver).expect("a resolver");
        }
    });
    until("the changes are over", || {
        let info = via.fx.key_info(map.word(0)).expect("a key");
        assert_eq!(info.folio.is_some(), info.resolver == Resolver::Page);
        changes.is_finished()
    });
    changes.join();
}

/// They need none; what is told is what the file would use.
fn private_words() {
    let map = Mapping::private(PAGE);
    let word = map.word(0).private();
    let keys: Vec<_> = each().iter().map(|via| via.key(word)).collect();
    assert!(keys.iter().all(|key| key.is_ok() && *key == keys[0]));
}
