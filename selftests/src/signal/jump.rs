// SPDX-License-Identifier: GPL-2.0
//! A handler that does not return into the wait that it interrupted, but goes on elsewhere, as with
//! siglongjmp(3). The wait never returns.
//!
//! sigsetjmp(3) cannot be called from Rust, since it returns twice. Instead, the wait runs on a
//! stack of its own (makecontext(3)), and the handler changes to the thread's first stack with
//! setcontext(3), which restores the signal mask as well. The frames that are left on the second
//! stack are never resumed, and own nothing.

use crate::harness::{
    BOTH, Handler, Mapping, PAGE, Service, Task, fx, nr_waiters, signal_thread, until,
    until_in_syscall, until_queued,
};
use crate::memory::RegionWord;
use nix::sys::signal::{SaFlags, SigSet, Signal};
use nix::unistd::getpid;
use rfutex::{WaitEntry, Word};
use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;

trials![out_of_each_wait, as_futex];

const SIGNAL: Signal = Signal::SIGUSR1;
/// How often a thread leaves.
const ROUNDS: u32 = 3;
/// The size of the second stack, in units of 16 bytes.
const STACK: usize = 8192;

/// A wait on two words that never returns.
type Wait = fn([Word<'static>; 2]);

thread_local! {
    /// Where the thread left its first stack.
    static FIRST: UnsafeCell<MaybeUninit<libc::ucontext_t>> =
        const { UnsafeCell::new(MaybeUninit::uninit()) };
    /// What to do on the second.
    static WAIT: Cell<Option<(Wait, [Word<'static>; 2])>> = const { Cell::new(None) };
}

extern "C" fn on_second_stack() {
    let (wait, words) = WAIT.get().expect("a wait");
    wait(words);
    // Nobody wakes it. There is no context that the thread could go on with.
    std::process::abort();
}

extern "C" fn leave(_signal: i32) {
    FIRST.with(|first| {
        // SAFETY: The signal is sent only to a thread that waits on its second stack. It saved the
        // context of the first one in `wait_and_jump`, which has not returned.
        unsafe { libc::setcontext(first.get().cast()) };
    });
    std::process::abort();
}

/// Does `wait` until the handler leaves it.
fn wait_and_jump(wait: Wait, words: [Word<'static>; 2]) {
    let mut stack = vec![0u128; STACK];
    WAIT.set(Some((wait, words)));
    FIRST.with(|first| {
        let mut second = MaybeUninit::<libc::ucontext_t>::zeroed();
        // SAFETY: All zeros is a valid context. The second stack is there until this function
        // returns, and nothing runs on it after that. swapcontext returns once, when the handler
        // changes to the context that it has saved.
        unsafe {
            libc::getcontext(second.as_mut_ptr());
            let context = second.assume_init_mut();
            context.uc_stack.ss_sp = stack.as_mut_ptr().cast();
            context.uc_stack.ss_size = size_of_val(stack.as_slice());
            context.uc_link = std::ptr::null_mut();
            libc::makecontext(context, on_second_stack, 0);
            let result = libc::swapcontext(first.get().cast(), context);
            assert_eq!(result, 0, "swapcontext");
        }
    });
    let mask = SigSet::thread_get_mask().expect("the signal mask");
    assert!(!mask.contains(SIGNAL), "the mask is the one of before");
}

const WAITS: [(&str, Wait); 3] = [
    ("WAIT", |[word, _]| {
        let _ = fx().wait(word, 0);
    }),
    ("WAITV", |words| {
        let _ = fx().wait_any(&words.map(|word| WaitEntry::new(word, 0)), None);
    }),
    ("SWAP", |[word, other]| {
        let _ = fx().swap(word, 0, other);
    }),
];

/// The thread is in no queue any more. It can wait again, and is woken.
fn out_of_each_wait() {
    let map = Mapping::shared(PAGE);
    for flags in [SaFlags::empty(), SaFlags::SA_RESTART] {
        let _handler = Handler::new(SIGNAL, leave, flags);
        for (name, wait) in WAITS {
            let words = [map.word(0), map.word(64).private()];
            let [word, round] = [map.word(128), map.word(192)];
            round.store(0);
            let task = Task::spawn(move || {
                for nr in 1..=ROUNDS {
                    round.store(nr);
                    wait_and_jump(wait, words);
                }
                fx().wait(word, 0)
            });
            for nr in 1..=ROUNDS {
                until("it waits", || {
                    round.load() == nr && nr_waiters(words[0]) == 1
                });
                signal_thread(task.tid(), SIGNAL);
            }
            until_queued(word, 1);
            assert_eq!(words.map(nr_waiters), [0, 0], "{name}");
            assert_eq!(words.map(|word| fx().wake_all(word)), [Ok(0); 2], "{name}");
            assert_eq!(fx().wake_one(word), Ok(1), "{name}");
            assert_eq!(task.join(), Ok(()), "{name}");
        }
    }
}

/// futex(2) does the same.
fn as_futex() {
    let map = Mapping::private(PAGE);
    let words = [map.word(0), map.word(64)];
    let _handler = Handler::new(SIGNAL, leave, SaFlags::SA_RESTART);
    let waits: [Wait; 2] = [
        |[word, _]| {
            Service::Ours.wait(word, 0);
        },
        |[word, _]| {
            Service::Theirs.wait(word, 0);
        },
    ];
    for (service, wait) in BOTH.into_iter().zip(waits) {
        let task = Task::spawn(move || {
            wait_and_jump(wait, words);
            service.wait(words[1], 0)
        });
        match service {
            Service::Ours => until_queued(words[0], 1),
            Service::Theirs => until_in_syscall(getpid(), task.tid(), libc::SYS_futex),
        }
        signal_thread(task.tid(), SIGNAL);
        until("it waits on the other", || {
            service.wake(words[1], 1) == Ok(1)
        });
        assert_eq!(service.wake(words[0], 1), Ok(0), "{service:?}");
        assert_eq!(task.join(), 0, "{service:?}");
    }
}
