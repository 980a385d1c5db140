// SPDX-License-Identifier: GPL-2.0
//! How many watches a user can have, and what memory they take.

use super::{add, counts, set};
use crate::harness::{
    Child, Group, LIMIT, Mapping, PAGE, ReloadedModule, added_to, fx, nr_waiters, until,
};
use nix::unistd::{Uid, setresuid, setuid};
use rfutex::{Error, Rfutex, WatchId, WatchOptions, Watches, Word};
use std::time::{Duration, Instant};

trials![
    limit,
    limit_of_each_user,
    limit_of_who_adds,
    given_back_by_each_end,
    default_limit,
    memory,
    linear,
];

const NOBODY: Uid = Uid::from_raw(65534);

/// Adds watches until there is an error. Returns their ids, and the error.
fn fill(set: &Watches, word: Word<'_>) -> (Vec<WatchId>, Error) {
    let mut ids = Vec::new();
    loop {
        match set.add(word, 0, ids.len() as u64, WatchOptions::default()) {
            Ok(id) => ids.push(id),
            Err(error) => return (ids, error),
        }
    }
}

/// How many more watches this user can have.
#[track_caller]
fn room(device: &Rfutex, map: &Mapping) -> usize {
    let set = Watches::nonblocking(device).expect("a watch set");
    let (ids, error) = fill(&set, map.word(0));
    assert_eq!(error, Error::Os(libc::ENOSPC));
    ids.len()
}

/// All of a user's sets together have no more than the limit. Nothing of what was refused is armed.
fn limit() {
    let map = Mapping::shared(PAGE);
    let _module = ReloadedModule::with("watches=20");
    let device = Rfutex::open().expect("the device");
    assert_eq!(device.query().expect("query").max_watches, 20);
    let sets = [(); 2].map(|()| Watches::nonblocking(&device).expect("a watch set"));
    for cookie in 0..5 {
        add(&sets[0], map.word(0), cookie);
    }
    let (ids, error) = fill(&sets[1], map.word(0));
    assert_eq!((ids.len(), error), (15, Error::Os(libc::ENOSPC)));
    let options = WatchOptions::default();
    assert_eq!(
        sets[0].add(map.word(0), 0, 0, options),
        Err(Error::Os(libc::ENOSPC))
    );
    assert_eq!(device.key_info(map.word(0)).expect("a key").nr_waiters, 20);
    // What fails for another reason does not count.
    assert_eq!(sets[1].remove(ids[0]), Ok(Some(0)));
    for _ in 0..30 {
        assert_eq!(sets[0].add(map.word(0), 1, 0, options), Err(Error::Again));
        assert_eq!(
            sets[0].add(Word::at(0, 4), 0, 0, options),
            Err(Error::Fault)
        );
    }
    add(&sets[0], map.word(0), 9);
    drop(sets);
    assert_eq!(room(&device, &map), 20);
    drop(device);
}

/// Users do not take from each other.
fn limit_of_each_user() {
    let map = Mapping::shared(PAGE);
    let _module = ReloadedModule::with("watches=20");
    let device = Rfutex::open().expect("the device");
    let set = Watches::nonblocking(&device).expect("a watch set");
    assert_eq!(fill(&set, map.word(0)).0.len(), 20);
    for uid in [NOBODY, Uid::from_raw(1000)] {
        Child::run(|| {
            setresuid(uid, uid, uid).expect("setresuid");
            assert_eq!(room(&device, &map), 20);
        })
        .join();
    }
    // It is the real user id that counts, and not what may be done in its name.
    Child::run(|| {
        setresuid(NOBODY, Uid::from_raw(0), Uid::from_raw(0)).expect("setresuid");
        assert_eq!(room(&device, &map), 20);
    })
    .join();
    Child::run(|| {
        setresuid(Uid::from_raw(0), NOBODY, NOBODY).expect("setresuid");
        assert_eq!(room(&device, &map), 0);
    })
    .join();
    assert_eq!(room(&device, &map), 0);
}

/// A watch counts for who has added it, whoever has the set.
fn limit_of_who_adds() {
    let map = Mapping::shared(PAGE);
    let _module = ReloadedModule::with("watches=20");
    let device = Rfutex::open().expect("the device");
    let set = Watches::nonblocking(&device).expect("a watch set");
    for cookie in 0..5 {
        add(&set, map.word(0), cookie);
    }
    Child::run(|| {
        setuid(NOBODY).expect("setuid");
        assert_eq!(fill(&set, map.word(0)).0.len(), 20);
    })
    .join();
    // The one is gone, and his watches are not.
    Child::run(|| {
        setuid(NOBODY).expect("setuid");
        assert_eq!(room(&device, &map), 0);
    })
    .join();
    for cookie in 5..10 {
        add(&set, map.word(0), cookie);
    }
    assert_eq!(room(&device, &map), 10);
    // Whoever reads an event, it is given back to who had added the watch.
    assert_eq!(device.wake(map.word(0), 25, u64::MAX), Ok(25));
    assert_eq!(room(&device, &map), 10);
    assert_eq!(counts(&set).len(), 25);
    assert_eq!(room(&device, &map), 15);
    Child::run(|| {
        setuid(NOBODY).expect("setuid");
        assert_eq!(room(&device, &map), 20);
    })
    .join();
}

