// SPDX-License-Identifier: GPL-2.0
//! Sets that processes pass on: by a socket, by exec(2), by fork(2).

use super::{add, add_repeat, counts, set};
use crate::harness::{
    Child, Mapping, PAGE, effort, fx, nr_waiters, receive_file, send_file, until, until_queued,
};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::pipe;
use rfutex::raw::{self, uapi};
use rfutex::{Event, Watches};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

trials![
    over_a_socket,
    lost_in_a_socket,
    kept_over_exec,
    closed_by_exec,
    child_reads_while_the_parent_arms,
    parent_reads_while_children_arm,
];

/// The one that has armed it passes it on, and ends. It is met while nobody has it open.
fn over_a_socket() {
    let map = Mapping::shared(PAGE);
    let (here, there) = UnixDatagram::pair().expect("socketpair");
    Child::run(|| {
        let set = set();
        add(&set, map.word(0), 1);
        add_repeat(&set, map.word(0), 2);
        add(&set, map.word(0).private(), 3);
        send_file(&there, set);
    })
    .join();
    assert_eq!(fx().wake_all(map.word(0)), Ok(2));
    let set = Watches::try_from(receive_file(&here)).expect("a watch set");
    assert_eq!(counts(&set), [(1, 1), (2, 1)]);
    // From now on, the words are those of this process.
    add(&set, map.word(64).private(), 4);
    assert_eq!(fx().wake_all(map.word(0).private()), Ok(0));
    assert_eq!(fx().wake_all(map.word(64).private()), Ok(1));
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    assert_eq!(counts(&set), [(4, 1), (2, 1)]);
}

/// Nobody ever receives it.
fn lost_in_a_socket() {
    let map = Mapping::shared(PAGE);
    let (here, there) = UnixDatagram::pair().expect("socketpair");
    let set = set();
    add_repeat(&set, map.word(0), 1);
    send_file(&there, set);
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    drop((here, there));
    until("it is closed", || nr_waiters(map.word(0)) == 0);
}

/// A process with a set, which becomes `cat`, with the set as its input. What that reads is returned.
fn becomes_cat(set: &Watches, close_on_exec: bool, before: impl FnOnce()) -> (Child, File) {
    let (read, write) = pipe().expect("pipe");
    let child = Child::run(|| {
        before();
        if close_on_exec {
            nix::unistd::dup2_stdin(std::fs::File::open("/dev/zero").expect("a file"))
                .expect("dup2");
        } else {
            fcntl(set, FcntlArg::F_SETFD(FdFlag::empty())).expect("fcntl");
            nix::unistd::dup2_stdin(set).expect("dup2");
        }
        nix::unistd::dup2_stdout(write.as_fd()).expect("dup2");
        let program = c"/bin/busybox".to_owned();
        let args = if close_on_exec {
            ["sleep", "1000"]
        } else {
            ["cat", "-"]
        };
        let args = args.map(|arg| std::ffi::CString::new(arg).expect("no zero"));
        nix::unistd::execv(&program, &args).expect("execv");
    });
    drop(write);
    (child, File::from(read))
}

/// Without close-on-exec the set stays, and so do its watches, though those on words of the process
/// meet nobody any more.
fn kept_over_exec() {
    let map = Mapping::shared(PAGE);
    let set = Watches::new(fx()).expect("a watch set");
    let (child, mut output) = becomes_cat(&set, false, || {
        add(&set, map.word(0), 1);
        add(&set, map.word(64).private(), 2);
    });
    until("it is another program", || {
        let path = format!("/proc/{}/comm", child.pid());
        std::fs::read_to_string(path).expect("its name").trim() == "busybox"
    });
    // It has it alone.
    drop(set);
    assert_eq!(nr_waiters(map.word(0)), 1);
    assert_eq!(fx().wake_all(map.word(64).private()), Ok(0));
    assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    let mut event = uapi::rfutex_event::default();
    output
        .read_exact(raw::bytes_of_mut(&mut event))
        .expect("an event");
    assert_eq!((event.cookie, event.woken), (1, 1));
    child.kill(Signal::SIGKILL);
    child.status();
}

/// With it, the set is closed when the program is another one.
fn closed_by_exec() {
    let map = Mapping::shared(PAGE);
    let set = set();
    let (child, _output) = becomes_cat(&set, true, || {
        let own = super::set();
        add_repeat(&own, map.word(0), 1);
        until("the parent has seen it", || {
            map.atomic::<AtomicU32>(128).load(SeqCst) == 1
        });
        std::mem::forget(own);
    });
    until_queued(map.word(0), 1);
    map.atomic::<AtomicU32>(128).store(1, SeqCst);
    until_queued(map.word(0), 0);
    assert!(!child.is_finished());
    child.kill(Signal::SIGKILL);
    child.status();
}

const ROUNDS: u32 = 300;

/// The child reads what its parent arms, and has woken, all the time: once, and in this order.
fn child_reads_while_the_parent_arms() {
    let map = Mapping::shared(PAGE);
    let set = Watches::new(fx()).expect("a watch set");
    let rounds = effort(ROUNDS);
    let child = Child::run(|| {
        let mut next = 0;
        let mut some = [Event::default(); 3];
        while next < rounds {
            let nr = set.read(&mut some).expect("events");
            for event in &some[..nr] {
                assert_eq!((event.cookie, event.woken), (next.into(), 1));
                next += 1;
            }
        }
    });
    for round in 0..rounds {
        add(&set, map.word(0), round.into());
        assert_eq!(fx().wake_all(map.word(0)), Ok(1));
    }
    child.join();
    assert!(!super::readable(&set));
}

/// The other way round, with private words, each of them that of a child.
fn parent_reads_while_children_arm() {
    let map = Mapping::private(PAGE);
    let set = Watches::new(fx()).expect("a watch set");
    let rounds = effort(ROUNDS);
    let children = [1u64, 2].map(|child| {
        let (set, word) = (&set, map.word(0).private());
        Child::run(move || {
            for round in 0..rounds {
                add(set, word, child << 32 | u64::from(round));
                assert_eq!(fx().wake_all(word), Ok(1));
            }
        })
    });
    let mut next = [0, 0];
    while next != [rounds; 2] {
        let mut event = [Event::default()];
        assert_eq!(set.read(&mut event), Ok(1));
        let child = (event[0].cookie >> 32) as usize - 1;
        assert_eq!((event[0].cookie as u32, event[0].woken), (next[child], 1));
        next[child] += 1;
    }
    children.into_iter().for_each(Child::join);
}
