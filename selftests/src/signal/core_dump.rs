// SPDX-License-Identifier: GPL-2.0
//! A process dumps core while its threads wait.

use crate::harness::{
    BOTH, Child, Mapping, PAGE, Service, Task, nr_waiters, until, until_in_syscall,
};
use crate::memory::{Mount, Region, Setting};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::{getpid, pipe};
use rfutex::Word;
use std::fs::File;
use std::io::{Read, Write};

trials![with_waiters];

/// Starts a thread for each of these words that waits there.
fn threads(service: Service, words: &[Word<'static>]) -> Vec<Task<i32>> {
    words
        .iter()
        .map(|&word| {
            let task = Task::spawn(move || service.wait(word, 0));
            let nr = match service {
                Service::Ours => libc::SYS_ioctl,
                Service::Theirs => libc::SYS_futex,
            };
            until_in_syscall(getpid(), task.tid(), nr);
            task
        })
        .collect()
}

/// The process ends, and all of its waiters are gone. A waiter of another process, on the same
/// word, sleeps on, and is woken as ever.
fn with_waiters() {
    let mount = Mount::tmpfs("");
    let core = mount.path().join("core");
    let _pattern = Setting::set("/proc/sys/kernel/core_pattern", core.display());
    let map = Mapping::shared(PAGE);
    let shared = map.word(0);
    for service in BOTH {
        let waiter = service.sleeper(shared, 0);
        let (told, tell) = pipe().expect("pipe");
        let child = Child::run(|| {
            setrlimit(Resource::RLIMIT_CORE, RLIM_INFINITY, RLIM_INFINITY).expect("setrlimit");
            let own = Region::private(PAGE);
            let words = [shared, shared.private(), own.word(0), own.word(0).private()];
            let threads = threads(service, &words);
            File::from(tell).write_all(&[1]).expect("a pipe");
            for thread in threads {
                thread.join();
            }
        });
        File::from(told)
            .read_exact(&mut [0])
            .expect("its threads wait");
        if service == Service::Ours {
            until("both wait", || nr_waiters(shared) == 2);
        }
        child.kill(Signal::SIGQUIT);
        let pid = child.pid();
        let dumped = WaitStatus::Signaled(pid, Signal::SIGQUIT, true);
        assert_eq!(child.status(), dumped, "{service:?}");
        let header = &mut [0; 4];
        File::open(&core)
            .and_then(|mut file| file.read_exact(header))
            .expect("a core");
        assert_eq!(header, b"\x7fELF");
        std::fs::remove_file(&core).expect("unlink");

        assert!(!waiter.is_finished(), "{service:?}");
        assert_eq!(service.wake(shared, u32::MAX), Ok(1), "{service:?}");
        waiter.woken();
    }
    assert_eq!(nr_waiters(shared), 0);
}
