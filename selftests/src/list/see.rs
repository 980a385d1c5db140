// SPDX-License-Identifier: GPL-2.0
//! Who sees whom, and what of him.

use super::{ENTRY, all, listing, nr_waiters, one};
use crate::harness::{Child, Mapping, PAGE, Task, execute, fx, until};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::unistd::{Gid, Pid, Uid, getpid, setresgid, setresuid};
use rfutex::{Rfutex, Table, TableOptions, WaitOptions, Waiter, WatchOptions, Watches, What, Word};
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

trials![
    other_user,
    other_ids,
    not_dumpable,
    oneself,
    system_administrator,
    capability_in_a_user_namespace,
    pid_namespace,
    who_opened_it,
    own_table,
    own_table_of_another_namespace,
    another_program,
    ended_but_not_reaped,
];

const ONE: u32 = 1000;
const OTHER: u32 = 1001;

/// Who a process is.
#[derive(Clone, Copy)]
struct Ids {
    uids: [u32; 3],
    gids: [u32; 3],
    dumpable: bool,
}

impl Ids {
    /// The user `id` with the group that has the same number.
    fn user(id: u32) -> Self {
        Self {
            uids: [id; 3],
            gids: [id; 3],
            dumpable: true,
        }
    }

    /// Makes the current process this one.
    fn become_it(self) {
        let [uid, euid, suid] = self.uids.map(Uid::from_raw);
        let [gid, egid, sgid] = self.gids.map(Gid::from_raw);
        setresgid(gid, egid, sgid).expect("setresgid");
        setresuid(uid, euid, suid).expect("setresuid");
        // It was changed along with the ids.
        prctl::set_dumpable(self.dumpable).expect("dumpable");
    }
}

/// A place where processes meet.
struct Place(Mapping);

impl Place {
    fn new() -> Self {
        fx();
        Self(Mapping::shared(PAGE))
    }

    /// Where others wait.
    fn word(&self) -> Word<'static> {
        self.0.word(0)
    }

    fn flag(&self, nr: usize) -> &AtomicU32 {
        self.0.atomic(64 * (nr + 1))
    }

    /// A process that becomes `ids`, and waits.
    #[track_caller]
    fn waiting(&self, ids: Ids) -> Child {
        let before = nr_waiters(fx(), self.word());
        let child = Child::run(|| {
            ids.become_it();
            fx().wait(self.word(), 0).expect("woken");
        });
        until("it waits", || nr_waiters(fx(), self.word()) == before + 1);
        child
    }

    /// The processes that a process which has become `ids` sees waiting here.
    #[track_caller]
    fn seen_by(&self, ids: Ids) -> Vec<u32> {
        self.seen_after(|| ids.become_it())
    }

    /// The processes that a child which does `become_it` sees waiting here.
    #[track_caller]
    fn seen_after(&self, become_it: impl FnOnce()) -> Vec<u32> {
        self.flag(0).store(0, Ordering::SeqCst);
        Child::run(|| {
            become_it();
            let seen = self.waiters(fx());
            self.flag(0).store(seen.len() as u32, Ordering::SeqCst);
            for (nr, waiter) in seen.iter().enumerate() {
                check_all_is_known(waiter);
                let process = waiter.process.expect("a number");
                self.flag(nr + 1).store(process, Ordering::SeqCst);
            }
        })
        .join();
        let nr = self.flag(0).load(Ordering::SeqCst) as usize;
        (0..nr)
            .map(|nr| self.flag(nr + 1).load(Ordering::SeqCst))
            .collect()
    }

    /// Those who wait here, as a listing of the table of `device` shows them.
    fn waiters(&self, device: &Rfutex) -> Vec<Waiter> {
        super::on(device, self.word())
    }

    /// Wakes all who wait here, and returns when they have ended.
    #[track_caller]
    fn end(&self, children: Vec<Child>) {
        assert_eq!(fx().wake_all(self.word()), Ok(children.len() as u32));
        children.into_iter().for_each(Child::join);
    }
}

/// What is shown in the table that all share is shown with all that is known.
#[track_caller]
fn check_all_is_known(waiter: &Waiter) {
    assert_eq!(waiter.what, What::Thread);
    assert!(waiter.thread.is_some() && !waiter.comm.is_empty());
    assert!(waiter.addr.is_some() && waiter.val.is_some());
    assert!(waiter.file.is_some() && waiter.position.is_some());
}

fn pid(child: &Child) -> u32 {
    child.pid().as_raw() as u32
}

