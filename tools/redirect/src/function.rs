// SPDX-License-Identifier: GPL-2.0
//! A stretch of code, instruction by instruction.

use std::ops::Range;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, OpKind};

use crate::image::Image;

/// The processor's mode.
const BITS: u32 = 64;

/// The instructions of `bytes`, which are at `address`. What is none is an invalid instruction of
/// one byte.
pub fn decode(bytes: &[u8], address: u64) -> Vec<Instruction> {
    Decoder::with_ip(BITS, bytes, address, DecoderOptions::NONE)
        .into_iter()
        .collect()
}

/// The stretches of code of which `image` consists: its functions, and what lies between them.
/// Each is decoded by itself, so that one that was not understood does not spoil the next.
pub fn stretches(image: &Image<'_>) -> Vec<Range<u64>> {
    let mut all = Vec::new();
    for segment in image.code() {
        let range = segment.range();
        let inside =
            |function: &&Range<u64>| range.contains(&function.start) && function.end <= range.end;
        let mut end = range.start;
        for function in image.functions().iter().filter(inside) {
            if function.start > end {
                all.push(end..function.start);
            }
            all.push(function.clone());
            end = function.end;
        }
        if end < range.end {
            all.push(end..range.end);
        }
    }
    all
}

/// True for a direct jump, conditional or not, and for a direct call.
pub fn is_direct_branch(instruction: &Instruction) -> bool {
    instruction.op_count() > 0
        && matches!(
            instruction.op0_kind(),
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64
        )
}

/// True if nothing that follows is reached through this instruction.
pub fn ends_flow(instruction: &Instruction) -> bool {
    matches!(
        instruction.flow_control(),
        FlowControl::UnconditionalBranch
            | FlowControl::IndirectBranch
            | FlowControl::Return
            | FlowControl::Exception
    )
}

/// True for what compilers put between functions and nobody executes.
pub fn is_padding(instruction: &Instruction) -> bool {
    matches!(
        instruction.code(),
        Code::Nopw | Code::Nopd | Code::Nop_rm16 | Code::Nop_rm32 | Code::Nop_rm64 | Code::Int3
    )
}