/// A watch counts until its event was read, it was removed, or its set was closed.
fn given_back_by_each_end() {
    let map = Mapping::shared(PAGE);
    let _module = ReloadedModule::with("watches=20");
    let device = Rfutex::open().expect("the device");
    let set = Watches::nonblocking(&device).expect("a watch set");
    let [a, b, c] = [0, 1, 2].map(|cookie| add(&set, map.word(0), cookie));
    assert_eq!(device.wake(map.word(0), 2, u64::MAX), Ok(2));
    assert_eq!(room(&device, &map), 17);
    assert_eq!(set.remove(a), Ok(Some(1)));
    assert_eq!(room(&device, &map), 18);
    assert_eq!(counts(&set), [(1, 1)]);
    assert_eq!(set.remove(b), Ok(None));
    assert_eq!(room(&device, &map), 19);
    assert_eq!(set.remove(c), Ok(Some(0)));
    assert_eq!(room(&device, &map), 20);
    add(&set, map.word(0), 3);
    add(&set, map.word(0), 4);
    assert_eq!(device.wake_one(map.word(0)), Ok(1));
    drop(set);
    assert_eq!(room(&device, &map), 20);
}

/// Ends when the child has, which arms as many as there may be: longer than other children take.
#[track_caller]
fn join(child: Child) {
    let begun = Instant::now();
    while !child.is_finished() && begun.elapsed() < 3 * LIMIT {
        std::thread::sleep(Duration::from_millis(10));
    }
    child.join();
}

/// As many as there may be by default are really possible, for an ordinary user too.
fn default_limit() {
    let map = Mapping::shared(PAGE);
    let limit = fx().query().expect("query").max_watches;
    assert_eq!(limit, 65536);
    let child = Child::run(|| {
        setuid(NOBODY).expect("setuid");
        assert_eq!(room(fx(), &map), limit as usize);
    });
    join(child);
}

/// The most that a watch may take, in bytes.
const MOST: i64 = 192;

/// An armed watch is charged to the memory cgroup of who has added it, and takes no more than it may.
/// All of it is given back when the set is closed.
fn memory() {
    let map = Mapping::shared(PAGE);
    let nr = i64::from(fx().query().expect("query").max_watches);
    let group = Group::new();
    // The one that has made the set does not pay.
    let set = set();
    let child = Child::run(|| {
        group.enter();
        // What else is allocated on the way.
        let id = add(&set, map.word(0), 0);
        assert_eq!(set.remove(id), Ok(Some(0)));
        let before = group.memory();
        // The group would pay for a list of the ids as well.
        let one = |_: &i64| set.add(map.word(0), 0, 0, WatchOptions::default()).is_ok();
        assert_eq!((0..=nr).take_while(one).count() as i64, nr);
        let each = (group.memory() - before) / nr;
        let checks = added_to("rfutex_watch", 168) + added_to("radix_tree_node", 576) / 64;
        println!("a watch takes {each} bytes, {checks} of them because of the kernel's checks");
        assert!(each > 128, "{each}: a watch has this size at least");
        assert!(each - checks <= MOST, "{each}, less {checks}");
    });
    join(child);
    let armed = group.memory();
    assert!(armed > nr * 128, "{armed}: it belongs to the set still");
    drop(set);
    // What each processor has put aside stays.
    const ASIDE: i64 = 2 << 20;
    until("it is given back", || group.memory() < ASIDE);
    assert_eq!(nr_waiters(map.word(0)), 0);
}

/// Arms, meets and closes this many. Returns how long each took.
fn times(map: &Mapping, nr: u64) -> [Duration; 4] {
    let set = set();
    let mut times = [Duration::ZERO; 4];
    let mut begun = Instant::now();
    let mut lap = || std::mem::replace(&mut begun, Instant::now()).elapsed();
    for cookie in 0..nr {
        add(&set, map.word(0), cookie);
    }
    times[0] = lap();
    assert_eq!(fx().wake_all(map.word(0)), Ok(nr as u32));
    times[1] = lap();
    assert_eq!(counts(&set).len() as u64, nr);
    times[2] = lap();
    for cookie in 0..nr {
        add(&set, map.word(0), cookie);
    }
    lap();
    drop(set);
    times[3] = lap();
    times
}

/// Eight times as many take no more than 24 times as long: if each had to look at all others, it would
/// be 64 times. What interrupts the machine makes a round longer, and none shorter; so the shortest
/// ones are compared.
fn linear() {
    const FEW: u64 = 2000;
    const ROUNDS: usize = 10;
    let map = Mapping::shared(PAGE);
    let mut best = [[Duration::MAX; 4]; 2];
    for _ in 0..ROUNDS {
        for (best, nr) in best.iter_mut().zip([FEW, 8 * FEW]) {
            for (best, time) in best.iter_mut().zip(times(&map, nr)) {
                *best = time.min(*best);
            }
        }
        let [few, many] = best;
        if few.iter().zip(many).all(|(few, many)| many <= 24 * *few) {
            return;
        }
    }
    panic!("for {FEW}, and 8 times as many: {best:?}");
}
