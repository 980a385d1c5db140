// SPDX-License-Identifier: GPL-2.0
//! The file of a set: who has it, what it keeps in existence, and its end.

use super::{add, add_repeat, counts, set};
use crate::harness::{
    Child, Mapping, PAGE, POLL, Task, UnloadedModule, fx, nr_waiters, until, until_in_syscall,
};
use nix::errno::Errno;
use nix::kmod::{DeleteModuleFlags, delete_module};
use nix::unistd::getpid;
use rfutex::{Error, Event, Rfutex, Watches};
use std::sync::Arc;

trials![
    keeps_the_module,
    module_goes_after_it,
    outlives_its_device_file,
    closed_while_it_is_read,
    closed_while_it_is_polled,
    exit_with_sets,
    too_many_files,
];

/// How often the module is in use.
fn references() -> u32 {
    let path = "/sys/module/rfutex/refcnt";
    let text = std::fs::read_to_string(path).expect(path);
    text.trim().parse().expect("a number")
}

fn keeps_the_module() {
    let map = Mapping::shared(PAGE);
    fx();
    let before = references();
    let set = set();
    assert_eq!(references(), before + 1);
    for _ in 0..10 {
        add(&set, map.word(0), 1);
    }
    assert_eq!(references(), before + 1);
    drop(set);
    assert_eq!(references(), before);
}

/// Nobody but the set uses the module. It cannot be unloaded until the set is closed, and it can
/// then, though the set had watches that were armed, and some that were met.
fn module_goes_after_it() {
    let map = Mapping::shared(PAGE);
    let device = Rfutex::open().expect("the device");
    let set = Watches::nonblocking(&device).expect("a watch set");
    add(&set, map.word(0), 1);
    add_repeat(&set, map.word(64), 2);
    assert_eq!(device.wake_all(map.word(0)), Ok(1));
    drop(device);
    let result = delete_module(c"rfutex", DeleteModuleFlags::O_NONBLOCK);
    assert_eq!(result, Err(Errno::EWOULDBLOCK));
    // It still works.
    assert_eq!(counts(&set), [(1, 1)]);
    add(&set, map.word(0), 3);
    drop(set);
    drop(UnloadedModule::new());
    let device = Rfutex::open().expect("the device");
    assert_eq!(device.wake_all(map.word(64)), Ok(0));
}

/// A set is closed later than the device file on which it was opened, and is met by way of another.
fn outlives_its_device_file() {
    let map = Mapping::shared(PAGE);
    let device = Rfutex::open().expect("the device");
    let set = Watches::nonblocking(&device).expect("a watch set");
    drop(device);
    add(&set, map.word(0), 1);
    let other = Rfutex::open().expect("the device");
    assert_eq!(other.wake_all(map.word(0)), Ok(1));
    drop(other);
    assert_eq!(counts(&set), [(1, 1)]);
}

/// The last descriptor is closed while a thread reads. The read holds the file, and its watches with
/// it.
fn closed_while_it_is_read() {
    let map = Mapping::shared(PAGE);
    let set = Watches::new(fx()).expect("a watch set");
    add(&set, map.word(0), 1);
    let number = std::os::fd::IntoRawFd::into_raw_fd(std::os::fd::OwnedFd::from(set));
    let task = Task::spawn(move || {
        let mut event = [0u64; 4];
        // SAFETY: There is room for an event.
        let nr = unsafe { libc::read(number, event.as_mut_ptr().cast(), size_of_val(&event)) };
        (nr, event[0])
    });
    until_in_syscall(getpid(), task.tid(), libc::SYS_read);
    nix::unistd::close(number).expect("close");
    assert_eq!(nr_waiters(map.word(0)), 1);
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    assert_eq!(task.join(), (32, 1));
}

/// The same while a thread polls.
fn closed_while_it_is_polled() {
    let map = Mapping::shared(PAGE);
    let set = set();
    add(&set, map.word(0), 1);
    let number = std::os::fd::IntoRawFd::into_raw_fd(std::os::fd::OwnedFd::from(set));
    let task = Task::spawn(move || {
        let mut fds = [libc::pollfd {
            fd: number,
            events: libc::POLLIN,
            revents: 0,
        }];
        // SAFETY: There is one entry.
        unsafe { libc::poll(fds.as_mut_ptr(), 1, -1) }
    });
    until_in_syscall(getpid(), task.tid(), POLL);
    nix::unistd::close(number).expect("close");
    assert_eq!(nr_waiters(map.word(0)), 1);
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    assert_eq!(task.join(), 1);
    until("it is closed", || fx().wake_all(map.word(0)) == Ok(0));
}

fn exit_with_sets() {
    let map = Mapping::shared(PAGE);
    fx();
    let before = references();
    Child::run(|| {
        let sets = [(); 10].map(|()| Arc::new(Watches::new(fx()).expect("a watch set")));
        for set in &sets {
            add(set, map.word(0), 1);
            add_repeat(set, map.word(0), 2);
            let set = Arc::clone(set);
            let task = Task::spawn(move || set.read(&mut [Event::default()]));
            until_in_syscall(getpid(), task.tid(), libc::SYS_read);
        }
        assert_eq!(nr_waiters(map.word(0)), 20);
    })
    .join();
    assert_eq!(nr_waiters(map.word(0)), 0);
    assert_eq!(references(), before);
}

fn too_many_files() {
    use nix::sys::resource::{Resource, setrlimit};
    fx();
    let before = references();
    Child::run(|| {
        setrlimit(Resource::RLIMIT_NOFILE, 20, 20).expect("setrlimit");
        let mut sets = Vec::new();
        let error = loop {
            match Watches::new(fx()) {
                Ok(set) => sets.push(set),
                Err(error) => break error,
            }
        };
        assert_eq!(error, Error::Os(libc::EMFILE));
        assert!(!sets.is_empty());
        sets.pop();
        drop(Watches::new(fx()).expect("a watch set"));
    })
    .join();
    assert_eq!(references(), before);
}