fn other_user() {
    let place = Place::new();
    let ours = place.waiting(Ids::user(ONE));
    let theirs = place.waiting(Ids::user(OTHER));
    let root = place.waiting(Ids::user(0));
    assert_eq!(place.seen_by(Ids::user(ONE)), [pid(&ours)]);
    assert_eq!(place.seen_by(Ids::user(OTHER)), [pid(&theirs)]);
    assert_eq!(place.seen_by(Ids::user(1002)), [0; 0]);
    place.end(vec![ours, theirs, root]);
}

/// Each id of the process has to be that of the one who lists, and that is the effective one.
fn other_ids() {
    let place = Place::new();
    let user = Ids::user(ONE);
    let same = place.waiting(user);
    let mut children = Vec::new();
    for index in 0..3 {
        let mut uids = user.uids;
        uids[index] = OTHER;
        children.push(place.waiting(Ids { uids, ..user }));
        let mut gids = user.gids;
        gids[index] = OTHER;
        children.push(place.waiting(Ids { gids, ..user }));
    }
    assert_eq!(place.seen_by(user), [pid(&same)]);
    for index in 0..3 {
        let mut uids = user.uids;
        uids[index] = OTHER;
        let expected: &[u32] = if index == 1 { &[] } else { &[pid(&same)] };
        assert_eq!(place.seen_by(Ids { uids, ..user }), expected, "{index}");
        let mut gids = user.gids;
        gids[index] = OTHER;
        assert_eq!(place.seen_by(Ids { gids, ..user }), expected, "{index}");
    }
    children.insert(0, same);
    place.end(children);
}

fn not_dumpable() {
    let place = Place::new();
    let user = Ids::user(ONE);
    let hidden = Ids {
        dumpable: false,
        ..user
    };
    let secret = place.waiting(hidden);
    let open = place.waiting(user);
    // Whether the one who lists is dumpable does not matter.
    assert_eq!(place.seen_by(user), [pid(&open)]);
    assert_eq!(place.seen_by(hidden), [pid(&open)]);
    assert_eq!(place.seen_by(Ids::user(0)), [pid(&secret), pid(&open)]);
    place.end(vec![secret, open]);
}

/// A process sees its own threads and watches, whatever it has become.
fn oneself() {
    let place = Place::new();
    let word = place.word();
    Child::run(|| {
        Ids {
            uids: [ONE, ONE, OTHER],
            gids: [ONE; 3],
            dumpable: false,
        }
        .become_it();
        let set = Watches::nonblocking(fx()).expect("a watch set");
        set.add(word, 0, 5, WatchOptions::default())
            .expect("a watch");
        let task = Task::spawn(move || fx().wait(word, 0));
        until("it waits", || nr_waiters(fx(), word) == 2);
        let seen = place.waiters(fx());
        assert_eq!(seen.len(), 2);
        for waiter in seen {
            assert_eq!(waiter.process, Some(std::process::id()));
            assert!(waiter.addr.is_some() && waiter.file.is_some());
        }
        assert_eq!(fx().wake_all(word), Ok(2));
        task.join().expect("woken");
    })
    .join();
}

fn system_administrator() {
    let place = Place::new();
    let children = [
        Ids::user(ONE),
        Ids::user(OTHER),
        Ids {
            uids: [ONE, ONE, 0],
            ..Ids::user(ONE)
        },
        Ids {
            dumpable: false,
            ..Ids::user(ONE)
        },
    ]
    .map(|ids| place.waiting(ids));
    let pids = children.each_ref().map(pid);
    assert_eq!(place.seen_by(Ids::user(0)), pids);
    place.end(children.into());
}

/// The capability counts in the user namespace that a process belongs to, and in those below.
fn capability_in_a_user_namespace() {
    let place = Place::new();
    let outside = place.waiting(Ids::user(OTHER));
    // A namespace in which 0 to 9 are the users from ONE on.
    let (made, mapped) = (place.flag(40), place.flag(41));
    let inside = Child::run(|| {
        Ids::user(ONE).become_it();
        unshare(CloneFlags::CLONE_NEWUSER).expect("a user namespace");
        prctl::set_dumpable(true).expect("dumpable");
        made.store(1, Ordering::SeqCst);
        until("it is mapped", || mapped.load(Ordering::SeqCst) == 1);
        Ids::user(0).become_it();
        // Another user of the same namespace.
        let theirs = place.waiting(Ids::user(5));
        let with_capability = place.seen_after(|| ());
        assert_eq!(with_capability, [pid(&theirs)]);
        // One who belongs to the namespace, but may do nothing in it.
        assert_eq!(place.seen_by(Ids::user(6)), [0; 0]);
        // One who may do everything in a namespace below.
        let below = place.seen_after(|| {
            Ids::user(6).become_it();
            unshare(CloneFlags::CLONE_NEWUSER).expect("a user namespace");
        });
        assert_eq!(below, [0; 0]);
        // One who has the capability outside sees both.
        made.store(pid(&theirs), Ordering::SeqCst);
        until("it is seen", || mapped.load(Ordering::SeqCst) == 2);
        theirs.join();
    });
    until("it is made", || made.load(Ordering::SeqCst) == 1);
    for map in ["gid_map", "uid_map"] {
        let path = format!("/proc/{}/{map}", inside.pid());
        std::fs::write(&path, format!("0 {ONE} 10\n")).expect(&path);
    }
    mapped.store(1, Ordering::SeqCst);
    until("it is ready", || {
        made.load(Ordering::SeqCst) > 1 || inside.is_finished()
    });
    let theirs = made.load(Ordering::SeqCst);
    assert_eq!(place.seen_by(Ids::user(0)), [pid(&outside), theirs]);
    mapped.store(2, Ordering::SeqCst);
    assert_eq!(fx().wake_all(place.word()), Ok(2));
    inside.join();
    outside.join();
}

