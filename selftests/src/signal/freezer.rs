// SPDX-License-Identifier: GPL-2.0
//! A frozen cgroup: the waiter does not see it, as that of futex(2) does not.

pub mod multi;

use crate::harness::{
    Child, Mapping, PAGE, Task, Waiter, futex, fx, nr_waiters, until, until_in_syscall,
    until_queued,
};
use crate::memory::Mount;
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

trials![freeze_and_thaw, killed_while_frozen, frozen_in_place];

/// A cgroup of one's own, thawed and removed when it goes.
struct Group {
    path: PathBuf,
    /// The hierarchy of cgroup v1, if it is in that.
    legacy: Option<Mount>,
}

impl Group {
    fn new() -> Self {
        Self::at(Path::new("/sys/fs/cgroup"), None)
    }

    /// One of cgroup v1, of which the freezer is that of suspend.
    fn legacy() -> Self {
        let mount = Mount::new(Path::new("none"), "cgroup", "freezer");
        let path = mount.path().to_owned();
        Self::at(&path, Some(mount))
    }

    fn at(hierarchy: &Path, legacy: Option<Mount>) -> Self {
        let path = hierarchy.join(format!("rfutex-{}", std::process::id()));
        fs::create_dir(&path).expect("a cgroup");
        Self { path, legacy }
    }

    fn add(&self, child: &Child) {
        fs::write(self.path.join("cgroup.procs"), child.pid().to_string()).expect("cgroup.procs");
    }

    /// Freezes it; it is thawed when the guard goes.
    fn freeze(&self) -> Frozen<'_> {
        self.set_frozen(true);
        Frozen(self)
    }

    /// Tells the freezer, and returns when it says that it is done.
    fn set_frozen(&self, frozen: bool) {
        let (file, value, told, line) = match (&self.legacy, frozen) {
            (None, true) => ("cgroup.freeze", "1", "cgroup.events", "frozen 1"),
            (None, false) => ("cgroup.freeze", "0", "cgroup.events", "frozen 0"),
            (Some(_), true) => ("freezer.state", "FROZEN", "freezer.state", "FROZEN"),
            (Some(_), false) => ("freezer.state", "THAWED", "freezer.state", "THAWED"),
        };
        fs::write(self.path.join(file), value).expect(file);
        until(line, || {
            let text = fs::read_to_string(self.path.join(told)).expect(told);
            text.lines().any(|other| other == line)
        });
    }
}

/// A frozen group. A task of cgroup v1 cannot even be killed in it.
struct Frozen<'a>(&'a Group);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.set_frozen(false);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A task leaves it a moment after it was waited for.
        while fs::remove_dir(&self.path).is_err() && !std::thread::panicking() {
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
        drop(group.freeze());
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
    let frozen = group.freeze();
    child.kill(nix::sys::signal::Signal::SIGKILL);
    child.status();
    drop(frozen);
    until_queued(map.word(OURS), 1);
    assert_eq!(fx().wake_one(map.word(OURS)), Ok(1));
    other.woken();
}

/// It stays where it is in the queue, and can be woken there: it returns when
/// it is thawed.
fn frozen_in_place() {
    let map = Mapping::shared(PAGE);
    let word = map.word(OURS);
    let group = Group::legacy();
    let child = waiting_child(&map);
    group.add(&child);
    let later = Waiter::start(word, 0);
    let frozen = group.freeze();
    assert_eq!(nr_waiters(word), 2);
    drop(frozen);
    let frozen = group.freeze();
    // It came first, and was not queued anew.
    assert_eq!(fx().wake_one(word), Ok(1));
    assert_eq!(nr_waiters(word), 1);
    assert!(!later.is_finished());
    let addr = map.addr() + THEIRS as u64;
    assert_eq!(futex::wake(addr, 1, false), Ok(1), "futex(2) does the same");
    assert!(!child.is_finished());
    drop(frozen);
    child.join();
    assert_eq!(fx().wake_one(word), Ok(1));
    later.woken();
}
