// SPDX-License-Identifier: GPL-2.0
//! The events of waits and wakes.

use super::{Instance, Memory, key, key_in};
use crate::harness::{
    Handler, PAGE, Task, Waiter, fx, nr_waiters, past, signal_thread, until, until_queued,
};
use crate::memory::RegionWord;
use crate::wake_op::target;
use nix::sys::signal::{SaFlags, Signal};
use rfutex::{
    Arena, Compare, Error, Op, Table, TableOptions, WaitEntry, WaitOptions, WakeEntry, Word,
};
use std::sync::Arc;
use std::time::Duration;

trials![
    wait_and_wake,
    word_in_an_arena,
    each_size,
    value_mask_and_deadline,
    wake_that_finds_nobody,
    wait_that_does_not_sleep,
    timed_out,
    signal,
    waitv,
    waitv_whose_second_word_has_changed,
    wakev,
    wake_op,
    swap,
    requeue,
    requeue_of_nobody,
    nothing_of_a_resolver_that_did_not_try_again,
];

const ANY: &str = "mask=0xffffffffffffffff";

/// The wait comes first, then the wake, then the end of the wait, each by the task that did it.
fn wait_and_wake() {
    let memory = Memory::new();
    for word in memory.words() {
        let instance = Instance::on();
        let waiter = Waiter::start(word, 0);
        let (sleeper, waker) = (waiter.tid().as_raw(), nix::unistd::gettid().as_raw());
        assert_eq!(fx().wake_one(word), Ok(1));
        waiter.woken();
        let records = instance.records();
        let key = key(word);
        let expected = [
            (
                sleeper,
                format!("rfutex_wait: op=wait {key} size=4 val=0x0 {ANY} deadline=0"),
            ),
            (
                waker,
                format!("rfutex_wake: op=wake {key} {ANY} nr=1 woken=1"),
            ),
            (sleeper, format!("rfutex_woken: op=wait {key} result=woken")),
        ];
        let records: Vec<_> = records.into_iter().map(|r| (r.tid, r.text)).collect();
        // A task that sees that it was woken may say so before the waker does.
        assert_eq!(records[0], expected[0]);
        for one in &expected[1..] {
            assert!(records.contains(one), "{one:?} in {records:?}");
        }
        assert_eq!(records.len(), 3, "{records:?}");
    }
}

fn word_in_an_arena() {
    let table = Table::create(fx(), TableOptions::new().arena(2 * PAGE as u64)).expect("a table");
    let arena = Arc::new(Arena::map(table).expect("it is mapped"));
    let word = Word::in_arena(PAGE as u64 + 8, 8);
    let instance = Instance::on();
    let theirs = arena.clone();
    let task = Task::spawn(move || theirs.table().wait(word, 0));
    until("it waits", || {
        arena.table().key_info(word).expect("a key").nr_waiters == 1
    });
    assert_eq!(arena.table().wake_all(word), Ok(1));
    assert_eq!(task.join(), Ok(()));
    let key = key_in(arena.table(), word);
    assert!(
        key.starts_with("kind=arena ") && key.ends_with(" index=1 offset=8"),
        "{key}"
    );
    let texts = instance.texts();
    assert_eq!(
        texts[0],
        format!("rfutex_wait: op=wait {key} size=8 val=0x0 {ANY} deadline=0")
    );
    assert!(texts.contains(&format!(
        "rfutex_wake: op=wake {key} {ANY} nr=4294967295 woken=1"
    )));
    assert!(texts.contains(&format!("rfutex_woken: op=wait {key} result=woken")));
}

fn each_size() {
    let memory = Memory::new();
    for size in [1, 2, 4, 8] {
        let word = memory.anonymous.sized_word(8, size);
        let instance = Instance::on();
        assert_eq!(fx().wait_with(word, 0, past()), Err(Error::TimedOut));
        assert_eq!(instance.records()[0].get("size"), size.to_string());
    }
}

fn value_mask_and_deadline() {
    let memory = Memory::new();
    let word = memory.words()[2];
    word.store(0xabcd);
    let instance = Instance::on();
    let options = past().mask(0x30);
    assert_eq!(fx().wait_with(word, 0xabcd, options), Err(Error::TimedOut));
    assert_eq!(fx().wake(word, 7, 0x50), Ok(0));
    let key = key(word);
    assert_eq!(
        instance.texts(),
        [
            format!("rfutex_wait: op=wait {key} size=4 val=0xabcd mask=0x30 deadline=1"),
            format!("rfutex_woken: op=wait {key} result=timed_out"),
            format!("rfutex_wake: op=wake {key} mask=0x50 nr=7 woken=0"),
        ]
    );
}

