// SPDX-License-Identifier: GPL-2.0
//! The function in which threads are cancelled.

use super::kept::is_the_same_everywhere;
use super::trampolines::{found, instructions, mnemonics, placed, target};
use super::*;
use crate::cancel::Cancellable;
use crate::code::Target;
use iced_x86::Mnemonic;

/// glibc 2.41's `__syscall_cancel_arch`, as it is in Debian's: the look at the bit, and a jump from
/// there to whatever cancels threads, which is so far behind it.
fn look(away: i32) -> Vec<u8> {
    let jne = [&[0x0f, 0x85][..], &away.to_le_bytes()].concat();
    // mov eax, [rdi]; test byte [rdi], 8
    [&[0x8b, 0x07, 0xf6, 0x07, 0x08][..], &jne].concat()
}

/// And what it does then.
const MOVES: &[u8] = &[
    0x49, 0x89, 0xfb, // mov r11, rdi
    0x48, 0x89, 0xf0, // mov rax, rsi
    0x48, 0x89, 0xd7, // mov rdi, rdx
    0x48, 0x89, 0xce, // mov rsi, rcx
    0x4c, 0x89, 0xc2, // mov rdx, r8
    0x4d, 0x89, 0xca, // mov r10, r9
    0x4c, 0x8b, 0x44, 0x24, 0x08, // mov r8, [rsp + 8]
    0x4c, 0x8b, 0x4c, 0x24, 0x10, // mov r9, [rsp + 16]
    0x4c, 0x89, 0x5c, 0x24, 0x08, // mov [rsp + 8], r11
];

/// endbr64
const MARK: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];

/// Where the first of the functions of a test ends, and the second begins.
const SECOND: u64 = CODE + 64;

/// The function with this code, and behind it one that is `calls` and cancels threads.
fn library(function: &[u8], calls: &[u8]) -> Vec<u8> {
    let mut all = function.to_vec();
    assert!(all.len() <= 64);
    all.resize(64, 0x90);
    [&all[..], calls, RET].concat()
}

/// A call, or a jump, of the first function, that is so far behind the second's beginning.
fn to_first(operation: u8, at: u64) -> Vec<u8> {
    let next = SECOND + at + 5;
    let distance = CODE.wrapping_sub(next) as u32;
    [&[operation][..], &distance.to_le_bytes()].concat()
}

const CALL_FIRST: u8 = 0xe8;
const JUMP_FIRST: u8 = 0xe9;

fn image_of_both<'a>(code: &'a [u8], entries: &[u64]) -> Image<'a> {
    let functions = vec![CODE..SECOND, SECOND..CODE + code.len() as u64];
    image_of(code, &[], functions, entries)
}

/// The whole function.
fn whole() -> Vec<u8> {
    [&look(100)[..], MOVES, SYSCALL, RET].concat()
}

/// What becomes of the `syscall` in this function, and of what calls it once.
#[track_caller]
fn fate_in(function: &[u8]) -> Fate {
    let code = library(function, &to_first(CALL_FIRST, 0));
    let plan = Plan::new(&image_of_both(&code, &[]), &WANTED);
    assert_eq!(plan.refused().count(), 0, "{plan:x?}");
    let is_one = fate(&plan) == Fate::Cancellable;
    assert_eq!(plan.cancellables.len(), usize::from(is_one));
    assert_eq!(plan.redirects.len(), usize::from(!is_one));
    assert_eq!(plan.summary(0).cancellable, u64::from(is_one));
    fate(&plan)
}

