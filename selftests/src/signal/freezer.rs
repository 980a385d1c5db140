// SPDX-License-Identifier: GPL-2.0
//! A frozen cgroup: the waiter does not see it, as that of futex(2) does not.

use crate::harness::{
    Child, Mapping, PAGE, Task, Waiter, futex, fx, until, until_in_syscall, until_queued,
};
use nix::unistd::Pid;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

trials![freeze_and_thaw, killed_while_frozen];

/// A cgroup of one's own, thawed and removed when it goes.
struct Group(PathBuf);

impl Group {
    fn new() -> Self {
        let path = PathBuf::from(format!("/sys/fs/cgroup/rfutex-{}", std::process::id()));
        fs::create_dir(&path).expect("a cgroup");
        Self(path)
    }

    fn add(&self, child: &Child) {
        fs::write(self.0.join("cgroup.procs"), child.pid().to_string()).expect("cgroup.procs");
    }

    fn set_frozen(&self, frozen: bool) {
        let value = u32::from(frozen);
        fs::write(self.0.join("cgroup.freeze"), value.to_string()).expect("cgroup.freeze");
        let line = format!("frozen {value}");
        until(&line, || {
            let events = fs::read_to_string(self.0.join("cgroup.events")).expect("cgroup.events");
            events.lines().any(|event| event == line)
        });
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.freeze"), "0");
        // A task leaves it a moment after it was waited for.
        while fs::remove_dir(&self.0).is_err() && !std::thread::panicking() {
            std::thread::yield_now();
        }
    }
}

const OURS: usize = 0;
const THEIRS: usize = 64;
const TID: usize = 128;

/// A child that waits with both on words of `map`, and must be woken.
fn waiting_child(map: &Mapping) -> Child {
    let child = Child::run(|| {
        let addr = map.addr() + THEIRS as u64;
        let theirs = Task::spawn(move || futex::wait(addr, 0, false));
        map.atomic::<AtomicU32>(TID)
            .store(theirs.tid().as_raw() as u32, Ordering::SeqCst);
        let word = map.word(OURS);
        let ours = Task::spawn(move || fx().wait(word, 0));
        assert_eq!(ours.join(), Ok(()));
        assert_eq!(theirs.join(), Ok(()));
    });
    until_queued(map.word(OURS), 1);
    let tid = || map.atomic::<AtomicU32>(TID).load(Ordering::SeqCst);
    until("the other thread is there", || tid() != 0);
    until_in_syscall(child.pid(), Pid::from_raw(tid() as i32), libc::SYS_futex);
    child
}

fn freeze_and_thaw() {
    let map = Mapping::shared(PAGE);
    let group = Group::new();
    let child = waiting_child(&map);
    group.add(&child);
    for _ in 0..3 {
        group.set_frozen(true);
        group.set_frozen(false);
        until_queued(map.word(OURS), 1);
    }
    let addr = map.addr() + THEIRS as u64;
    until("futex(2) waits again", || {
        futex::wake(addr, 1, false) == Ok(1)
    });
    assert_eq!(fx().wake_one(map.word(OURS)), Ok(1));
    child.join();
}

/// Nobody is left in the queue, and who waits there is woken.
fn killed_while_frozen() {
    let map = Mapping::shared(PAGE);
    let group = Group::new();
    let child = waiting_child(&map);
    group.add(&child);
    let other = Waiter::start(map.word(OURS), 0);
    group.set_frozen(true);
    child.kill(nix::sys::signal::Signal::SIGKILL);
    child.status();
    until_queued(map.word(OURS), 1);
    assert_eq!(fx().wake_one(map.word(OURS)), Ok(1));
    other.woken();
}