/// A wake that meets nobody is what somebody who looks for a lost one wants to see.
fn wake_that_finds_nobody() {
    let memory = Memory::new();
    for word in memory.words() {
        let instance = Instance::on();
        assert_eq!(fx().wake_all(word), Ok(0));
        let key = key(word);
        assert_eq!(
            instance.texts(),
            [format!(
                "rfutex_wake: op=wake {key} {ANY} nr=4294967295 woken=0"
            )]
        );
    }
}

fn wait_that_does_not_sleep() {
    let memory = Memory::new();
    let instance = Instance::on();
    for word in memory.words() {
        assert_eq!(fx().wait(word, 1), Err(Error::Again));
        let entries = [WaitEntry::new(word, 1)];
        assert_eq!(fx().wait_any(&entries, None), Err(Error::Again));
        assert_eq!(fx().swap(word, 1, memory.others()[0]), Err(Error::Again));
    }
    assert_eq!(instance.texts(), [""; 0]);
}

fn timed_out() {
    let memory = Memory::new();
    for word in memory.words() {
        let instance = Instance::on();
        let soon = WaitOptions::default().within(Duration::from_millis(5));
        assert_eq!(fx().wait_with(word, 0, soon), Err(Error::TimedOut));
        let texts = instance.texts();
        assert_eq!(
            texts[1],
            format!("rfutex_woken: op=wait {} result=timed_out", key(word))
        );
        assert_eq!(texts.len(), 2, "{texts:?}");
    }
}

fn signal() {
    let handler = Handler::counting(Signal::SIGUSR1, SaFlags::empty());
    let memory = Memory::new();
    let word = memory.words()[1];
    let instance = Instance::on();
    let waiter = Waiter::start(word, 0);
    signal_thread(waiter.tid(), handler.signal());
    assert_eq!(waiter.join(), Err(Error::Interrupted));
    let texts = instance.texts();
    assert_eq!(
        texts[1],
        format!("rfutex_woken: op=wait {} result=signal", key(word))
    );
}

fn waitv() {
    let memory = Memory::new();
    let words = memory.words();
    let instance = Instance::on();
    let task = Task::spawn(move || {
        let [a, b, c] = words.map(|word| WaitEntry::new(word, 0));
        fx().wait_any(&[a, b.mask(4), c], None)
    });
    until_queued(words[2], 1);
    assert_eq!(fx().wake_one(words[1]), Ok(1));
    assert_eq!(task.join(), Ok(1));
    let texts = instance.texts();
    let keys = words.map(key);
    for (nr, (key, mask)) in keys.iter().zip([ANY, "mask=0x4", ANY]).enumerate() {
        assert_eq!(
            texts[nr],
            format!("rfutex_wait: op=waitv {key} size=4 val=0x0 {mask} deadline=0")
        );
    }
    for (key, result) in keys.iter().zip(["other_word", "woken", "other_word"]) {
        let text = format!("rfutex_woken: op=waitv {key} result={result}");
        assert!(texts.contains(&text), "{text} in {texts:?}");
    }
    assert_eq!(texts.len(), 7, "{texts:?}");
}

/// The first word was queued, so its wait has begun. It says how it has ended.
fn waitv_whose_second_word_has_changed() {
    let memory = Memory::new();
    // Words that are not private are compared before any of them is queued, too.
    let words = [memory.words()[0], memory.others()[0]];
    // If they were not in memory, the call would try again.
    words.iter().for_each(|word| word.store(0));
    let instance = Instance::on();
    let entries = [WaitEntry::new(words[0], 0), WaitEntry::new(words[1], 1)];
    assert_eq!(fx().wait_any(&entries, None), Err(Error::Again));
    let key = key(words[0]);
    assert_eq!(
        instance.texts(),
        [
            format!("rfutex_wait: op=waitv {key} size=4 val=0x0 {ANY} deadline=0"),
            format!("rfutex_woken: op=waitv {key} result=changed"),
        ]
    );
}

fn wakev() {
    let memory = Memory::new();
    let words = memory.words();
    let waiters = [words[1], words[1], words[2]].map(|word| Waiter::start(word, 0));
    let instance = Instance::on();
    let entries = [
        WakeEntry::new(words[0], 1),
        WakeEntry::new(words[1], 5),
        WakeEntry::new(words[2], 1).mask(6),
    ];
    let mut results = [0; 3];
    assert_eq!(fx().wake_each(&entries, &mut results), Ok(3));
    waiters.into_iter().for_each(Waiter::woken);
    let texts = instance.texts_of("rfutex_wake");
    let keys = words.map(key);
    assert_eq!(
        texts,
        [
            format!("rfutex_wake: op=wakev {} {ANY} nr=1 woken=0", keys[0]),
            format!("rfutex_wake: op=wakev {} {ANY} nr=5 woken=2", keys[1]),
            format!("rfutex_wake: op=wakev {} mask=0x6 nr=1 woken=1", keys[2]),
        ]
    );
}

