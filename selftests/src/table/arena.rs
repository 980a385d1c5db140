// SPDX-License-Identifier: GPL-2.0
//! Operations on words in an arena.

use super::{arena, nr_waiters, waiter, with_arena, word};
use crate::harness::{Child, Mapping, PAGE, Task, effort, until};
use rfutex::{
    Arena, Compare, Error, Key, Op, Rfutex, Table, Target, WaitEntry, WaitOptions, WakeEntry, Word,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

trials![
    without_a_mapping,
    values_of_all_sizes,
    wake_op_on_all_sizes,
    wake_op_is_atomic,
    masks,
    requeue,
    requeue_between_arena_and_memory,
    wait_any,
    swap,
    wake_each,
    time_out,
    described,
    nobody_misses_a_wake,
    processes_hand_over,
];

/// The target at `offset`, which nobody has mapped.
fn target(offset: u64, size: u32) -> Target<'static> {
    // SAFETY: Nothing of the arena belongs to Rust.
    unsafe { Target::from_word(Word::in_arena(offset, size)) }
}

/// What the word has been until now. It becomes `value`.
fn exchange(table: &Rfutex, offset: u64, size: u32, value: u64) {
    let never = Compare::Less(1 << (8 * size - 1));
    let woken = table.wake_op(word(0), 0, target(offset, size), 0, Op::Set(value), never);
    assert_eq!(woken, Ok(0));
}

/// Nobody has the memory mapped. Waits compare with what calls have put there.
fn without_a_mapping() {
    let table = with_arena(1);
    assert_eq!(table.wait(word(8), 1), Err(Error::Again));
    exchange(&table, 8, 4, 7);
    assert_eq!(table.wait(word(8), 0), Err(Error::Again));
    let theirs = table.clone();
    let task = Task::spawn(move || theirs.wait(word(8), 7));
    until("it waits", || nr_waiters(&table, word(8)) == 1);
    assert_eq!(table.wake_all(word(8)), Ok(1));
    assert_eq!(task.join(), Ok(()));
}

fn values_of_all_sizes() {
    let arena = arena(2);
    let value = 0x8877_6655_4433_2211u64;
    // The last word of the last page is one of them.
    for at in [64, 2 * PAGE - 8] {
        let all: &AtomicU64 = arena.get(at).expect("it is in the arena");
        all.store(value, Ordering::Relaxed);
        for size in [1u32, 2, 4, 8] {
            let word = Word::in_arena(at as u64, size);
            let there = value & (u64::MAX >> (64 - 8 * size));
            for bit in 0..8 * size {
                let result = arena.table().wait(word, there ^ 1 << bit);
                assert_eq!(result, Err(Error::Again));
            }
            let options = WaitOptions::default().within(Duration::from_millis(1));
            let result = arena.table().wait_with(word, there, options);
            assert_eq!(result, Err(Error::TimedOut));
            if size < 8 {
                let result = arena.table().wait(word, 1 << (8 * size));
                assert_eq!(result, Err(Error::Invalid));
            }
        }
    }
}

/// Each operation on each size changes the word, and nothing beside it.
fn wake_op_on_all_sizes() {
    let arena = arena(1);
    let all: [&AtomicU64; 3] = [0, 8, 16].map(|offset| arena.get(offset).expect("in the arena"));
    for size in [1u32, 2, 4, 8] {
        let mask = u64::MAX >> (64 - 8 * size);
        let old = 0x8182_8384_8586_8788u64;
        let operand = 0xf0f1_f2f3_f4f5_f6f7 & mask;
        for (op, new) in [
            (Op::Set(operand), operand),
            (Op::Add(operand), old.wrapping_add(operand)),
            (Op::Or(operand), old | operand),
            (Op::AndNot(operand), old & !operand),
            (Op::Xor(operand), old ^ operand),
        ] {
            all.iter()
                .for_each(|word| word.store(old, Ordering::Relaxed));
            let waiter = waiter_for(arena.table(), Word::in_arena(8, size), old & mask);
            let compare = Compare::Equal(old & mask);
            let woken = arena
                .table()
                .wake_op(word(64), 1, target(8, size), 1, op, compare);
            assert_eq!(woken, Ok(1), "{op:?} of {size} bytes");
            assert_eq!(waiter.join(), Ok(()));
            let expected = [old, old & !mask | new & mask, old];
            assert_eq!(all.map(|word| word.load(Ordering::Relaxed)), expected);
        }
    }
}

