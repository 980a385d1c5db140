// SPDX-License-Identifier: GPL-2.0
//! The code of trampolines, and their unwind tables.

use super::*;
use crate::code::FIRST;
use crate::function::decode;
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EndianSlice, LittleEndian, Operation, RegisterRule,
    UnwindContext, UnwindSection, X86_64,
};
use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register, RflagsBits};

/// The code for one function at `CODE`.
#[track_caller]
fn code(bytes: &[u8]) -> Placed {
    let plan = plan(bytes);
    assert_eq!(plan.refused().count(), 0);
    let image = image(bytes, &[], &[]);
    placed(&Code::new(&plan, None, &image, 0).expect("code"))
}

#[track_caller]
pub fn placed(code: &Code) -> Placed {
    code.clone().place(BASE, 0, &SLOTS).expect("near enough")
}

/// The instructions of the trampolines, behind the addresses that they go to.
pub fn instructions(code: &Placed) -> Vec<Instruction> {
    let mut list = decode(&code.bytes[FIRST..code.tables], BASE + FIRST as u64);
    // What fills up.
    while list
        .last()
        .is_some_and(|last| last.mnemonic() == Mnemonic::Int3)
    {
        list.pop();
    }
    list
}

/// Where the jump of a patch goes.
#[track_caller]
pub fn target(patch: &Patch) -> u64 {
    decode(&patch.bytes, patch.address)[0].near_branch_target()
}

pub fn mnemonics(list: &[Instruction]) -> Vec<Mnemonic> {
    list.iter().map(Instruction::mnemonic).collect()
}

#[test]
fn a_known_number() {
    let code = code(&[MOVE, FUTEX, SYSCALL, RET].concat());
    let list = instructions(&code);
    use Mnemonic::{Call, Jmp, Lea, Mov};
    assert_eq!(mnemonics(&list), [Mov, Lea, Call, Lea, Jmp]);
    assert_eq!(list[0].immediate32(), 202);
    // The red zone is left alone.
    assert_eq!(list[1].memory_displacement64() as i64, -128);
    assert_eq!(list[2].ip_rel_memory_address(), BASE);
    assert_eq!(list[3].memory_displacement64(), 128);
    assert_eq!(list[4].near_branch_target(), CODE + 10);
    let [patch] = &code.patches[..] else {
        panic!("{code:?}")
    };
    assert_eq!((patch.address, target(patch)), (CODE + 3, list[0].ip()));
    // Nobody gets to the rest of what was there.
    assert_eq!(patch.bytes[5..], [0xcc; 2]);
}

#[test]
fn an_unknown_number() {
    let code = code(&[FROM_EDI, MOVE, SYSCALL, RET].concat());
    let list = instructions(&code);
    use Mnemonic::{Call, Jecxz, Jmp, Lea, Mov, Nop, Syscall};
    let expected = [
        Lea, Call, Lea, Jmp, Mov, Lea, Jecxz, Lea, Jecxz, Syscall, Nop, Jmp,
    ];
    assert_eq!(mnemonics(&list), expected);
    assert_eq!(target(&code.patches[0]), list[4].ip());
    for (index, number) in [(5, 202), (7, 449)] {
        assert_eq!(list[index].memory_displacement64() as i64, -number);
        assert_eq!(list[index + 1].near_branch_target(), list[0].ip());
    }
    assert_eq!(list[3].near_branch_target(), list[10].ip());
    assert_eq!(list[11].near_branch_target(), CODE + 7);
}

/// A call that is not redirected finds all registers and flags as they were, but those that the
/// kernel does not keep.
#[test]
fn comparing_changes_nothing() {
    let code = code(&[FROM_EDI, MOVE, SYSCALL, RET].concat());
    let list = instructions(&code);
    let mut factory = InstructionInfoFactory::new();
    for instruction in &list[5..9] {
        assert_eq!(
            instruction.rflags_modified(),
            RflagsBits::NONE,
            "{instruction:?}"
        );
        for used in factory.info(instruction).used_registers() {
            let writes = !matches!(
                used.access(),
                OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess
            );
            let register = used.register().full_register();
            assert!(!writes || register == Register::RCX, "{instruction:?}");
        }
        assert!(
            factory
                .info(instruction)
                .used_memory()
                .iter()
                .all(|used| used.access() == OpAccess::NoMemAccess)
        );
    }
}

/// What is relative to where an instruction is stays what it was.
#[test]
fn moved_instructions_mean_what_they_meant() {
    // lea rdi, [CODE + 0x107]; syscall
    let before: &[u8] = &[0x48, 0x8d, 0x3d, 0, 1, 0, 0];
    let code_ = code(&[before, SYSCALL, RET].concat());
    let list = instructions(&code_);
    let lea = list.iter().find(|instruction| {
        instruction.is_ip_rel_memory_operand() && instruction.op0_register() == Register::RDI
    });
    assert_eq!(lea.expect("the lea").ip_rel_memory_address(), CODE + 0x107);
    // syscall; test rax, rax; jne to the call
    let after: &[u8] = &[0x48, 0x85, 0xc0, 0x75, 0xf2];
    let code_ = code(&[CALL, NOP, FUTEX, CALL, SYSCALL, after, CALL, RET].concat());
    let list = instructions(&code_);
    assert_eq!(code_.patches[0].address, CODE + 16);
    let code_ = code(&[CALL, SYSCALL, &[0x75, 0xf7], NOP, CALL, RET].concat());
    let branches = instructions(&code_);
    let jump = branches
        .iter()
        .find(|instruction| instruction.mnemonic() == Mnemonic::Jne);
    assert_eq!(jump.expect("the jump").near_branch_target(), CODE);
    assert!(!list.is_empty());
}

