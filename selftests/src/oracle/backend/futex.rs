// SPDX-License-Identifier: GPL-2.0
//! The operations on the kernel's own futexes.

use super::result;
use crate::oracle::call::{At, Call, Deadline, Op, Wait};
use crate::oracle::script::{ANY, Via};
use io_uring::{opcode, squeue};
use libc::c_long;
use linux_raw_sys::general::{
    __NR_futex_requeue, __NR_futex_wait, __NR_futex_waitv, __NR_futex_wake, FUTEX_OP_OPARG_SHIFT,
    FUTEX2_PRIVATE, FUTEX2_SIZE_U32, futex_waitv,
};
use std::ptr;

const NONE: *const libc::timespec = ptr::null();

/// Every waiter, in one call of futex(2).
const ALL: u32 = i32::MAX as u32;

fn flags(at: At) -> u32 {
    FUTEX2_SIZE_U32 | if at.private { FUTEX2_PRIVATE } else { 0 }
}

/// A command of futex(2), with its flags.
fn command(command: i32, at: At) -> c_long {
    (command
        | if at.private {
            libc::FUTEX_PRIVATE_FLAG
        } else {
            0
        })
    .into()
}

/// A time that the kernel can be given, if it is one.
fn timespec(deadline: Option<Deadline>) -> Option<libc::timespec> {
    deadline.map(|deadline| libc::timespec {
        tv_sec: deadline.ns.div_euclid(1_000_000_000),
        tv_nsec: deadline.ns.rem_euclid(1_000_000_000),
    })
}

/// Carries out an operation.
pub fn call(call: &Call) -> i64 {
    match call {
        Call::Wait { wait, via } => self::wait(wait, *via),
        Call::Wake { at, nr, mask, via } => wake(*at, *nr, *mask, *via),
        Call::Short { at, all } => wake(*at, if *all { ALL } else { 1 }, ANY, Via::Futex),
        Call::Wakev { entries } => wakev(entries),
        Call::Requeue {
            from,
            to,
            val,
            nr_wake,
            nr_move,
            via,
        } => match (via, val) {
            (Via::Futex2, Some(val)) => requeue2(*from, *to, *val, *nr_wake, *nr_move),
            _ => requeue(*from, *to, *val, *nr_wake, *nr_move),
        },
        Call::WakeOp {
            word,
            target,
            nr,
            nr_target,
            op,
        } => wake_op(*word, *target, *nr, *nr_target, *op),
        Call::Waitv { entries, deadline } => waitv(entries, *deadline),
        Call::Swap { wait, wake } => swap(wait, *wake),
        _ => unreachable!("no operation of futex(2)"),
    }
}

fn wait(wait: &Wait, via: Via) -> i64 {
    let time = timespec(wait.deadline);
    let time = time.as_ref().map_or(NONE, ptr::from_ref);
    let clock = wait
        .deadline
        .map_or(libc::CLOCK_MONOTONIC, |deadline| deadline.clock);
    if via == Via::Futex2 {
        // SAFETY: The kernel reads the word, if it can, and the time.
        return result(unsafe {
            libc::syscall(
                __NR_futex_wait.into(),
                wait.at.addr,
                u64::from(wait.val),
                wait.mask,
                flags(wait.at),
                time,
                clock,
            )
        });
    }
    let clock = match clock {
        libc::CLOCK_REALTIME => libc::FUTEX_CLOCK_REALTIME,
        _ => 0,
    };
    // SAFETY: As above.
    result(unsafe {
        libc::syscall(
            libc::SYS_futex,
            wait.at.addr,
            command(libc::FUTEX_WAIT_BITSET | clock, wait.at),
            wait.val,
            time,
            0,
            wait.mask as u32,
        )
    })
}

/// A wait without a deadline, as a request of io_uring.
pub fn request(wait: &Wait) -> squeue::Entry {
    let word = ptr::with_exposed_provenance(wait.at.addr as usize);
    opcode::FutexWait::new(word, wait.val.into(), wait.mask, flags(wait.at)).build()
}

fn wake(at: At, nr: u32, mask: u64, via: Via) -> i64 {
    if via == Via::Futex2 {
        // SAFETY: The kernel changes nothing.
        return result(unsafe {
            libc::syscall(__NR_futex_wake.into(), at.addr, mask, nr, flags(at))
        });
    }
    // SAFETY: As above.
    result(unsafe {
        libc::syscall(
            libc::SYS_futex,
            at.addr,
            command(libc::FUTEX_WAKE_BITSET, at),
            nr,
            NONE,
            0,
            mask as u32,
        )
    })
}

