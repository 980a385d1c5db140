// SPDX-License-Identifier: GPL-2.0
//! Each rule of what may be overwritten, on code made by hand; and the C library that is here.

mod cancel;
mod kept;
mod libraries;
mod trampolines;

use super::*;
use crate::plan::Redirect;
use std::ops::Range;

/// Where the code of a test is.
const CODE: u64 = 0x10_0000;

/// Where its data is.
const DATA: u64 = 0x20_0000;

/// Where its trampolines are.
const BASE: u64 = 0x30_0000;

/// What they go to.
const SLOTS: Slots = Slots {
    call: 0x1122_3344_5566_7788,
    hook: 0x8877_6655_4433_2211,
    cancellable: 0x1234_5678,
};

/// The calls that are redirected.
const WANTED: [u32; 2] = [202, 449];

// Instructions of which the code of the tests is made.
const SYSCALL: &[u8] = &[0x0f, 0x05];
const FUTEX: &[u8] = &[0xb8, 202, 0, 0, 0];
const GETPID: &[u8] = &[0xb8, 39, 0, 0, 0];
const RET: &[u8] = &[0xc3];
const NOP: &[u8] = &[0x90];
/// `mov rdi, rbx`
const MOVE: &[u8] = &[0x48, 0x89, 0xdf];
/// `call` of the next instruction.
const CALL: &[u8] = &[0xe8, 0, 0, 0, 0];

/// A library of this code, which is one function, with data and places where it is entered.
fn image<'a>(code: &'a [u8], data: &'a [u8], entries: &[u64]) -> Image<'a> {
    let function = CODE..CODE + code.len() as u64;
    image_of(code, data, vec![function], entries)
}

fn image_of<'a>(
    code: &'a [u8],
    data: &'a [u8],
    functions: Vec<Range<u64>>,
    entries: &[u64],
) -> Image<'a> {
    let segments = vec![
        Segment {
            address: CODE,
            bytes: code,
            executable: true,
        },
        Segment {
            address: DATA,
            bytes: data,
            executable: false,
        },
    ];
    Image::new(segments, functions, entries.to_vec())
}

/// The plan for code that is one function and nothing else.
fn plan(code: &[u8]) -> Plan {
    Plan::new(&image(code, &[], &[]), &WANTED)
}

/// The one redirection of a plan.
#[track_caller]
fn only(plan: &Plan) -> &Redirect {
    let [redirect] = &plan.redirects[..] else {
        panic!("{plan:?}")
    };
    redirect
}

/// What becomes of the one instruction.
#[track_caller]
fn fate(plan: &Plan) -> Fate {
    let [site] = plan.sites[..] else {
        panic!("{plan:?}")
    };
    site.fate
}

/// A `mov` of the number in edi to eax.
const FROM_EDI: &[u8] = &[0x89, 0xf8];

#[test]
fn other_calls_are_left_alone() {
    let plan = plan(&[GETPID, SYSCALL, RET].concat());
    assert_eq!(fate(&plan), Fate::Other);
    assert_eq!(plan.sites[0].number, Number::Known(39));
    assert_eq!(plan.sites[0].address, CODE + 5);
    assert!(plan.redirects.is_empty());
    assert_eq!(plan.refused().count(), 0);
}

#[test]
fn the_number_and_the_instruction_make_room() {
    let plan = plan(&[MOVE, FUTEX, SYSCALL, RET].concat());
    assert_eq!(fate(&plan), Fate::Jump);
    assert_eq!(plan.sites[0].number, Number::Known(202));
    // What returns from a system call still returns to where an instruction begins.
    assert_eq!(only(&plan).jump, CODE + 3..CODE + 10);
    assert_eq!(only(&plan).back, CODE + 10);
}