/// One that ends in the trampoline does not jump back.
#[test]
fn a_return_is_moved() {
    let code = code(&[CALL, SYSCALL, RET, &[0x66, 0x90], MOVE, RET].concat());
    let list = instructions(&code);
    assert_eq!(list[list.len() - 1].mnemonic(), Mnemonic::Ret);
}

#[test]
fn a_short_jump_and_a_long_one() {
    let begin = [&[0x75, 7, 0x74, 7], FUTEX, SYSCALL, MOVE, RET].concat();
    let code = code(&[&begin[..], &[0x90; 5], MOVE, RET].concat());
    let [short, long] = &code.patches[..] else {
        panic!("{code:?}")
    };
    let pad = CODE + begin.len() as u64;
    assert_eq!((short.address, short.bytes.len()), (CODE + 9, 2));
    assert_eq!(target(short), pad);
    assert_eq!((long.address, long.bytes.len()), (pad, 5));
    assert_eq!(target(long), instructions(&code)[4].ip());
}

#[test]
fn trampolines_that_are_too_far_away() {
    let bytes = [MOVE, FUTEX, SYSCALL, RET].concat();
    let code = Code::new(&plan(&bytes), None, &image(&bytes, &[], &[]), 0).expect("code");
    let place = |base, bias| code.clone().place(base, bias, &SLOTS);
    assert!(place(BASE + (1 << 40), 0).is_err());
    assert!(place(BASE, 1 << 40).is_err());
    assert!(place(BASE + (1 << 40), 1 << 40).is_ok());
    assert!(place(BASE + (1 << 31), 0).is_err());
    assert!(place(BASE + (1 << 30), 0).is_ok());
}

#[test]
fn a_hook_jumps_through_its_slot() {
    let range = CODE..CODE + 12;
    let image = image(&[0xc3; 12], &[], &[]);
    let code = Code::new(&Plan::default(), Some(&range), &image, 0).expect("code");
    assert!(!code.is_empty());
    let code = placed(&code);
    let list = instructions(&code);
    assert_eq!(mnemonics(&list), [Mnemonic::Jmp]);
    assert_eq!(list[0].ip_rel_memory_address(), BASE + 8);
    assert_eq!(target(&code.patches[0]), list[0].ip());
    assert_eq!(code.patches[0].bytes.len(), 12);
}

/// What an unwinder finds for an instruction of a trampoline: the address to go on with, how much
/// lower the stack is, and whether it takes the address as it is.
#[track_caller]
pub fn found(code: &Placed, address: u64) -> (u64, i64, bool) {
    let mut frames = EhFrame::new(&code.bytes[code.tables..], LittleEndian);
    frames.set_address_size(8);
    let bases = BaseAddresses::default().set_eh_frame(BASE + code.tables as u64);
    let entry = frames
        .fde_for_address(&bases, address, EhFrame::cie_from_offset)
        .unwrap_or_else(|error| panic!("{address:#x}: {error}"));
    let mut context = UnwindContext::new();
    let row = entry
        .unwind_info_for_address(&frames, &bases, &mut context, address)
        .expect("a row");
    let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else {
        panic!("{row:?}")
    };
    assert_eq!(register, X86_64::RSP);
    let Some(RegisterRule::ValExpression(expression)) = row.register(X86_64::RA) else {
        panic!("{row:?}")
    };
    let expression = expression.get(&frames).expect("an expression");
    let mut operations = expression.operations(entry.cie().encoding());
    let first: Option<Operation<EndianSlice<'_, LittleEndian>>> =
        operations.next().expect("an operation");
    let Some(Operation::Address { address }) = first else {
        panic!("{first:?}")
    };
    (address, offset, entry.is_signal_trampoline())
}

#[test]
fn unwinding_from_every_instruction() {
    let code = code(&[FROM_EDI, MOVE, SYSCALL, RET].concat());
    let list = instructions(&code);
    let (before, call, next) = (CODE + 2, CODE + 5, CODE + 7);
    let expected = [
        (call, 0),
        (next, 128),
        (next, 128),
        (next, 0),
        (before, 0),
        (call, 0),
        (call, 0),
        (call, 0),
        (call, 0),
        (call, 0),
        (next, 0),
        (next, 0),
    ];
    assert_eq!(list.len(), expected.len());
    for (instruction, (original, depth)) in list.iter().zip(expected) {
        let row = (original, depth, true);
        assert_eq!(found(&code, instruction.ip()), row, "{instruction:?}");
        assert_eq!(
            found(&code, instruction.next_ip() - 1),
            row,
            "{instruction:?}"
        );
    }
}

#[test]
fn unwinding_from_a_pad() {
    let begin = [&[0x75, 7, 0x74, 7], FUTEX, SYSCALL, MOVE, RET].concat();
    let code = code(&[&begin[..], &[0x90; 5], MOVE, RET].concat());
    let pad = CODE + begin.len() as u64;
    assert_eq!(found(&code, pad), (CODE + 9, 0, true));
    // `__register_frame` wants to find the end.
    assert!(code.bytes.ends_with(&[0; 4]));
}