/// In a pid namespace, only those are shown who have a number there, by that number.
fn pid_namespace() {
    let place = Place::new();
    let outside = place.waiting(Ids::user(0));
    let flag = place.flag(40);
    let middle = Child::run(|| {
        unshare(CloneFlags::CLONE_NEWPID).expect("a pid namespace");
        // It is the first of the new namespace.
        Child::run(|| {
            assert_eq!(getpid(), Pid::from_raw(1));
            let inside = place.waiting(Ids::user(0));
            assert_eq!(place.seen_by(Ids::user(0)), [pid(&inside)]);
            assert!(pid(&inside) < 10);
            let set = Watches::nonblocking(fx()).expect("a watch set");
            set.add(place.0.word(32), 0, 5, WatchOptions::default())
                .expect("a watch");
            assert_eq!(one(fx(), place.0.word(32)).process, Some(1));
            flag.store(1, Ordering::SeqCst);
            inside.join();
        })
        .join();
    });
    until("it waits", || {
        flag.load(Ordering::SeqCst) == 1 || middle.is_finished()
    });
    let seen = place.seen_by(Ids::user(0));
    assert_eq!((seen.len(), seen[0]), (2, pid(&outside)));
    assert!(seen[1] > pid(&middle), "the number that we know it by");
    let watch = one(fx(), place.0.word(32));
    assert!(watch.process.expect("a number") > pid(&middle));
    assert_eq!(fx().wake_all(place.word()), Ok(2));
    middle.join();
    outside.join();
}

/// Who reads does not matter, but who has opened the listing.
fn who_opened_it() {
    let place = Place::new();
    let object = crate::harness::object_of(place.word()).to_ne_bytes();
    let theirs = place.waiting(Ids::user(OTHER));
    let shown = |file: &std::fs::File| {
        let (mut bytes, mut nr) = (vec![0; ENTRY], 0);
        while (&*file).read(&mut bytes).expect("read") != 0 {
            nr += u32::from(bytes[24..32] == object);
        }
        nr
    };
    // By root, and read by a user who may see nobody.
    let file = listing(fx(), ENTRY).expect("a listing");
    Child::run(|| {
        Ids::user(ONE).become_it();
        assert_eq!(shown(&file), 1);
    })
    .join();
    // By such a user, and read by root: a thread has ids of its own.
    Child::run(|| {
        let file = Task::spawn(|| {
            // SAFETY: The system call changes the ids of this thread alone.
            let result = unsafe { libc::syscall(libc::SYS_setresuid, ONE, ONE, ONE) };
            assert_eq!(result, 0);
            listing(fx(), ENTRY).expect("a listing")
        })
        .join();
        assert_eq!(shown(&file), 0);
        assert_eq!(place.waiters(fx()).len(), 1);
    })
    .join();
    place.end(vec![theirs]);
}