#[test]
fn numbers_that_are_known() {
    for (code, number) in [
        (FUTEX, Number::Known(202)),
        // mov rax, 202
        (&[0x48, 0xc7, 0xc0, 202, 0, 0, 0], Number::Known(202)),
        // mov ebx, 202; mov eax, ebx
        (&[0xbb, 202, 0, 0, 0, 0x89, 0xd8], Number::Known(202)),
        // xor eax, eax
        (&[0x31, 0xc0, 0x90, 0x90], Number::Known(0)),
        // What comes between does not matter: mov edx, 1
        (&[0xb8, 202, 0, 0, 0, 0xba, 1, 0, 0, 0], Number::Known(202)),
        (&[0x89, 0xf8, 0x90, 0x90], Number::Unknown),
        // mov al, 202
        (&[0x90, 0x90, 0xb0, 202], Number::Unknown),
        // mov eax, [rdi]
        (&[0x90, 0x90, 0x8b, 0x07], Number::Unknown),
        // xor eax, ebx
        (&[0x90, 0x90, 0x31, 0xd8], Number::Unknown),
        // Another call, whose result is there afterwards.
        (&[0xb8, 39, 0, 0, 0, 0xe8, 0, 0, 0, 0], Number::Unknown),
        // mov eax, 39; cmovne eax, ebx
        (&[0xb8, 39, 0, 0, 0, 0x0f, 0x45, 0xc3], Number::Unknown),
        // Nothing at all.
        (&[0x90, 0x90, 0x90], Number::Unknown),
    ] {
        let plan = plan(&[code, SYSCALL, RET].concat());
        assert_eq!(plan.sites[0].number, number, "{code:x?}");
    }
}

/// Whoever jumps to behind the number brings another one.
#[test]
fn a_number_ends_where_something_jumps_to() {
    // jne to the mov rdi
    let code = [&[0x75, 5], GETPID, MOVE, SYSCALL, RET].concat();
    assert_eq!(plan(&code).sites[0].number, Number::Unknown);
    let without = [NOP, NOP, GETPID, MOVE, SYSCALL, RET].concat();
    assert_eq!(plan(&without).sites[0].number, Number::Known(39));
}

#[test]
fn neighbours_that_something_jumps_to() {
    // jne to the syscall: what is behind it is overwritten.
    let code = [&[0x75, 5], FUTEX, SYSCALL, MOVE, RET].concat();
    assert_eq!(only(&plan(&code)).jump, CODE + 7..CODE + 12);
    // jne to what is behind it: what is before.
    let code = [&[0x75, 7], FUTEX, SYSCALL, MOVE, RET].concat();
    assert_eq!(only(&plan(&code)).jump, CODE + 2..CODE + 9);
    // Both.
    let code = [&[0x75, 7, 0x74, 7], FUTEX, SYSCALL, MOVE, RET].concat();
    assert_eq!(fate(&plan(&code)), Fate::Refused(Why::Entered));
    assert_eq!(plan(&code).refused().count(), 1);
}

/// Into the middle of an instruction, as to behind a prefix.
#[test]
fn jumps_into_an_instruction() {
    let code = [&[0x75, 2], FUTEX, SYSCALL, MOVE, RET].concat();
    assert_eq!(only(&plan(&code)).jump, CODE + 7..CODE + 12);
}

#[test]
fn neighbours_that_are_entered_from_outside() {
    let code = [MOVE, FUTEX, SYSCALL, MOVE, RET].concat();
    for entry in [CODE + 8, CODE + 5] {
        let plan = Plan::new(&image(&code, &[], &[entry]), &WANTED);
        assert_eq!(only(&plan).jump, CODE + 8..CODE + 13);
    }
    let plan = Plan::new(&image(&code, &[], &[CODE + 8, CODE + 10]), &WANTED);
    assert_eq!(fate(&plan), Fate::Refused(Why::Entered));
    // Where a window begins, it may be entered.
    let plan = Plan::new(&image(&code, &[], &[CODE + 3]), &WANTED);
    assert_eq!(only(&plan).jump, CODE + 3..CODE + 10);
}

#[test]
fn neighbours_that_cannot_be_moved() {
    // A call returns to behind it.
    let code = [CALL, SYSCALL, CALL, RET].concat();
    assert_eq!(fate(&plan(&code)), Fate::Refused(Why::Neighbours));
    // A place for indirect jumps: endbr64.
    let code = [&[0xf3, 0x0f, 0x1e, 0xfa], SYSCALL, CALL, RET].concat();
    assert_eq!(fate(&plan(&code)), Fate::Refused(Why::Neighbours));
    // A loop has no long form, and int3 is somebody's.
    for other in [&[0xe2, 0xfe][..], &[0xcc]] {
        let code = [CALL, SYSCALL, other, MOVE, RET].concat();
        assert_eq!(
            fate(&plan(&code)),
            Fate::Refused(Why::Neighbours),
            "{other:x?}"
        );
    }
    // Another function begins behind it.
    let code = [CALL, SYSCALL, MOVE, RET].concat();
    let end = CODE + 7;
    let functions = vec![CODE..end, end..CODE + code.len() as u64];
    let plan = Plan::new(&image_of(&code, &[], functions, &[]), &WANTED);
    assert_eq!(fate(&plan), Fate::Refused(Why::Neighbours));
}