/// futex(2) has no such call. While nobody waits on several words, it is a look at all the words,
/// then a wake on each.
fn wakev(entries: &[(At, u64, u32)]) -> i64 {
    let looks = entries
        .iter()
        .map(|(at, mask, _)| wake(*at, 0, *mask, Via::Futex2));
    let looks: Vec<_> = looks.collect();
    if looks.is_empty() {
        return -i64::from(libc::EINVAL);
    }
    // The entries are looked at in their order, so the first error counts.
    if let Some(error) = looks.into_iter().find(|result| *result < 0) {
        return error;
    }
    let woken = entries
        .iter()
        .map(|(at, mask, nr)| wake(*at, *nr, *mask, Via::Futex2));
    woken.sum()
}

fn requeue(from: At, to: At, val: Option<u32>, nr_wake: u32, nr_move: u32) -> i64 {
    let operation = match val {
        Some(_) => libc::FUTEX_CMP_REQUEUE,
        None => libc::FUTEX_REQUEUE,
    };
    // SAFETY: The kernel reads the first word, if it can.
    result(unsafe {
        libc::syscall(
            libc::SYS_futex,
            from.addr,
            command(operation, from),
            nr_wake,
            u64::from(nr_move),
            to.addr,
            val.unwrap_or(0),
        )
    })
}

fn vector(at: At, val: u32) -> futex_waitv {
    futex_waitv {
        val: val.into(),
        uaddr: at.addr,
        flags: flags(at),
        __reserved: 0,
    }
}

fn requeue2(from: At, to: At, val: u32, nr_wake: u32, nr_move: u32) -> i64 {
    let words = [vector(from, val), vector(to, 0)];
    // SAFETY: The kernel reads the array, and the first word if it can.
    result(unsafe {
        libc::syscall(
            __NR_futex_requeue.into(),
            words.as_ptr(),
            0,
            nr_wake,
            nr_move,
        )
    })
}

fn wake_op(word: At, target: At, nr: u32, nr_target: u32, op: Op) -> i64 {
    let shift = if op.shift { FUTEX_OP_OPARG_SHIFT } else { 0 };
    let encoded = (u32::from(op.op) & 7 | shift) << 28
        | (u32::from(op.cmp) & 15) << 24
        | (op.operand as u32 & 0xfff) << 12
        | op.comparand as u32 & 0xfff;
    // SAFETY: The kernel changes the target, if it can; it is a word or no memory.
    result(unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.addr,
            command(libc::FUTEX_WAKE_OP, word),
            nr,
            u64::from(nr_target),
            target.addr,
            encoded,
        )
    })
}

fn waitv(entries: &[(At, u32)], deadline: Option<Deadline>) -> i64 {
    let words: Vec<_> = entries.iter().map(|(at, val)| vector(*at, *val)).collect();
    let time = timespec(deadline);
    // SAFETY: The kernel reads the array, the words if it can, and the time.
    result(unsafe {
        libc::syscall(
            __NR_futex_waitv.into(),
            words.as_ptr(),
            words.len(),
            0,
            time.as_ref().map_or(NONE, ptr::from_ref),
            deadline.map_or(libc::CLOCK_MONOTONIC, |deadline| deadline.clock),
        )
    })
}

/// futex(2) has no swap. While nothing else happens, it is a look whether the wait would sleep, then
/// the wake, then the wait.
fn swap(swap: &Wait, target: At) -> i64 {
    let wait = |change: fn(&mut Wait)| {
        let mut wait = *swap;
        change(&mut wait);
        self::wait(&wait, Via::Futex2)
    };
    let look = |at| wake(at, 0, ANY, Via::Futex2);
    // What is wrong with the arguments comes first, then what is wrong with memory.
    let nowhere = wait(|wait| {
        wait.at = At {
            addr: 0,
            offset: None,
            private: true,
        }
    });
    let looks = [look(swap.at), look(target)];
    let invalid = -i64::from(libc::EINVAL);
    if nowhere == invalid || looks.contains(&invalid) {
        return invalid;
    }
    if let Some(error) = looks.into_iter().find(|result| *result < 0) {
        return error;
    }
    let would_sleep = wait(|wait| {
        wait.deadline = Some(Deadline {
            clock: libc::CLOCK_MONOTONIC,
            ns: 1,
        })
    });
    if would_sleep != -i64::from(libc::ETIMEDOUT) {
        return would_sleep;
    }
    wake(target, 1, ANY, Via::Futex2);
    wait(|_| ())
}
