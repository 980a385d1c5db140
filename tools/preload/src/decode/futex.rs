// SPDX-License-Identifier: GPL-2.0
//! futex(2): one system call for many operations.

use super::{Deadline, MATCH_ANY, Request, at_least_one, count, mask, wake_request, word};
use crate::kernel::Args;
use rfutex::raw::uapi;

/// Decodes futex(2); `None` if it is for the kernel.
///
/// # Safety
///
/// The pointers in `args` are those of the system call that is being made.
pub(crate) unsafe fn futex(args: &Args) -> Option<Request> {
    let [addr, op, val, timeout, addr2, val3] = *args;
    // As wide as the kernel takes them.
    let (op, val, val2, val3) = (op as i32, val as u32, timeout as i32, val3 as u32);
    let private = op & libc::FUTEX_PRIVATE_FLAG != 0;
    let realtime = op & libc::FUTEX_CLOCK_REALTIME != 0;
    // Flags that are not known here belong to the operation: it is another one.
    let command = op & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    if realtime && command != libc::FUTEX_WAIT_BITSET {
        return None;
    }

    let first = word(addr as u64, private)?;
    let second = || word(addr2 as u64, private);
    let wait = |bits, deadline: Deadline| {
        Some(Request::Wait(uapi::rfutex_wait {
            word: first,
            val: val.into(),
            mask: mask(bits)?,
            deadline: deadline.ns,
            clock: deadline.clock,
            ..Default::default()
        }))
    };
    let wake = |bits| Some(wake_request(first, mask(bits)?, at_least_one(val as i32)));
    let requeue = |flags, compare: u32| {
        Some(Request::Requeue(uapi::rfutex_requeue {
            from: first,
            to: second()?,
            val: compare.into(),
            nr_wake: count(val as i32)?,
            nr_move: count(val2)?,
            flags,
            pad: 0,
        }))
    };
    match command {
        libc::FUTEX_WAIT => {
            // SAFETY: The caller's promise.
            let deadline = unsafe { Deadline::relative(timeout as u64) }?;
            wait(MATCH_ANY, deadline)
        }
        libc::FUTEX_WAIT_BITSET => {
            let clock = if realtime {
                uapi::RFUTEX_CLOCK_REALTIME
            } else {
                uapi::RFUTEX_CLOCK_MONOTONIC
            };
            // SAFETY: The caller's promise.
            let deadline = unsafe { Deadline::absolute(timeout as u64, clock) }?;
            wait(val3, deadline)
        }
        libc::FUTEX_WAKE => wake(MATCH_ANY),
        libc::FUTEX_WAKE_BITSET => wake(val3),
        libc::FUTEX_REQUEUE => requeue(0, 0),
        libc::FUTEX_CMP_REQUEUE => requeue(uapi::RFUTEX_REQUEUE_CMP, val3),
        libc::FUTEX_WAKE_OP => wake_op(first, second()?, at_least_one(val as i32), val2, val3),
        _ => None,
    }
}

/// Decodes `FUTEX_WAKE_OP`, whose operation is packed into 32 bits: whether to
/// shift, the operation, the comparison, then two signed numbers of 12 bits.
fn wake_op(
    word: uapi::rfutex_word,
    target: uapi::rfutex_word,
    nr: u32,
    nr_target: i32,
    packed: u32,
) -> Option<Request> {
    const SHIFT: u32 = libc::FUTEX_OP_OPARG_SHIFT as u32;
    let signed = |bits: u32| (bits << 20) as i32 >> 20;
    let (op, cmp) = (packed >> 28, packed >> 24 & 0xf);
    let mut operand = signed(packed >> 12 & 0xfff);
    if op & SHIFT != 0 {
        // The kernel complains of a shift that is out of range, and masks it.
        operand = 1 << (operand & 31);
    }
    let op = op & !SHIFT;
    // The numbers of the operations and comparisons are the same.
    if op > uapi::RFUTEX_OP_XOR || cmp > uapi::RFUTEX_CMP_GE {
        return None;
    }
    Some(Request::WakeOp(uapi::rfutex_wake_op {
        word,
        target,
        operand: (operand as u32).into(),
        comparand: (signed(packed & 0xfff) as u32).into(),
        nr,
        nr_target: at_least_one(nr_target),
        op,
        cmp,
    }))
}

// The names agree with the numbers.
const _: () = {
    assert!(libc::FUTEX_OP_SET as u32 == uapi::RFUTEX_OP_SET);
    assert!(libc::FUTEX_OP_ADD as u32 == uapi::RFUTEX_OP_ADD);
    assert!(libc::FUTEX_OP_OR as u32 == uapi::RFUTEX_OP_OR);
    assert!(libc::FUTEX_OP_ANDN as u32 == uapi::RFUTEX_OP_ANDN);
    assert!(libc::FUTEX_OP_XOR as u32 == uapi::RFUTEX_OP_XOR);
    assert!(libc::FUTEX_OP_CMP_EQ as u32 == uapi::RFUTEX_CMP_EQ);
    assert!(libc::FUTEX_OP_CMP_NE as u32 == uapi::RFUTEX_CMP_NE);
    assert!(libc::FUTEX_OP_CMP_LT as u32 == uapi::RFUTEX_CMP_LT);
    assert!(libc::FUTEX_OP_CMP_LE as u32 == uapi::RFUTEX_CMP_LE);
    assert!(libc::FUTEX_OP_CMP_GT as u32 == uapi::RFUTEX_CMP_GT);
    assert!(libc::FUTEX_OP_CMP_GE as u32 == uapi::RFUTEX_CMP_GE);
};