/// Where a call returns to may be the beginning of what is overwritten, and no other part.
#[test]
fn what_calls_return_to() {
    let code = [CALL, MOVE, SYSCALL, RET].concat();
    assert_eq!(only(&plan(&code)).jump, CODE + 5..CODE + 10);
    let code = [CALL, SYSCALL, MOVE, RET].concat();
    assert_eq!(only(&plan(&code)).jump, CODE + 5..CODE + 10);
}

/// Padding behind the end of a function makes room.
#[test]
fn padding_behind_a_return() {
    let code = [CALL, SYSCALL, RET, &[0x66, 0x90], MOVE, RET].concat();
    let redirected = plan(&code);
    assert_eq!(only(&redirected).jump, CODE + 5..CODE + 10);
    assert_eq!(only(&redirected).moved.len(), 2);
    // Not if something jumps there.
    let plan = Plan::new(&image(&code, &[], &[CODE + 8]), &WANTED);
    assert_eq!(fate(&plan), Fate::Refused(Why::Neighbours));
}

/// A short jump reaches padding that has room for a long one.
#[test]
fn a_pad_nearby() {
    // jne to the syscall and to what is behind it; then a return and five bytes of padding.
    let begin = [&[0x75, 7, 0x74, 7], FUTEX, SYSCALL, MOVE, RET].concat();
    let padding: &[u8] = &[0x0f, 0x1f, 0x44, 0, 0];
    let code = [&begin[..], padding, MOVE, RET].concat();
    let redirected = plan(&code);
    assert_eq!(fate(&redirected), Fate::Pad);
    let pad = CODE + begin.len() as u64;
    assert_eq!(only(&redirected).jump, pad..pad + 5);
    assert_eq!(only(&redirected).short, Some(CODE + 9));
    assert_eq!(redirected.refused().count(), 0);
    // Something jumps there.
    let plan = Plan::new(&image(&code, &[], &[pad]), &WANTED);
    assert_eq!(fate(&plan), Fate::Refused(Why::Entered));
    // It is too far away.
    let far = [&begin[..], &[0xc3; 128], padding, MOVE, RET].concat();
    assert_eq!(fate(&self::plan(&far)), Fate::Refused(Why::Entered));
    // It is executed: what comes before goes on into it.
    let mut executed = code.clone();
    executed[pad as usize - CODE as usize - 1] = 0x90;
    assert_eq!(fate(&self::plan(&executed)), Fate::Refused(Why::Entered));
}

/// Two that need a pad do not get the same one.
#[test]
fn pads_are_used_once() {
    let begin = [&[0x75, 7, 0x74, 7], FUTEX, SYSCALL, MOVE, RET].concat();
    let padding = [0x90; 5];
    let code = [&begin[..], &begin, &padding, MOVE, RET].concat();
    let fates: Vec<_> = plan(&code).sites.iter().map(|site| site.fate).collect();
    assert_eq!(fates, [Fate::Pad, Fate::Refused(Why::Entered)]);
    let code = [&begin[..], &begin, &padding, &padding, MOVE, RET].concat();
    let fates: Vec<_> = plan(&code).sites.iter().map(|site| site.fate).collect();
    assert_eq!(fates, [Fate::Pad, Fate::Pad]);
}

/// Two instructions so close to each other that there is room for one jump only.
#[test]
fn windows_do_not_overlap() {
    let code = [CALL, SYSCALL, MOVE, SYSCALL, CALL, RET].concat();
    let plan = plan(&code);
    let fates: Vec<_> = plan.sites.iter().map(|site| site.fate).collect();
    assert_eq!(fates, [Fate::Jump, Fate::Refused(Why::Neighbours)]);
    assert_eq!(only(&plan).jump, CODE + 5..CODE + 10);
}

/// Bytes that are a part of another instruction: mov ebx, 0x050f
#[test]
fn bytes_that_are_no_instruction() {
    let plan = plan(&[&[0xbb, 0x0f, 0x05, 0, 0], RET].concat());
    assert!(plan.sites.is_empty() && plan.outside.is_empty());
}

#[test]
fn bytes_outside_functions_are_left_alone() {
    let code = [RET, FUTEX, SYSCALL, RET].concat();
    let first = CODE..CODE + 1;
    let plan = Plan::new(&image_of(&code, &[], vec![first], &[]), &WANTED);
    assert!(plan.sites.is_empty());
    assert_eq!(plan.outside, [CODE + 6]);
}