/// All who have a table see all who wait there. But what reveals something about the memory of a
/// process, they see of those that they may inspect.
fn own_table() {
    let place = Place::new();
    let options = TableOptions::new().arena(PAGE as u64);
    let table = Arc::new(Table::create(fx(), options).expect("a table"));
    let memory = Mapping::private(PAGE);
    memory.write(0, &[0; PAGE]);
    let words = [
        memory.word(0).private(),
        memory.word(64),
        place.word(),
        Word::in_arena(64, 4),
    ];
    let set = Watches::nonblocking(&table).expect("a watch set");
    for word in words {
        let theirs = table.clone();
        let task = Task::spawn(move || theirs.wait(word, 0));
        until("it waits", || nr_waiters(&table, word) == 1);
        set.add(word, 0, 5, WatchOptions::default())
            .expect("a watch");
        let ours = all(&table);
        assert_eq!(ours.len(), 2);
        for waiter in &ours {
            assert!(waiter.addr.is_some() && waiter.val.is_some());
        }
        Child::run(|| {
            Ids::user(ONE).become_it();
            let theirs = all(&table);
            assert_eq!(theirs.len(), 2);
            for (theirs, ours) in theirs.iter().zip(&ours) {
                assert_eq!((theirs.what, theirs.kind), (ours.what, ours.kind));
                assert_eq!((theirs.thread, theirs.process), (ours.thread, ours.process));
                assert_eq!((&theirs.comm, theirs.object), (&ours.comm, ours.object));
                assert_eq!((theirs.size, theirs.mask), (ours.size, ours.mask));
                assert_eq!((theirs.val, theirs.file), (None, None));
                assert_eq!(theirs.cookie, ours.cookie.map(|_| 0));
                let in_arena = word.is_in_arena();
                assert_eq!(theirs.addr, ours.addr.filter(|_| in_arena));
                let on_file = ours.file.is_some();
                assert_eq!(
                    theirs.position,
                    ours.position.filter(|_| in_arena || on_file)
                );
            }
            // In the table that all share, this user sees none of them.
            assert_eq!(all(fx()), []);
        })
        .join();
        assert_eq!(table.wake_all(word), Ok(2));
        task.join().expect("woken");
    }
}

/// Those who have no number in the pid namespace are shown without one, and without a name.
fn own_table_of_another_namespace() {
    let table = Table::create(fx(), TableOptions::new().arena(PAGE as u64)).expect("a table");
    let table = Arc::new(table);
    let word = Word::in_arena(0, 4);
    let theirs = table.clone();
    let owner = fx().identity().expect("an identity").thread;
    let options = WaitOptions::default().owner(owner);
    let task = Task::spawn(move || theirs.wait_with(word, 0, options));
    until("it waits", || nr_waiters(&table, word) == 1);
    let ours = one(&table, word);
    assert!(ours.owner.expect("an owner").id.is_some());
    Child::run(|| {
        unshare(CloneFlags::CLONE_NEWPID).expect("a pid namespace");
        Child::run(|| {
            let theirs = one(&table, word);
            assert_eq!((theirs.thread, theirs.process), (None, None));
            assert!(theirs.comm.is_empty());
            let owner = theirs.owner.expect("an owner");
            assert_eq!((owner.number, owner.id), (None, None));
            assert_eq!(theirs.addr, ours.addr);
        })
        .join();
    })
    .join();
    assert_eq!(table.wake_all(word), Ok(1));
    task.join().expect("woken");
}

/// A process that has armed a watch executes another program. Where it had the word says nothing any
/// more.
fn another_program() {
    let place = Place::new();
    let word = place.word();
    let child = Child::run(|| {
        let set = Watches::nonblocking(fx()).expect("a watch set");
        set.add(word, 0, 5, WatchOptions::default())
            .expect("a watch");
        fcntl(set.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).expect("fcntl");
        std::mem::forget(set);
        until("it was seen", || place.flag(0).load(Ordering::SeqCst) == 1);
        execute();
    });
    until("it is armed", || nr_waiters(fx(), word) == 1);
    let before = one(fx(), word);
    assert_eq!(
        (before.process, before.cookie),
        (Some(pid(&child)), Some(5))
    );
    assert!(before.addr.is_some() && before.val.is_some() && before.file.is_some());
    place.flag(0).store(1, Ordering::SeqCst);
    until("it is another program", || {
        one(fx(), word).comm == "busybox"
    });
    let after = one(fx(), word);
    assert_eq!((after.process, after.cookie), (Some(pid(&child)), Some(0)));
    assert_eq!((after.addr, after.val, after.file), (None, None, None));
    assert_eq!(after.position, before.position);
}

/// Whose parent has not heard of his end has ended as well: what he has armed is shown to the system's
/// administrator alone.
fn ended_but_not_reaped() {
    let place = Place::new();
    let set = Watches::nonblocking(fx()).expect("a watch set");
    let child = Child::run(|| {
        Ids::user(ONE).become_it();
        let options = WatchOptions::default();
        set.add(place.word(), 0, 1, options).expect("a watch");
    });
    until("it has ended", || child.is_finished());
    let seen_by = |ids: Option<Ids>, nr: usize| {
        Child::run(|| {
            if let Some(ids) = ids {
                ids.become_it();
            }
            assert_eq!(place.waiters(fx()).len(), nr);
        })
        .join();
    };
    seen_by(Some(Ids::user(ONE)), 0);
    seen_by(None, 1);
    assert_eq!(one(fx(), place.word()).process, None);
    child.join();
    seen_by(Some(Ids::user(ONE)), 0);
    seen_by(None, 1);
    drop(set);
}
