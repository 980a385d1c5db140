// SPDX-License-Identifier: GPL-2.0
//! What is shown of each kind of waiter, on each kind of word, in each kind of table.

use super::{Shared, all, nr_waiters, on, one, position, waiting};
use crate::harness::{Child, Mapping, PAGE, Task, Waiter, fx, until};
use crate::memory::{memfd, rw};
use io_uring::{IoUring, opcode, types};
use nix::sys::mman::MapFlags;
use nix::unistd::{getpid, gettid};
use rfutex::raw::uapi;
use rfutex::{
    Error, FileId, Key, KeyKind, OwnerKind, Rfutex, Table, TableOptions, WaitEntry, WaitOptions,
    WatchOptions, Watches, What, Word,
};
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

trials![
    thread_on_every_kind_of_word,
    sizes_and_values,
    arena,
    several_words,
    swap,
    watches,
    request,
    owners,
    named,
    order,
    age,
    moved,
    moved_within_a_process,
    mapped_no_more,
    who_armed_it_is_gone,
    nobody,
];

const MASK: u64 = 1 << 63 | 5;

fn table() -> Arc<Table> {
    let options = TableOptions::new().arena(2 * PAGE as u64);
    Arc::new(Table::create(fx(), options).expect("a table"))
}

/// Checks what is shown of where `word` lies, against what KEY_INFO tells.
#[track_caller]
fn check_key(device: &Rfutex, word: Word<'_>, shown: &rfutex::Waiter) {
    let info = device.key_info(word).expect("key of a word");
    let (kind, file) = match info.key {
        Key::Private { .. } => (KeyKind::Private, None),
        Key::Mm { .. } => (KeyKind::Mm, None),
        Key::Inode { dev, ino, .. } => (KeyKind::Inode, Some(FileId { dev, ino })),
        Key::Arena { .. } => (KeyKind::Arena, None),
        other => panic!("{other:?}"),
    };
    assert_eq!((shown.kind, shown.file), (kind, file));
    assert_eq!(shown.object, info.object);
    assert_eq!(shown.position, Some(position(&info)));
    assert_eq!(shown.addr, Some(word.addr()));
}