/// A function that is not understood may be data.
#[test]
fn bytes_that_are_no_instructions() {
    let plan = plan(&[FUTEX, SYSCALL, RET, &[0x06]].concat());
    assert_eq!(fate(&plan), Fate::Refused(Why::NotUnderstood));
}

/// jmp rax
const COMPUTED: &[u8] = &[0xff, 0xe0];

/// lea rdx, [DATA], as the first instruction
fn lea_data(at: u64) -> Vec<u8> {
    let offset = (DATA - (at + 7)) as u32;
    [&[0x48, 0x8d, 0x15][..], &offset.to_le_bytes()].concat()
}

#[test]
fn computed_jumps_of_which_nothing_is_known() {
    let code = [COMPUTED, FUTEX, SYSCALL, RET].concat();
    assert_eq!(fate(&plan(&code)), Fate::Refused(Why::Computed));
    // One through a pointer at a fixed place goes to another library.
    let code = [&[0xff, 0x25, 0, 0, 0, 0], FUTEX, SYSCALL, RET].concat();
    assert_eq!(fate(&plan(&code)), Fate::Jump);
}

/// A table that counts from itself, as for a `switch`.
#[test]
fn tables_of_jumps() {
    let code = [&lea_data(CODE)[..], COMPUTED, FUTEX, SYSCALL, MOVE, RET].concat();
    let entry = |target: u64| (target.wrapping_sub(DATA) as u32).to_le_bytes();
    let data = [entry(CODE + 9), entry(CODE + 14), [0xff; 4]].concat();
    let plan = Plan::new(&image(&code, &data, &[]), &WANTED);
    assert_eq!(only(&plan).jump, CODE + 14..CODE + 19);
    let data = [entry(CODE + 9), [0xff; 4]].concat();
    let plan = Plan::new(&image(&code, &data, &[]), &WANTED);
    assert_eq!(only(&plan).jump, CODE + 9..CODE + 16);
}

/// A table that counts from a label, as for a `goto` of GNU C.
#[test]
fn tables_that_count_from_a_label() {
    // lea rcx, [the mov eax]
    let label: &[u8] = &[0x48, 0x8d, 0x0d, 2, 0, 0, 0];
    let code = [
        &lea_data(CODE)[..],
        label,
        COMPUTED,
        FUTEX,
        SYSCALL,
        MOVE,
        RET,
    ]
    .concat();
    let data = [5_u32.to_le_bytes(), u32::MAX.to_le_bytes()].concat();
    let plan = Plan::new(&image(&code, &data, &[]), &WANTED);
    assert_eq!(only(&plan).jump, CODE + 21..CODE + 26);
}

/// A table of addresses: jmp [DATA + 8 * rax]
#[test]
fn tables_of_addresses() {
    let jump = [&[0xff, 0x24, 0xc5][..], &(DATA as u32).to_le_bytes()].concat();
    let code = [&jump[..], FUTEX, SYSCALL, MOVE, RET].concat();
    let data = [(CODE + 12).to_le_bytes(), [0; 8]].concat();
    let plan = Plan::new(&image(&code, &data, &[]), &WANTED);
    assert_eq!(only(&plan).jump, CODE + 12..CODE + 17);
}

#[test]
fn what_may_be_hooked() {
    let hook = |code: &[u8], entries: &[u64]| {
        let code = [code, &[0xc3; 32]].concat();
        hook(&image(&code, &[], entries), CODE)
    };
    // ret; nopw
    let good: &[u8] = &[0xc3, 0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0];
    assert_eq!(hook(good, &[]), Some(CODE..CODE + 12));
    assert_eq!(hook(good, &[CODE + 3]), None);
    assert_eq!(
        hook(&[&[0xf3, 0x0f, 0x1e, 0xfa], good].concat(), &[]),
        Some(CODE + 4..CODE + 16)
    );
    assert_eq!(hook(&[0xc3, 0x90, 0x90, 0x90, 0xc3], &[]), None);
    assert_eq!(hook(&[0x90, 0x90, 0x90, 0x90, 0x90, 0xc3], &[]), None);
    // A debugger's breakpoint is there.
    assert_eq!(hook(&[0xcc, 0x90, 0x90, 0x90, 0x90], &[]), None);
}

#[test]
fn the_number_of_edi_is_looked_at() {
    let plan = plan(&[FROM_EDI, MOVE, SYSCALL, RET].concat());
    assert_eq!(plan.sites[0].number, Number::Unknown);
    assert_eq!(only(&plan).jump, CODE + 2..CODE + 7);
}
