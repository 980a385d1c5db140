// SPDX-License-Identifier: GPL-2.0
//! Shell scripts that meet on a word in /dev/shm, by the documented exit statuses.

use super::{Shm, run, script, start};
use crate::memory::RegionWord;

trials![
    two_scripts,
    statuses_of_wait,
    masks_and_numbers,
    sizes,
    store_and_compare,
];

/// Two scripts hand a turn back and forth: each waits until the word is its number.
fn two_scripts() {
    let shm = Shm::new("two-scripts");
    let place = shm.place(0);
    let player = |own: u32, other: u32| {
        format!(
            "for turn in 1 2 3 4 5; do
                while [ $(rfutexctl load {place}) = {other} ]; do
                    rfutexctl wait {place} {other} || [ $? = 3 ] || exit 9
                done
                echo {own}
                rfutexctl store {place} {other} --wake >/dev/null || exit 8
            done"
        )
    };
    let (first, second) = (player(0, 1), player(1, 0));
    let said = script(&format!("({first}) & ({second}) && wait $!"));
    assert_eq!(said.well(), "0\n1\n".repeat(5));
}

fn statuses_of_wait() {
    let shm = Shm::new("statuses");
    let place = shm.place(4);
    // Woken.
    let waiter = start(&["wait", &place, "0"]);
    shm.until_queued(4, 1);
    assert_eq!(run(&["wake", &place]).well(), "1\n");
    let ended = waiter.wait_with_output().expect("the waiter");
    assert_eq!(ended.status.code(), Some(0));
    // The rest, in silence.
    let silent = |arguments: &[&str]| {
        let said = run(arguments);
        assert_eq!((said.out.as_str(), said.err.as_str()), ("", ""), "{said:?}");
        said.status
    };
    assert_eq!(silent(&["wait", &place, "1"]), Some(3), "another value");
    let timed_out = silent(&["wait", &place, "0", "--timeout", "20ms"]);
    assert_eq!(timed_out, Some(4), "the time is over");
    // In one sentence.
    for (arguments, part) in [
        (["wait", "/dev/shm/missing:0", "0"], "No such file"),
        (
            ["wait", "/dev/shm/statuses:8192", "0"],
            "has only 4096 bytes",
        ),
        (["wait", "/dev/shm/statuses:2", "0"], "multiple of its size"),
        (
            ["wait", "/dev/shm/statuses:0", "0x100000000"],
            "does not fit",
        ),
    ] {
        let said = run(&arguments);
        assert_eq!((said.status, said.out.as_str()), (Some(1), ""), "{said:?}");
        assert_eq!(said.err.lines().count(), 1, "{said:?}");
        assert!(said.err.contains(part), "{said:?}");
    }
    assert_eq!(run(&["wait", "no-place", "0"]).status, Some(2));
}

fn masks_and_numbers() {
    let shm = Shm::new("masks");
    let place = shm.place(0);
    let mut waiters = Vec::new();
    for (nr, mask) in ["1", "2", "2"].into_iter().enumerate() {
        waiters.push(start(&["wait", &place, "0", "--mask", mask]));
        shm.until_queued(0, nr as u32 + 1);
    }
    assert_eq!(run(&["wake", &place, "--mask", "4"]).well(), "0\n");
    assert_eq!(run(&["wake", &place, "1", "--mask", "2"]).well(), "1\n");
    assert_eq!(run(&["wake", &place, "0"]).well(), "0\n");
    assert_eq!(run(&["wake", &place, "--mask", "2"]).well(), "1\n");
    assert_eq!(run(&["store", &place, "1", "--wake"]).well(), "1\n");
    for waiter in waiters {
        let ended = waiter.wait_with_output().expect("the waiter");
        assert_eq!(ended.status.code(), Some(0));
    }
}

fn sizes() {
    let shm = Shm::new("sizes");
    for (size, value) in [("1", "0xfe"), ("2", "0xfedc"), ("8", "0xfedcba9876543210")] {
        let place = shm.place(64);
        let store = run(&["store", &place, value, "--size", size]);
        assert_eq!(store.well(), "");
        let loaded = run(&["load", &place, "--size", size]).well();
        let number = u64::from_str_radix(&value[2..], 16).expect("hexadecimal");
        assert_eq!(loaded, format!("{number}\n"));
        let waiter = start(&["wait", &place, value, "--size", size]);
        shm.until_queued(64, 1);
        assert_eq!(run(&["wake", &place]).well(), "1\n");
        let ended = waiter.wait_with_output().expect("the waiter");
        assert_eq!(ended.status.code(), Some(0));
    }
}

fn store_and_compare() {
    let shm = Shm::new("compare");
    let place = shm.place(0);
    assert_eq!(run(&["store", &place, "5", "--if", "0"]).well(), "");
    let word = shm.region.word(0);
    assert_eq!(word.load(), 5);
    let refused = run(&["store", &place, "6", "--if", "0", "--wake"]);
    assert_eq!((refused.status, refused.out.as_str()), (Some(3), ""));
    assert_eq!(word.load(), 5);
}
