// SPDX-License-Identifier: GPL-2.0
//! With which number a `syscall` instruction is reached.

use iced_x86::{
    FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

use crate::function::ends_flow;
use crate::targets::Targets;

/// What is known of the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// It is this one.
    Known(u32),
    /// It comes from somewhere else: the caller, memory, or a place from where the code is
    /// jumped to.
    Unknown,
}

/// The number with which the instruction at `index` is reached. What is looked at are the
/// instructions before it back to the first one that something jumps to, which is where anything
/// may be in the registers.
pub fn number(instructions: &[Instruction], index: usize, targets: &Targets) -> Number {
    let mut factory = InstructionInfoFactory::new();
    let mut holder = Register::RAX;
    for (at, instruction) in instructions[..index].iter().enumerate().rev() {
        if targets.contains(instructions[at + 1].ip())
            || ends_flow(instruction)
            || matches!(
                instruction.flow_control(),
                FlowControl::Call | FlowControl::IndirectCall | FlowControl::Interrupt
            )
            || instruction.is_invalid()
        {
            return Number::Unknown;
        }
        let used = factory.info(instruction).used_registers();
        let writes = used.iter().any(|used| {
            used.register().full_register() == holder
                && !matches!(
                    used.access(),
                    OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess
                )
        });
        if !writes {
            continue;
        }
        match given(instruction) {
            Given::Value(value) => return Number::Known(value),
            Given::Register(register) => holder = register,
            Given::Unknown => return Number::Unknown,
        }
    }
    Number::Unknown
}

/// What an instruction puts into the register that it writes to.
enum Given {
    Value(u32),
    Register(Register),
    Unknown,
}

/// Whether `instruction` gives the register that it writes to a value of which the lower 32 bits
/// are known, or those of another register. The kernel looks at no more of the number.
fn given(instruction: &Instruction) -> Given {
    let to = instruction.op0_register();
    let whole = to.is_gpr32() || to.is_gpr64();
    let same = instruction.op1_kind() == OpKind::Register && instruction.op1_register() == to;
    match instruction.mnemonic() {
        Mnemonic::Mov if whole => match instruction.op1_kind() {
            OpKind::Immediate32 | OpKind::Immediate64 | OpKind::Immediate32to64 => {
                Given::Value(instruction.immediate(1) as u32)
            }
            OpKind::Register if instruction.op1_register().is_gpr() => {
                Given::Register(instruction.op1_register().full_register())
            }
            _ => Given::Unknown,
        },
        Mnemonic::Xor | Mnemonic::Sub if whole && same => Given::Value(0),
        _ => Given::Unknown,
    }
}