#[test]
fn its_calls_are_replaced_and_nothing_of_it() {
    let calls = [
        to_first(CALL_FIRST, 0),
        NOP.to_vec(),
        to_first(JUMP_FIRST, 6),
    ]
    .concat();
    let bytes = library(&whole(), &calls);
    // Where it is entered, and the address behind the `syscall`, with which addresses are compared.
    let end = CODE + whole().len() as u64 - 1;
    let image = image_of_both(&bytes, &[CODE, end]);
    let plan = Plan::new(&image, &WANTED);
    let [site] = plan.sites[..] else {
        panic!("{plan:x?}")
    };
    assert_eq!((site.address, site.fate), (end - 2, Fate::Cancellable));
    let replaced = [SECOND..SECOND + 5, SECOND + 6..SECOND + 11];
    let expected = Cancellable {
        function: CODE,
        calls: replaced.to_vec(),
    };
    assert_eq!(plan.cancellables, [expected]);
    let code = Code::new(&plan, None, &image, 0).expect("code");
    is_the_same_everywhere(&plan, &code, &image);
    let code = placed(&code);
    let [call, jump] = &code.patches[..] else {
        panic!("{code:?}")
    };
    // They stay what they are: where a call returns to is what a shadow stack has.
    let list = instructions(&code);
    for (patch, operation, place) in [
        (call, CALL_FIRST, &replaced[0]),
        (jump, JUMP_FIRST, &replaced[1]),
    ] {
        assert_eq!((patch.address, patch.bytes.len()), (place.start, 5));
        assert_eq!(patch.bytes[0], operation);
        assert_eq!(target(patch), list[0].ip());
    }
}

#[test]
fn the_number_is_compared() {
    let bytes = library(&whole(), &to_first(CALL_FIRST, 0));
    let image = image_of_both(&bytes, &[]);
    let code = Code::new(&Plan::new(&image, &WANTED), None, &image, 0).expect("code");
    let code = placed(&code);
    let list = instructions(&code);
    use Mnemonic::{Cmp, Je, Jmp, Lea};
    assert_eq!(mnemonics(&list), [Cmp, Je, Cmp, Je, Jmp, Lea, Jmp]);
    for (index, number) in WANTED.into_iter().enumerate() {
        assert_eq!(list[2 * index].immediate32(), number);
        assert_eq!(list[2 * index + 1].near_branch_target(), list[5].ip());
    }
    assert_eq!(list[4].near_branch_target(), CODE);
    assert_eq!(list[5].ip_rel_memory_address(), CODE);
    assert_eq!(list[6].ip_rel_memory_address(), BASE + 16);
    // Wherever a thread is in it, it is about to begin the function.
    for instruction in &list {
        for address in [instruction.ip(), instruction.next_ip() - 1] {
            assert_eq!(found(&code, address), (CODE, 0, true), "{instruction:?}");
        }
    }
}

#[test]
fn functions_that_do_the_same() {
    assert_eq!(fate_in(&whole()), Fate::Cancellable);
    // With a mark for indirect jumps; and with a look at another bit, of all of the word.
    assert_eq!(fate_in(&[MARK, &whole()].concat()), Fate::Cancellable);
    let test: &[u8] = &[0xf7, 0x07, 0, 1, 0, 0, 0x0f, 0x85, 100, 0, 0, 0];
    let other = [test, MOVES, SYSCALL, RET].concat();
    assert_eq!(fate_in(&other), Fate::Cancellable);
    // mov eax, esi: the upper half of the number says nothing.
    let mut half = whole();
    let at = half
        .windows(3)
        .position(|three| three == [0x48, 0x89, 0xf0]);
    half.splice(at.expect("it")..at.expect("it") + 3, [0x89, 0xf0]);
    assert_eq!(fate_in(&half), Fate::Cancellable);
}