/// A thread that waits on `word` is shown with all that is known of it.
#[track_caller]
fn check_thread<D>(device: &Arc<D>, word: Word<'static>)
where
    D: Deref<Target = Rfutex> + Send + Sync + 'static,
{
    let task = waiting(device, word, move |device| {
        let options = WaitOptions {
            mask: MASK,
            ..WaitOptions::default()
        };
        device.wait_with(word, 0, options)
    });
    let shown = one(device, word);
    check_key(device, word, &shown);
    assert_eq!(shown.what, What::Thread);
    assert_eq!(shown.thread, Some(task.tid().as_raw() as u32));
    assert_eq!(shown.process, Some(std::process::id()));
    assert_eq!(shown.size, word.size());
    assert_eq!(shown.val, Some(0));
    assert_eq!(shown.mask, MASK);
    assert_eq!(shown.owner, None);
    assert_eq!(shown.cookie, None);
    assert_eq!(device.wake_one(word), Ok(1));
    assert_eq!(task.join(), Ok(()));
    assert_eq!(on(device, word), []);
}

fn thread_on_every_kind_of_word() {
    let (private, shared) = (Mapping::private(PAGE), Mapping::shared(2 * PAGE));
    private.write(0, &[0; PAGE]);
    let file = memfd(4 * PAGE);
    // It is mapped from its second page on.
    let mapped = Mapping::file(&file, PAGE as i64, 2 * PAGE, rw(), MapFlags::MAP_SHARED);
    let words = [
        private.word(64),
        private.word(128).private(),
        shared.word(PAGE + 8),
        shared.word(16).private(),
        mapped.word(PAGE + 24),
    ];
    for word in words {
        check_thread(&Arc::new(Shared), word);
        check_thread(&table(), word);
    }
}

fn sizes_and_values() {
    let map = Mapping::shared(PAGE);
    map.write(0, &[0xa5; 8]);
    for (size, val) in [
        (1, 0xa5),
        (2, 0xa5a5),
        (4, 0xa5a5_a5a5),
        (8, 0xa5a5_a5a5_a5a5_a5a5),
    ] {
        let word = map.sized_word(0, size);
        let waiter = Waiter::start(word, val);
        let shown = one(fx(), word);
        assert_eq!((shown.size, shown.val), (size, Some(val)));
        assert_eq!(fx().wake_one(word), Ok(1));
        waiter.woken();
    }
}

fn arena() {
    let table = table();
    check_thread(&table, Word::in_arena(0, 4));
    check_thread(&table, Word::in_arena(PAGE as u64 + 8, 8));
}

/// A thread that waits on several words is shown for each of them.
fn several_words() {
    let map = Mapping::shared(PAGE);
    for nr in [3, 40] {
        let words: Vec<_> = (0..nr)
            .map(|i| match map.word(64 * i) {
                word if i % 2 == 0 => word,
                word => word.private(),
            })
            .collect();
        let task = Task::spawn({
            let words = words.clone();
            move || {
                let entries: Vec<_> = words.iter().map(|&word| WaitEntry::new(word, 0)).collect();
                fx().wait_any(&entries, None)
            }
        });
        let last = words[nr - 1];
        until("it waits", || nr_waiters(fx(), last) == 1);
        for &word in &words {
            let shown = one(fx(), word);
            check_key(fx(), word, &shown);
            assert_eq!(shown.what, What::Thread);
            assert_eq!(shown.thread, Some(task.tid().as_raw() as u32));
            assert_eq!((shown.size, shown.val), (4, Some(0)));
        }
        assert_eq!(fx().wake_one(last), Ok(1));
        assert!(task.join().is_ok());
    }
}

fn swap() {
    let map = Mapping::shared(PAGE);
    let (word, other) = (map.word(0), map.word(64));
    for word in [word, word.private()] {
        let task = Task::spawn(move || fx().swap(word, 0, other));
        until("it waits", || nr_waiters(fx(), word) == 1);
        let shown = one(fx(), word);
        check_key(fx(), word, &shown);
        assert_eq!(shown.thread, Some(task.tid().as_raw() as u32));
        assert_eq!((shown.size, shown.val), (4, Some(0)));
        assert_eq!(fx().wake_one(word), Ok(1));
        assert_eq!(task.join(), Ok(()));
    }
}

/// A watch is shown while it waits: once if it is gone after a wake, and for ever if it stays.
fn watches() {
    let map = Mapping::shared(PAGE);
    let table = table();
    for device in [fx(), &**table] {
        let set = Watches::nonblocking(device).expect("a watch set");
        for word in [map.word(0), map.word(64).private()] {
            let options = WatchOptions::default().mask(MASK);
            let id = set.add(word, 0, 4711, options).expect("a watch");
            let shown = one(device, word);
            check_key(device, word, &shown);
            assert_eq!(shown.what, What::Watch);
            assert_eq!(
                (shown.thread, shown.process),
                (None, Some(std::process::id()))
            );
            assert_eq!((shown.size, shown.val), (4, Some(0)));
            assert_eq!((shown.mask, shown.cookie), (MASK, Some(4711)));
            assert_eq!(shown.owner, None);
            assert_eq!(device.wake_one(word), Ok(1));
            assert_eq!(on(device, word), []);
            assert_eq!(set.remove(id), Ok(Some(1)));

            let id = set
                .add(word, 0, u64::MAX, options.repeat())
                .expect("a watch");
            for _ in 0..3 {
                let shown = one(device, word);
                check_key(device, word, &shown);
                assert_eq!(shown.what, What::RepeatedWatch);
                assert_eq!(shown.cookie, Some(u64::MAX));
                assert_eq!(device.wake_one(word), Ok(1));
            }
            assert_eq!(set.remove(id), Ok(Some(3)));
            assert_eq!(on(device, word), []);
        }
    }
}

/// A request of io_uring is shown until it is completed.
fn request() {
    let map = Mapping::shared(PAGE);
    let table = table();
    for device in [fx(), &**table] {
        for word in [map.word(0), map.word(64).private()] {
            let mut ring = IoUring::new(8).expect("io_uring");
            let wait = uapi::rfutex_wait {
                word: word.into(),
                mask: MASK,
                ..Default::default()
            };
            let mut command = [0; 16];
            let addr = std::ptr::from_ref(&wait).expose_provenance() as u64;
            command[..8].copy_from_slice(&addr.to_ne_bytes());
            let fd = types::Fd(std::os::fd::AsFd::as_fd(device).as_raw_fd());
            let entry = opcode::UringCmd16::new(fd, uapi::RFUTEX_WAIT)
                .cmd(command)
                .build()
                .user_data(4712);
            // SAFETY: What the entry refers to exists until it was submitted.
            unsafe { ring.submission().push(&entry) }.expect("there is room");
            ring.submit().expect("it is submitted");
            let shown = one(device, word);
            check_key(device, word, &shown);
            assert_eq!(shown.what, What::Request);
            assert_eq!(
                (shown.thread, shown.process),
                (None, Some(std::process::id()))
            );
            assert_eq!((shown.size, shown.val), (4, Some(0)));
            assert_eq!((shown.mask, shown.cookie), (MASK, Some(4712)));
            assert_eq!(device.wake_one(word), Ok(1));
            assert_eq!(on(device, word), []);
            ring.submit_and_wait(1).expect("it is completed");
        }
    }
}

/// The owner that a waiter has named is shown as RFUTEX_OWNER_ID knows it, also if it was named
/// without its id.
fn owners() {
    let map = Mapping::shared(PAGE);
    let (word, other) = (map.word(0), map.word(64));
    let ours = fx().identity().expect("an identity");
    let end = map.atomic::<AtomicU32>(256);
    let child = Child::run(|| {
        until("it may wake", || end.load(Ordering::SeqCst) == 1);
        assert_eq!(fx().wake_all(word), Ok(4));
    });
    let process = rfutex::Owner::process(child.pid().as_raw() as u32);
    let owned = move |owner| WaitOptions::default().owner(owner);
    let main = ours.thread;
    let named = Arc::new(Shared);
    let bare = rfutex::Owner::thread(main.number());
    let tasks = [main, bare].map(|owner| {
        waiting(&named, word, move |device| {
            device.wait_with(word, 0, owned(owner))
        })
    });
    let swapped = waiting(&named, word, move |device| {
        device.swap_with(word, 0, other, owned(main))
    });
    let shown = on(fx(), word);
    assert_eq!(shown.len(), 3);
    for waiter in shown {
        let owner = waiter.owner.expect("an owner");
        assert_eq!(owner.kind, OwnerKind::Thread);
        assert_eq!(owner.number, Some(gettid().as_raw() as u32));
        assert_eq!(owner.id, main.id().map(std::num::NonZeroU64::get));
    }
    // Each word of several has its own.
    let several = Task::spawn(move || {
        let entries = [
            WaitEntry::new(other, 0),
            WaitEntry::new(word, 0).owner(process),
            WaitEntry::new(other.private(), 0).owner(main),
        ];
        fx().wait_any(&entries, None).map(drop)
    });
    until("it waits", || nr_waiters(fx(), other.private()) == 1);
    let owner = |word| {
        let shown = on(fx(), word);
        let waiter = shown
            .iter()
            .find(|waiter| waiter.thread == Some(several.tid().as_raw() as u32));
        waiter.expect("it is shown").owner
    };
    assert_eq!(owner(other), None);
    let theirs = owner(word).expect("an owner");
    assert_eq!(theirs.kind, OwnerKind::Process);
    assert_eq!(theirs.number, Some(child.pid().as_raw() as u32));
    let ours = owner(other.private()).expect("an owner");
    assert_eq!(ours.id, main.id().map(std::num::NonZeroU64::get));
    end.store(1, Ordering::SeqCst);
    child.join();
    assert_eq!(several.join(), Ok(()));
    assert_eq!(swapped.join(), Ok(()));
    for task in tasks {
        assert_eq!(task.join(), Ok(()));
    }
}

/// A thread is shown by its own name, and a watch by that of the process.
fn named() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    // One that fills all of the room, and one that does not.
    for name in [c"fifteen-letters", c"x"] {
        let task = waiting(&Arc::new(Shared), word, move |device| {
            nix::sys::prctl::set_name(name).expect("a name");
            device.wait(word, 0)
        });
        let shown = one(fx(), word);
        assert_eq!(shown.comm.as_encoded_bytes(), name.to_bytes());
        assert_eq!(fx().wake_one(word), Ok(1));
        assert_eq!(task.join(), Ok(()));
    }
    let set = Watches::nonblocking(fx()).expect("a watch set");
    set.add(word, 0, 0, WatchOptions::default())
        .expect("a watch");
    let comm = std::fs::read_to_string("/proc/self/comm").expect("comm");
    assert_eq!(one(fx(), word).comm.to_str(), Some(comm.trim_end()));
}