/// A thread that waits while `word` is `val`, on another handle of the same table.
#[track_caller]
fn waiter_for(table: &Table, word: Word<'static>, val: u64) -> Task<Result<(), Error>> {
    use std::os::fd::AsFd;
    let fd = table.as_fd().try_clone_to_owned().expect("dup");
    let theirs = Table::try_from(fd).expect("a table");
    let task = Task::spawn(move || theirs.wait(word, val));
    until("it waits, or has failed", || {
        task.is_finished() || nr_waiters(table, word) == 1
    });
    task
}

/// Threads that add by calls, and threads that add in memory, lose nothing of each other.
fn wake_op_is_atomic() {
    let times: u64 = effort(2000);
    let arena = Arc::new(arena(1));
    let tasks = [true, false, true, false].map(|by_call| {
        let arena = arena.clone();
        Task::spawn(move || {
            let memory: &AtomicU32 = arena.get(4).expect("it is in the arena");
            for _ in 0..times {
                if by_call {
                    let never = Compare::Less(1 << 31);
                    let added = target(4, 4);
                    let op = Op::Add(1);
                    let woken = arena.table().wake_op(word(0), 0, added, 0, op, never);
                    assert_eq!(woken, Ok(0));
                } else {
                    memory.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    });
    tasks.into_iter().for_each(|task| task.join());
    let sum: &AtomicU32 = arena.get(4).expect("it is in the arena");
    assert_eq!(u64::from(sum.load(Ordering::Relaxed)), 4 * times);
    let beside: &AtomicU32 = arena.get(8).expect("it is in the arena");
    assert_eq!(beside.load(Ordering::Relaxed), 0);
}

fn masks() {
    let table = with_arena(1);
    let theirs = table.clone();
    let task = Task::spawn(move || theirs.wait_with(word(0), 0, WaitOptions::default().mask(2)));
    until("it waits", || nr_waiters(&table, word(0)) == 1);
    assert_eq!(table.wake(word(0), 1, 1), Ok(0));
    assert_eq!(table.wake(word(0), 0, 2), Ok(0));
    assert_eq!(table.wake(word(0), 1, 3), Ok(1));
    assert_eq!(task.join(), Ok(()));
}

fn requeue() {
    let table = with_arena(2);
    let (from, to) = (word(0), word(PAGE as u64));
    let tasks = [(); 5].map(|()| waiter(&table, from));
    assert_eq!(table.requeue_if(from, 1, to, 1, 2), Err(Error::Again));
    assert_eq!(table.requeue_if(from, 0, to, 1, 2), Ok(3));
    assert_eq!((nr_waiters(&table, from), nr_waiters(&table, to)), (2, 2));
    assert_eq!(table.wake_all(to), Ok(2));
    assert_eq!(table.wake_all(from), Ok(2));
    tasks
        .into_iter()
        .for_each(|task| assert_eq!(task.join(), Ok(())));
}

/// Waiters of another process are moved into the arena, where all who have the table can wake them,
/// and from there to a file, but not to where only this process could.
fn requeue_between_arena_and_memory() {
    let (shared, private) = (Mapping::shared(PAGE), Mapping::private(PAGE));
    let table = with_arena(1);
    let child = Child::run(|| assert_eq!(table.wait(word(0), 0), Ok(())));
    until("the child waits", || nr_waiters(&table, word(0)) == 1);
    for to in [
        private.word(0),
        private.word(0).private(),
        shared.word(0).private(),
    ] {
        private.atomic::<AtomicU32>(0).store(0, Ordering::Relaxed);
        assert_eq!(table.requeue(word(0), to, 0, 1), Err(Error::Invalid));
    }
    assert_eq!(table.requeue(word(0), shared.word(0), 0, 1), Ok(1));
    assert_eq!(table.requeue(shared.word(0), word(8), 0, 1), Ok(1));
    assert_eq!(table.wake_all(word(0)), Ok(0));
    assert_eq!(table.wake_all(shared.word(0)), Ok(0));
    assert_eq!(table.wake_all(word(8)), Ok(1));
    child.join();
}

/// Words of the arena, and others, in one call.
fn wait_any() {
    let map = Mapping::shared(PAGE);
    let words = [
        word(0),
        map.word(0),
        Word::in_arena(65, 1),
        map.word(8).private(),
    ];
    let table = with_arena(1);
    for (index, word) in words.into_iter().enumerate() {
        let theirs = table.clone();
        let task = Task::spawn(move || {
            let entries = words.map(|word| WaitEntry::new(word, 0));
            theirs.wait_any(&entries, None)
        });
        until("it waits", || nr_waiters(&table, words[3]) == 1);
        assert_eq!(table.wake_all(word), Ok(1));
        assert_eq!(task.join(), Ok(index));
    }
    let entries = [WaitEntry::new(words[0], 0), WaitEntry::new(words[2], 1)];
    assert_eq!(table.wait_any(&entries, None), Err(Error::Again));
}

fn swap() {
    let table = with_arena(1);
    let first = waiter(&table, word(0));
    let theirs = table.clone();
    let second = Task::spawn(move || theirs.swap(word(8), 0, word(0)));
    assert_eq!(first.join(), Ok(()));
    assert_eq!(nr_waiters(&table, word(8)), 1);
    assert_eq!(table.swap(word(8), 1, word(8)), Err(Error::Again));
    assert_eq!(table.wake_one(word(8)), Ok(1));
    assert_eq!(second.join(), Ok(()));
}

fn wake_each() {
    let table = with_arena(1);
    let tasks = [0, 8, 8, 16].map(|offset| waiter(&table, word(offset)));
    let entries = [0, 8, 24, 16].map(|offset| WakeEntry::new(word(offset), u32::MAX));
    let mut results = [9; 4];
    assert_eq!(table.wake_each(&entries, &mut results), Ok(4));
    assert_eq!(results, [1, 2, 0, 1]);
    tasks
        .into_iter()
        .for_each(|task| assert_eq!(task.join(), Ok(())));
}

fn time_out() {
    let table = with_arena(1);
    let options = WaitOptions::default().within(Duration::from_millis(2));
    assert_eq!(table.wait_with(word(0), 0, options), Err(Error::TimedOut));
    assert_eq!(nr_waiters(&table, word(0)), 0);
}

fn described() {
    let table = with_arena(3);
    let info = table.key_info(word(2 * PAGE as u64 + 12)).expect("a key");
    let key = Key::Arena {
        index: 2,
        offset: 12,
    };
    assert_eq!((info.key, info.folio, info.nr_waiters), (key, None, 0));
    assert_ne!(info.object, 0);
}

/// One thread counts up, and another follows it, each asleep until it is its turn.
fn nobody_misses_a_wake() {
    const TURNS: u8 = 200;
    let arena = Arc::new(arena(1));
    let play = |arena: &Arena, me: u8| {
        let turn: &AtomicU8 = arena.get(3).expect("it is in the arena");
        for _ in 0..TURNS {
            let other = 1 - me;
            while turn.load(Ordering::Acquire) != me {
                match arena.table().wait(arena.word(turn), other.into()) {
                    Ok(()) | Err(Error::Again | Error::Interrupted) => {}
                    Err(error) => panic!("wait: {error}"),
                }
            }
            turn.store(other, Ordering::Release);
            arena.table().wake_one(arena.word(turn)).expect("wake");
        }
    };
    let theirs = arena.clone();
    let task = Task::spawn(move || play(&theirs, 1));
    play(&arena, 0);
    task.join();
}

/// The same between processes, each of which has mapped the arena at an address of its own.
fn processes_hand_over() {
    const TURNS: u64 = 100;
    let table = with_arena(2);
    let play = |me: u64| {
        let arena = Arena::map(table.clone()).expect("it is mapped");
        let counter: &AtomicU64 = arena.get(PAGE).expect("it is in the arena");
        loop {
            let now = counter.load(Ordering::Acquire);
            if now >= TURNS {
                arena.table().wake_all(arena.word(counter)).expect("wake");
                return;
            }
            if now % 3 == me {
                counter.store(now + 1, Ordering::Release);
                arena.table().wake_all(arena.word(counter)).expect("wake");
            } else {
                match arena.table().wait(arena.word(counter), now) {
                    Ok(()) | Err(Error::Again | Error::Interrupted) => {}
                    Err(error) => panic!("wait: {error}"),
                }
            }
        }
    };
    let children = [0, 1, 2].map(|me| Child::run(|| play(me)));
    children.into_iter().for_each(Child::join);
    assert_eq!(
        table.wait(Word::in_arena(PAGE as u64, 8), 0),
        Err(Error::Again)
    );
}