#[test]
fn functions_that_do_something_else() {
    let begin = look(100);
    for (code, why) in [
        ([MOVES, SYSCALL, RET].concat(), "it looks at nothing"),
        (
            [&look(10)[..], MOVES, SYSCALL, RET].concat(),
            "it goes on in itself",
        ),
        (
            [&begin[..], SYSCALL, RET].concat(),
            "the arguments are elsewhere",
        ),
        (
            [&begin[..], MOVES, MOVE, SYSCALL, RET].concat(),
            "another argument is something else",
        ),
        (
            [&begin[..], MOVES, &[0x48, 0x01, 0xf0], SYSCALL, RET].concat(),
            "it adds",
        ),
        (
            [&begin[..], MOVES, SYSCALL, MOVE, RET].concat(),
            "it does not return at once",
        ),
        (
            [MOVES, &begin, SYSCALL, RET].concat(),
            "what it looks at is an argument by then",
        ),
        (
            // mov [rsp + 16], r11, before the last argument is read
            [
                &begin[..],
                &[0x4c, 0x89, 0x5c, 0x24, 0x10],
                MOVES,
                SYSCALL,
                RET,
            ]
            .concat(),
            "an argument is overwritten",
        ),
        (
            [
                &begin[..],
                &[0x4c, 0x89, 0x5c, 0x24, 0x0c],
                MOVES,
                SYSCALL,
                RET,
            ]
            .concat(),
            "two arguments are overwritten in part",
        ),
    ] {
        assert_eq!(fate_in(&code), Fate::Jump, "{why}");
    }
}

/// What cannot be replaced: then the instruction is one as others are.
#[test]
fn calls_that_cannot_be_replaced() {
    let fate = |calls: &[u8], entries: &[u64]| {
        let code = library(&whole(), calls);
        let plan = Plan::new(&image_of_both(&code, entries), &WANTED);
        assert_eq!(plan.sites.len(), 1);
        plan.sites[0].fate
    };
    let call = to_first(CALL_FIRST, 0);
    assert_eq!(fate(&call, &[]), Fate::Cancellable);
    assert_eq!(fate(NOP, &[]), Fate::Jump, "nobody calls it");
    assert_eq!(fate(&call, &[SECOND + 1]), Fate::Jump, "it is entered");
    // jmp, of two bytes; and je, of six
    let short = [&call[..], &[0xeb, (-71_i8) as u8]].concat();
    assert_eq!(fate(&short, &[]), Fate::Jump);
    let distance = (CODE.wrapping_sub(SECOND + 11) as u32).to_le_bytes();
    let under_condition = [&call[..], &[0x0f, 0x84], &distance].concat();
    assert_eq!(fate(&under_condition, &[]), Fate::Jump);
    // A call through a pointer, which is in the code here.
    let pointer = [&call[..], &[0xff, 0x15, 1, 0, 0, 0, 0xc3]].concat();
    let pointer = [&pointer[..], &CODE.to_le_bytes()].concat();
    assert_eq!(fate(&pointer, &[]), Fate::Jump);
    // Something jumps to behind the look at the bit.
    assert_eq!(fate(&call, &[CODE + 11]), Fate::Jump);
    // The call is in no function.
    let code = library(&whole(), &call);
    let first = CODE..SECOND;
    let plan = Plan::new(&image_of(&code, &[], vec![first], &[]), &WANTED);
    assert_eq!(plan.sites[0].fate, Fate::Jump);
}

/// What is kept of a call that is replaced has to be one.
#[test]
fn what_is_replaced_is_a_call() {
    let bytes = library(&whole(), &to_first(CALL_FIRST, 0));
    let image = image_of_both(&bytes, &[]);
    let code = Code::new(&Plan::new(&image, &WANTED), None, &image, 0).expect("code");
    assert!(matches!(code.jumps[..], [ref jump] if matches!(jump.target, Target::Replaced(_))));
    let kept = |code: &Code| Code::from_bytes(&code.to_bytes(&Summary::default())?);
    assert!(kept(&code).is_some());
    for bytes in [&[0xeb, 0, 0, 0, 0][..], &[0xe8, 0, 0, 0], &[0xe8; 6]] {
        let mut code = code.clone();
        code.jumps[0].was = bytes.to_vec();
        assert_eq!(kept(&code), None, "{bytes:x?}");
    }
}
