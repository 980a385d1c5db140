// SPDX-License-Identifier: GPL-2.0
//! The events of waits that were submitted to io_uring.

use super::{Instance, Memory, key};
use crate::harness::fx;
use io_uring::IoUring;
use rfutex::io_uring::{Wait, cancel, wait};
use rfutex::{Rfutex, Word};

trials![woken, cancelled, ring_closed];

/// A ring, in which a wait on `word` was submitted with the user data 1.
fn ring_with_wait(device: &Rfutex, word: Word<'static>) -> IoUring {
    let mut ring = IoUring::new(8).expect("io_uring");
    let what = Wait::new(word, 0, 0x11);
    // SAFETY: `what` stays until the entry was issued, which is before `submit` returns.
    unsafe { ring.submission().push(&wait(device, &what).user_data(1)) }.expect("room");
    ring.submit().expect("it is submitted");
    ring
}

/// What is to be seen of the wait, whose key is `key`.
fn expected(key: &str, result: &str) -> [String; 2] {
    [
        format!("rfutex_wait: op=uring_wait {key} size=4 val=0x0 mask=0x11 deadline=0"),
        format!("rfutex_woken: op=uring_wait {key} result={result}"),
    ]
}

#[track_caller]
fn texts(instance: &Instance) -> Vec<String> {
    let mut texts = instance.texts();
    texts.retain(|text| !text.starts_with("rfutex_wake: "));
    texts
}

fn woken() {
    let device = Rfutex::open().expect("the device");
    let memory = Memory::new();
    for word in memory.words() {
        let instance = Instance::on();
        let mut ring = ring_with_wait(&device, word);
        assert_eq!(fx().wake_one(word), Ok(1));
        ring.submit_and_wait(1).expect("it completes");
        assert_eq!(ring.completion().next().expect("a completion").result(), 0);
        assert_eq!(texts(&instance), expected(&key(word), "woken"));
    }
}

fn cancelled() {
    let device = Rfutex::open().expect("the device");
    let memory = Memory::new();
    let word = memory.words()[2];
    let instance = Instance::on();
    let mut ring = ring_with_wait(&device, word);
    // SAFETY: The entry refers to no memory.
    unsafe { ring.submission().push(&cancel(&device, 1)) }.expect("room");
    ring.submit_and_wait(2).expect("both complete");
    assert_eq!(texts(&instance), expected(&key(word), "cancelled"));
}

fn ring_closed() {
    let device = Rfutex::open().expect("the device");
    let memory = Memory::new();
    let word = memory.words()[1];
    let instance = Instance::on();
    drop(ring_with_wait(&device, word));
    crate::harness::until("it is cancelled", || texts(&instance).len() == 2);
    assert_eq!(texts(&instance), expected(&key(word), "cancelled"));
}
