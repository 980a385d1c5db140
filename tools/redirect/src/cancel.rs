// SPDX-License-Identifier: GPL-2.0
//! The function in which the C library makes the calls that a thread can be cancelled in.
//!
//! From glibc 2.41 on it is one function. It looks at the bit which says that the thread is to be
//! cancelled, and then makes the call:
//!
//! ```text
//! start:  test byte [rdi], BIT
//!         jne (cancels the thread)
//!         mov rax, rsi            ; and so on for the arguments
//!         syscall
//! end:    ret
//! ```
//!
//! The handler of the signal that pthread_cancel(3) sends compares the address at which it has
//! interrupted the thread with `start` and `end`. Between them the call has not been made, or will
//! be restarted: the thread is cancelled. Elsewhere the handler returns, since the call may have
//! done something that must not be lost. So neither the `syscall` nor anything between it and the
//! look at the bit can be replaced. It is the calls of the function that are: they go to a
//! trampoline, which may call the function for another system call.
//!
//! Neither the function nor the two addresses have a name in a library without a symbol table. The
//! function is known by what it does.

use std::collections::BTreeMap;
use std::ops::Range;

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register,
};

use crate::function::{is_direct_branch, is_padding};
use crate::image::Image;
use crate::targets::Targets;
use crate::window::LONG;

/// The function, and what is replaced so that it is reached by way of a trampoline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancellable {
    /// Where it begins.
    pub function: u64,
    /// The calls of it, and the jumps to it: instructions of five bytes, by address.
    pub calls: Vec<Range<u64>>,
}

/// What is in a register, or where in memory something is: as it was when the function began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Register(Register),
    /// What is so many bytes above the stack pointer.
    Stack(u64),
    Other,
}

/// Where the system call has to find its number and its arguments: in this order.
const CALL: [Register; 7] = [
    Register::RAX,
    Register::RDI,
    Register::RSI,
    Register::RDX,
    Register::R10,
    Register::R8,
    Register::R9,
];

/// Where the function gets them, behind what it gets in `rdi`.
const GIVEN: [Value; 7] = [
    Value::Register(Register::RSI),
    Value::Register(Register::RDX),
    Value::Register(Register::RCX),
    Value::Register(Register::R8),
    Value::Register(Register::R9),
    Value::Stack(8),
    Value::Stack(16),
];

/// The stretch of such a function that has to stay as it is, from the look at the bit to the
/// `syscall`, which is the instruction with this index; `None` if it is no such function.
pub fn stretch(list: &[Instruction], targets: &Targets) -> Option<(Range<u64>, usize)> {
    let is_syscall = |instruction: &Instruction| instruction.mnemonic() == Mnemonic::Syscall;
    let syscall = list.iter().position(is_syscall)?;
    let (before, after) = (&list[..syscall], &list[syscall + 1..]);
    let returns = after.first()?.code() == Code::Retnq;
    if !returns || !after[1..].iter().all(is_padding) {
        return None;
    }
    let is_look = |pair: &[Instruction]| looks(&pair[0]) && leaves(&pair[1], list);
    let look = before.windows(2).position(is_look)?;
    let moves = before[..look].iter().chain(&before[look + 2..]);
    let mut values = Values::default();
    for instruction in moves {
        values.follow(instruction)?;
    }
    let stays = list[look].ip()..list[syscall].next_ip();
    let arguments = CALL.map(|register| values.of(register));
    (arguments == GIVEN && !targets.inside(&stays)).then_some((stays, syscall))
}

/// True for `test byte [rdi], BIT`.
fn looks(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Test
        && instruction.op0_kind() == OpKind::Memory
        && instruction.memory_base() == Register::RDI
        && instruction.memory_index() == Register::None
        && instruction.memory_displacement64() == 0
        && instruction.segment_prefix() == Register::None
        && matches!(
            instruction.op1_kind(),
            OpKind::Immediate8 | OpKind::Immediate32
        )
        && instruction.immediate(1).is_power_of_two()
}

/// True for a `jne` to somewhere outside the function.
fn leaves(instruction: &Instruction, list: &[Instruction]) -> bool {
    let inside = |to| list[0].ip() <= to && list.last().is_some_and(|last| to < last.next_ip());
    instruction.mnemonic() == Mnemonic::Jne
        && is_direct_branch(instruction)
        && !inside(instruction.near_branch_target())
}