/// Those who wait on one word are shown in the order in which a wake takes them.
fn order() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let waiters: Vec<_> = (0..9).map(|_| Waiter::start(word, 0)).collect();
    let tids: Vec<_> = waiters
        .iter()
        .map(|waiter| Some(waiter.tid().as_raw() as u32))
        .collect();
    let shown = on(fx(), word);
    let threads: Vec<_> = shown.iter().map(|waiter| waiter.thread).collect();
    assert_eq!(threads, tids);
    assert_eq!(fx().wake_all(word), Ok(9));
    waiters.into_iter().for_each(Waiter::woken);
}

/// The age is how long it has been waiting.
fn age() {
    /// The longest tick that a kernel has.
    const TICK: Duration = Duration::from_millis(10);
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let before = Instant::now();
    let waiter = Waiter::start(word, 0);
    let queued = Instant::now();
    let mut last = Duration::ZERO;
    until("it has waited for a while", || {
        let least = queued.elapsed();
        let age = one(fx(), word).age;
        assert!(age + TICK >= least, "{age:?}, at least {least:?}");
        assert!(age <= before.elapsed() + TICK, "{age:?}");
        assert!(age >= last);
        last = age;
        age > Duration::from_millis(100)
    });
    assert_eq!(fx().wake_one(word), Ok(1));
    waiter.woken();
}

