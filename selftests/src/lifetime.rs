// SPDX-License-Identifier: GPL-2.0
//! The open device: who holds it, and what its end does to waiters.

use crate::harness::{
    Child, Mapping, PAGE, Task, Waiter, fx, module_is_used, module_references, nr_waiters,
    receive_file, send_file, until, until_queued,
};
use rfutex::{Rfutex, Word};
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

trials![
    open_device_holds_the_module,
    references_go_back,
    dup,
    inherited,
    passed_over_a_socket,
    opened_read_only_and_write_only,
    closed_while_waiting,
    exit_with_waiters,
    exec_with_waiters,
];

fn open_device_holds_the_module() {
    fx();
    assert!(module_references() > 0);
    module_is_used();
    // It still works.
    assert!(fx().query().is_ok());
}

fn references_go_back() {
    fx();
    let before = module_references();
    let opened: Vec<_> = (0..10).map(|_| Rfutex::open().expect("open")).collect();
    assert_eq!(module_references(), before + 10);
    // Another descriptor of the same open file is no reference more.
    let twice = opened[0].as_fd().try_clone_to_owned().expect("dup");
    assert_eq!(module_references(), before + 10);
    drop(opened);
    assert_eq!(module_references(), before + 1);
    drop(twice);
    assert_eq!(module_references(), before);
}

/// Waits here through `ours`, and wakes through `theirs`.
fn check_meet(map: &Mapping, ours: &Arc<Rfutex>, theirs: &Rfutex) {
    let word = map.word(0);
    let task = Task::spawn({
        let ours = ours.clone();
        move || ours.wait(word, 0)
    });
    until("it is queued", || {
        theirs.key_info(word).expect("key").nr_waiters == 1
    });
    assert_eq!(theirs.wake_one(word), Ok(1));
    assert_eq!(task.join(), Ok(()));
}

fn dup() {
    let map = Mapping::private(PAGE);
    let ours = Arc::new(Rfutex::open().expect("open"));
    let theirs =
        Rfutex::try_from(ours.as_fd().try_clone_to_owned().expect("dup")).expect("the device");
    check_meet(&map, &ours, &theirs);
    check_meet(&map, &Arc::new(theirs), &ours);
}

fn inherited() {
    let map = Mapping::shared(PAGE);
    let ours = Rfutex::open().expect("open");
    let child = Child::run(|| assert_eq!(ours.wait(map.word(0), 0), Ok(())));
    until_queued(map.word(0), 1);
    assert_eq!(ours.wake_one(map.word(0)), Ok(1));
    child.join();
    // The parent's descriptor is not the child's.
    let child = Child::run(|| assert_eq!(ours.wait(map.word(0), 0), Ok(())));
    drop(ours);
    until_queued(map.word(0), 1);
    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
    child.join();
}

/// One process opens it, and two others, in the one of which it is closed
/// while it is under way, use it on memory of their own.
fn passed_over_a_socket() {
    let map = Mapping::shared(PAGE);
    let (here, there) = UnixDatagram::pair().expect("socketpair");
    let child = Child::run(|| {
        let theirs = Rfutex::try_from(receive_file(&there)).expect("the device");
        assert_eq!(theirs.wait(map.word(0), 0), Ok(()));
        let own = Mapping::private(PAGE);
        assert_eq!(theirs.wake_all(own.word(0)), Ok(0));
    });
    let ours = Rfutex::open().expect("open");
    send_file(&here, &ours);
    drop(ours);
    until_queued(map.word(0), 1);
    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
    child.join();
}

fn opened_read_only_and_write_only() {
    let map = Mapping::private(PAGE);
    let open = |write: bool| {
        let mut options = fs::OpenOptions::new();
        let file = options
            .read(!write)
            .write(write)
            .open(Rfutex::PATH)
            .expect("open");
        Rfutex::try_from(OwnedFd::from(file)).expect("the device")
    };
    check_meet(&map, &Arc::new(open(false)), &open(true));
    check_meet(&map, &Arc::new(open(true)), &open(false));
}

/// The wait goes on, and holds the open file and with it the module.
fn closed_while_waiting() {
    let map = Mapping::private(PAGE);
    let word = map.word(0);
    fx();
    let before = module_references();
    let rfutex = Rfutex::open().expect("open");
    let number = rfutex.as_fd().as_raw_fd();
    let task = Task::spawn(move || {
        // The call holds it, not this thread's variable.
        let rfutex = std::mem::ManuallyDrop::new(rfutex);
        rfutex.wait(word, 0)
    });
    until_queued(word, 1);
    // SAFETY: It is the only owner's, which never drops it.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
    assert_eq!(module_references(), before + 1);
    until_queued(word, 1);
    assert!(!task.is_finished());
    assert_eq!(fx().wake_one(word), Ok(1));
    assert_eq!(task.join(), Ok(()));
    assert_eq!(module_references(), before);
}

const THREADS: u32 = 10;

/// Starts threads that wait on shared and private words, and are never woken.
fn leave_waiters(map: &Mapping) {
    let words: [Word<'static>; 2] = [map.word(0), map.word(0).private()];
    for word in words {
        for _ in 0..THREADS {
            std::mem::forget(Waiter::start(word, 0));
        }
    }
}

fn exit_with_waiters() {
    let map = Mapping::shared(PAGE);
    fx();
    let before = module_references();
    let child = Child::run(|| leave_waiters(&map));
    child.join();
    assert_eq!(nr_waiters(map.word(0)), 0);
    assert_eq!(fx().wake_all(map.word(0)), Ok(0));
    assert_eq!(module_references(), before);
}

/// The other threads end, the device is closed, the memory goes.
fn exec_with_waiters() {
    let map = Mapping::shared(PAGE);
    fx();
    let before = module_references();
    let own = Rfutex::open().expect("open");
    let child = Child::run(|| {
        leave_waiters(&map);
        let null = fs::OpenOptions::new()
            .write(true)
            .open("/dev/null")
            .expect("/dev/null");
        nix::unistd::dup2_stdout(null).expect("dup2");
        let program = CString::new("/proc/self/exe").expect("no zero");
        nix::unistd::execv(&program, &[&program, &c"--list".to_owned()]).expect("execv");
    });
    drop(own);
    child.join();
    assert_eq!(nr_waiters(map.word(0)), 0);
    assert_eq!(module_references(), before);
}