/// What is in registers, and what on the stack was overwritten.
#[derive(Default)]
struct Values {
    registers: BTreeMap<Register, Value>,
    written: Vec<u64>,
}

impl Values {
    fn of(&self, register: Register) -> Value {
        let value = self.registers.get(&register);
        value.copied().unwrap_or(Value::Register(register))
    }

    /// Follows what an instruction does; `None` if that is more than to move something.
    fn follow(&mut self, instruction: &Instruction) -> Option<()> {
        if instruction.mnemonic() == Mnemonic::Endbr64 || is_padding(instruction) {
            return Some(());
        }
        (instruction.mnemonic() == Mnemonic::Mov).then_some(())?;
        let stack = |instruction: &Instruction| {
            let plain = instruction.memory_base() == Register::RSP
                && instruction.memory_index() == Register::None
                && instruction.segment_prefix() == Register::None;
            plain.then(|| instruction.memory_displacement64())
        };
        match (instruction.op0_kind(), instruction.op1_kind()) {
            (OpKind::Register, from) => {
                let to = instruction.op0_register();
                let full = to.full_register();
                (to.is_gpr() && full != Register::RSP).then_some(())?;
                let value = match from {
                    OpKind::Register => self.of(instruction.op1_register().full_register()),
                    OpKind::Memory => match stack(instruction) {
                        Some(at) if !self.overlaps(at) => Value::Stack(at),
                        _ => Value::Other,
                    },
                    _ => Value::Other,
                };
                // The kernel looks at no more of the number than its lower half.
                let whole = to.is_gpr64() || to == Register::EAX && from == OpKind::Register;
                let value = if whole { value } else { Value::Other };
                self.registers.insert(full, value);
            }
            (OpKind::Memory, _) => self.written.push(stack(instruction)?),
            _ => return None,
        }
        Some(())
    }

    /// Whether any of the eight bytes there may have been overwritten.
    fn overlaps(&self, at: u64) -> bool {
        const WORD: u64 = 8;
        self.written
            .iter()
            .any(|&written| at < written + WORD && written < at + WORD)
    }
}

/// All calls of a function, and jumps to it; `None` if there is none, or one that cannot be made to
/// go somewhere else: a jump of two bytes, or one under a condition; one through a pointer; or one
/// that may be no instruction at all, outside the functions that unwind tables describe.
pub fn calls(image: &Image<'_>, function: u64, targets: &Targets) -> Option<Vec<Range<u64>>> {
    let mut calls = Vec::new();
    for range in crate::function::stretches(image) {
        let is_function = image
            .functions()
            .binary_search_by_key(&range.start, |f| f.start);
        let bytes = image.bytes(&range).unwrap_or_default();
        let mut decoder = Decoder::with_ip(64, bytes, range.start, DecoderOptions::NONE);
        let mut instruction = Instruction::default();
        while decoder.can_decode() {
            decoder.decode_out(&mut instruction);
            if !goes_to(&instruction, image, function) {
                continue;
            }
            let place = instruction.ip()..instruction.next_ip();
            let can_be = matches!(instruction.code(), Code::Call_rel32_64 | Code::Jmp_rel32_64)
                && place.end - place.start == LONG
                && !targets.inside(&place);
            (can_be && is_function.is_ok()).then(|| calls.push(place))?;
        }
    }
    (!calls.is_empty()).then_some(calls)
}

/// Whether an instruction goes on in the function, by itself or through a pointer to it.
fn goes_to(instruction: &Instruction, image: &Image<'_>, function: u64) -> bool {
    if is_direct_branch(instruction) {
        return instruction.near_branch_target() == function;
    }
    let through = matches!(
        instruction.flow_control(),
        FlowControl::IndirectCall | FlowControl::IndirectBranch
    );
    let pointer = through && instruction.is_ip_rel_memory_operand();
    pointer
        && image
            .from(instruction.ip_rel_memory_address())
            .and_then(|bytes| bytes.first_chunk())
            .is_some_and(|&bytes| u64::from_le_bytes(bytes) == function)
}