/// The second word has an event only if the comparison is true.
fn wake_op() {
    let memory = Memory::new();
    let [word, changed] = [memory.words()[2], memory.others()[1]];
    for (compare, woken) in [(Compare::Equal(0), 2), (Compare::Equal(1), 1)] {
        let waiters = [Waiter::start(word, 0), Waiter::start(changed, 0)];
        let instance = Instance::on();
        let result = fx().wake_op(word, 1, target(changed), 3, Op::Or(0), compare);
        assert_eq!(result, Ok(woken));
        let texts = instance.texts_of("rfutex_wake");
        let both = [
            format!("rfutex_wake: op=wake_op {} {ANY} nr=1 woken=1", key(word)),
            format!(
                "rfutex_wake: op=wake_op {} {ANY} nr=3 woken=1",
                key(changed)
            ),
        ];
        assert_eq!(texts, both[..woken as usize]);
        fx().wake_all(changed).expect("a wake");
        waiters.into_iter().for_each(Waiter::woken);
    }
}

fn swap() {
    let memory = Memory::new();
    let [word, other] = [memory.words()[2], memory.others()[2]];
    for nr in [0, 1] {
        let waiter = (nr == 1).then(|| Waiter::start(other, 0));
        let instance = Instance::on();
        let task = Task::spawn(move || fx().swap(word, 0, other));
        until_queued(word, 1);
        assert_eq!(fx().wake_one(word), Ok(1));
        assert_eq!(task.join(), Ok(()));
        if let Some(waiter) = waiter {
            waiter.woken();
        }
        let texts = instance.texts();
        let (key, woken) = (key(word), key(other));
        // The task is queued before it wakes: the wake above may come between.
        let of_swap: Vec<_> = texts
            .iter()
            .filter(|text| text.contains("op=swap"))
            .collect();
        assert_eq!(
            of_swap,
            [
                &format!("rfutex_wait: op=swap {key} size=4 val=0x0 {ANY} deadline=0"),
                &format!("rfutex_wake: op=swap {woken} {ANY} nr=1 woken={nr}"),
                &format!("rfutex_woken: op=swap {key} result=woken"),
            ]
        );
    }
}

/// Who was moved is woken on the other word, and says so.
fn requeue() {
    let memory = Memory::new();
    for (from, to) in memory.words().into_iter().zip(memory.others()) {
        let waiters = [(); 3].map(|()| Waiter::start(from, 0));
        let instance = Instance::on();
        assert_eq!(fx().requeue(from, to, 1, 8), Ok(3));
        until("they have moved", || nr_waiters(to) == 2);
        assert_eq!(fx().wake_all(to), Ok(2));
        waiters.into_iter().for_each(Waiter::woken);
        let texts = instance.texts();
        let (from, to) = (key(from), key(to));
        let there: Vec<_> = to.split(' ').map(|field| format!("to_{field}")).collect();
        let text = format!(
            "rfutex_requeue: {from} {} nr_wake=1 nr_move=8 woken=1 moved=2",
            there.join(" ")
        );
        assert!(texts.contains(&text), "{text} in {texts:?}");
        for (key, nr) in [(from, 1), (to, 2)] {
            let text = format!("rfutex_woken: op=wait {key} result=woken");
            assert_eq!(texts.iter().filter(|other| **other == text).count(), nr);
        }
    }
}

fn requeue_of_nobody() {
    let memory = Memory::new();
    let [from, to] = [memory.words()[2], memory.others()[2]];
    let instance = Instance::on();
    assert_eq!(fx().requeue(from, to, 1, 2), Ok(0));
    assert_eq!(fx().requeue_if(from, 1, to, 1, 2), Err(Error::Again));
    let texts = instance.texts();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(
        texts[0].ends_with(" nr_wake=1 nr_move=2 woken=0 moved=0"),
        "{texts:?}"
    );
}

fn nothing_of_a_resolver_that_did_not_try_again() {
    let memory = Memory::new();
    memory.words().into_iter().map(key).for_each(drop);
    let instance = Instance::off();
    instance.switch("rfutex_retry", true);
    for word in memory.words() {
        assert_eq!(fx().wake_all(word), Ok(0));
        assert_eq!(fx().wait_with(word, 0, past()), Err(Error::TimedOut));
    }
    assert_eq!(instance.texts(), [""; 0]);
}
