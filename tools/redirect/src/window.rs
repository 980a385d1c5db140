// SPDX-License-Identifier: GPL-2.0
//! What is overwritten to redirect a `syscall` instruction.
//!
//! A jump over any distance has five bytes. It takes the place of the instruction and of as many
//! neighbours as have to go with it, which all work in the trampoline then. Where that cannot be,
//! the two bytes become a short jump to a [`Pad`]: five bytes nearby that nobody executes, which
//! have the long jump.

use std::ops::Range;

use iced_x86::{Code, FlowControl, Instruction, Mnemonic};

use crate::function::{ends_flow, is_direct_branch, is_padding};
use crate::targets::Targets;

/// The length of a jump over any distance, in bytes.
pub const LONG: u64 = 5;

/// How many instructions may go with a `syscall`. With the shortest there are, it takes three.
const MOST: usize = 4;

/// What is overwritten: whole instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The instructions that go to the trampoline.
    pub moved: Range<usize>,
    /// The bytes. Those behind the last instruction are padding that stays where it is.
    pub bytes: Range<u64>,
}

/// Why an instruction cannot be redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Something jumps to where the neighbours are.
    Entered,
    /// A neighbour does not work elsewhere, or there is none.
    Neighbours,
}

/// The best window for the `syscall` at `index` of `instructions`: the one that moves the fewest
/// neighbours, and rather those before it, so that a thread which sleeps in a system call returns
/// to an instruction that is still there.
pub fn window(
    instructions: &[Instruction],
    index: usize,
    targets: &Targets,
    taken: &[Range<u64>],
) -> Result<Window, Why> {
    let mut why = Why::Neighbours;
    for more in 0..=MOST {
        for before in (0..=more.min(index)).rev() {
            let moved = index - before..index + 1 + (more - before);
            match fits(instructions, index, &moved, targets, taken) {
                Ok(window) => return Ok(window),
                Err(Some(Why::Entered)) => why = Why::Entered,
                Err(_) => (),
            }
        }
    }
    Err(why)
}

/// The window that moves these instructions. An error without a reason is that there are too few
/// bytes, or no such instructions.
fn fits(
    instructions: &[Instruction],
    index: usize,
    moved: &Range<usize>,
    targets: &Targets,
    taken: &[Range<u64>],
) -> Result<Window, Option<Why>> {
    let list = instructions.get(moved.clone()).ok_or(None)?;
    let start = list[0].ip();
    let last = &list[list.len() - 1];
    let mut end = last.next_ip();
    if end - start < LONG && ends_flow(last) {
        end = padded(&instructions[moved.end..], start + LONG, end, targets).ok_or(None)?;
    }
    if end - start < LONG {
        return Err(None);
    }
    for (at, instruction) in list.iter().enumerate() {
        let (own, is_last) = (moved.start + at == index, at + 1 == list.len());
        if !own && !may_move(instruction) || ends_flow(instruction) && !is_last {
            return Err(Some(Why::Neighbours));
        }
    }
    let bytes = start..end;
    if targets.inside(&bytes) {
        return Err(Some(Why::Entered));
    }
    let overlaps = |other: &Range<u64>| other.start < bytes.end && bytes.start < other.end;
    if taken.iter().any(overlaps) {
        return Err(Some(Why::Neighbours));
    }
    Ok(Window {
        moved: moved.clone(),
        bytes,
    })
}

/// The end of the padding that begins at `end`, if it reaches `wanted` and nothing jumps there.
fn padded(rest: &[Instruction], wanted: u64, end: u64, targets: &Targets) -> Option<u64> {
    let mut at = end;
    for instruction in rest {
        if at >= wanted {
            break;
        }
        let good = is_padding(instruction) && instruction.ip() == at && !targets.contains(at);
        if !good {
            return None;
        }
        at = instruction.next_ip();
    }
    (at >= wanted).then_some(at)
}

/// True for an instruction that does in the trampoline what it does where it is. The encoder
/// takes care of addresses that are relative to it.
fn may_move(instruction: &Instruction) -> bool {
    if instruction.is_invalid() {
        return false;
    }
    let flow = match instruction.flow_control() {
        // The short forms of a loop have no long one.
        FlowControl::ConditionalBranch => instruction.is_jcc_short_or_near(),
        FlowControl::Next
        | FlowControl::UnconditionalBranch
        | FlowControl::IndirectBranch
        | FlowControl::Return => true,
        // A call would return to the trampoline, in which no unwind table finds its landing pad.
        FlowControl::Call
        | FlowControl::IndirectCall
        | FlowControl::Interrupt
        | FlowControl::XbeginXabortXend
        | FlowControl::Exception => false,
    };
    // It marks where indirect jumps may go.
    flow && !matches!(
        instruction.mnemonic(),
        Mnemonic::Endbr64 | Mnemonic::Endbr32
    ) && !(is_direct_branch(instruction)
        && instruction.op0_kind() == iced_x86::OpKind::NearBranch16)
}

/// Bytes that nobody executes, with room for a long jump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pad(pub u64);

/// The pads among the instructions of a stretch of code: padding that comes after something that
/// ends the flow, and to which nothing jumps.
pub fn pads(instructions: &[Instruction], targets: &Targets) -> Vec<Pad> {
    let mut pads = Vec::new();
    let mut dead = true;
    let mut run: Option<Range<u64>> = None;
    for instruction in instructions {
        let at = instruction.ip();
        let padding = is_padding(instruction)
            && dead
            && !targets.contains(at)
            && !targets.inside(&(at..instruction.next_ip()));
        if padding {
            let run = run.get_or_insert(at..at);
            run.end = instruction.next_ip();
        } else {
            pads.extend(split(run.take()));
            dead = ends_flow(instruction) && instruction.code() != Code::INVALID;
        }
    }
    pads.extend(split(run));
    pads
}

/// The pads in a run of padding.
fn split(run: Option<Range<u64>>) -> Vec<Pad> {
    let Some(run) = run else { return Vec::new() };
    let starts = (run.start..).step_by(LONG as usize);
    starts
        .take_while(|start| start + LONG <= run.end)
        .map(Pad)
        .collect()
}

/// Whether a short jump of two bytes at `from` reaches `pad`.
pub fn reaches(from: u64, pad: &Pad) -> bool {
    let distance = pad.0.wrapping_sub(from + 2) as i64;
    i8::try_from(distance).is_ok()
}