/// Where a waiter has the word of a file that it was moved to is not known, nor what it expects
/// there.
fn moved() {
    let map = Mapping::shared(PAGE);
    let (from, to) = (map.word(0), map.word(64));
    let waiter = Waiter::start(from, 0);
    let set = Watches::nonblocking(fx()).expect("a watch set");
    set.add(from, 0, 7, WatchOptions::default())
        .expect("a watch");
    let before = on(fx(), from);
    assert_eq!(before.len(), 2);
    assert_eq!(fx().requeue(from, to, 0, 9), Ok(2));
    assert_eq!(on(fx(), from), []);
    let info = fx().key_info(to).expect("key of a word");
    for (shown, before) in on(fx(), to).into_iter().zip(before) {
        assert_eq!((shown.addr, shown.val, shown.file), (None, None, None));
        assert_eq!(shown.position, Some(position(&info)));
        assert!(shown.age >= before.age);
        // All else is as it was.
        assert_eq!((shown.thread, shown.what), (before.thread, before.what));
        assert_eq!(
            (shown.process, shown.cookie),
            (before.process, before.cookie)
        );
        assert_eq!((shown.mask, shown.size), (before.mask, before.size));
    }
    assert_eq!(fx().wake_all(to), Ok(2));
    waiter.woken();
}

/// Words whose key is the address are known by it wherever a waiter was moved.
fn moved_within_a_process() {
    let map = Mapping::shared(PAGE);
    let table = table();
    let words = [
        (map.word(0).private(), map.word(64).private()),
        (Word::in_arena(0, 4), Word::in_arena(64, 4)),
    ];
    for (from, to) in words {
        let task = waiting(&table, from, move |device| device.wait(from, 0));
        assert_eq!(table.requeue(from, to, 0, 1), Ok(1));
        let shown = one(&table, to);
        check_key(&table, to, &shown);
        assert_eq!(shown.val, None);
        assert_eq!(table.wake_one(to), Ok(1));
        assert_eq!(task.join(), Ok(()));
    }
}

/// A file that is not mapped any more where the process has the word is not known, nor one that is
/// mapped there instead.
fn mapped_no_more() {
    let map = Mapping::shared_file(memfd(PAGE), PAGE);
    let word = map.word(0);
    let set = Watches::nonblocking(fx()).expect("a watch set");
    set.add(word, 0, 7, WatchOptions::default())
        .expect("a watch");
    let shown = one(fx(), word);
    assert!(shown.file.is_some());
    let find = || {
        let all = all(fx());
        let mut same = all
            .into_iter()
            .filter(|waiter| waiter.object == shown.object);
        same.next().expect("it is shown")
    };
    map.unmap_part(0, PAGE);
    let unmapped = find();
    assert_eq!((unmapped.file, unmapped.addr), (None, shown.addr));
    assert_eq!(unmapped.position, shown.position);
    let other = Mapping::at(map.addr(), PAGE, MapFlags::MAP_SHARED).expect("the same place");
    assert_eq!(find().file, None);
    // What is there now belongs to the first mapping.
    std::mem::forget(other);
}

/// A process that has armed a watch has ended, and another one has the set.
fn who_armed_it_is_gone() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    let set = Watches::nonblocking(fx()).expect("a watch set");
    let child = Child::run(|| {
        set.add(word, 0, 7, WatchOptions::default())
            .expect("a watch");
    });
    let pid = child.pid().as_raw() as u32;
    assert_ne!(pid, getpid().as_raw() as u32);
    until("it ends", || child.is_finished());
    // It is a zombie, and then it is nothing.
    let shown = one(fx(), word);
    assert_eq!((shown.process, shown.thread), (None, None));
    assert_eq!((shown.addr, shown.val, shown.cookie), (None, None, Some(0)));
    assert_eq!(shown.comm.len(), 0);
    child.join();
    let shown = one(fx(), word);
    assert_eq!((shown.process, shown.comm.len()), (None, 0));
    assert_eq!((shown.addr, shown.val, shown.cookie), (None, None, Some(0)));
    drop(set);
    assert_eq!(on(fx(), word), []);
}

/// An empty table has no waiters, and other tables are not looked at.
fn nobody() {
    let map = Mapping::shared(PAGE);
    let waiter = Waiter::start(map.word(0), 0);
    assert_eq!(all(&table()), []);
    assert_eq!(fx().wake_one(map.word(0)), Ok(1));
    waiter.woken();
    let mut waiters = table().waiters().expect("a listing");
    assert!(waiters.next().is_none() && waiters.next().is_none());
    assert_eq!(waiters.rewind(), Ok::<_, Error>(()));
    assert!(waiters.next().is_none());
}
