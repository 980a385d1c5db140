// SPDX-License-Identifier: GPL-2.0
//! One trampoline.
//!
//! A trampoline for an instruction whose number is known calls the library that redirects, and one
//! for an unknown number looks at it first, without touching the flags or any register beside
//! those which a system call clobbers:
//!
//! ```text
//! ours:   lea rsp, [rsp - 128]    ; the red zone
//!         call [slot]
//!         lea rsp, [rsp + 128]
//!         jmp after
//! begin:  (instructions before)
//!         lea ecx, [rax - 202]
//!         jecxz ours              ; and so on for the other numbers
//!         syscall
//! after:  (instructions after)
//!         jmp back
//! ```
//!
//! It has the same length wherever it is, and what depends on that are distances of four bytes,
//! each of which is found where the encoder says that it is.

use std::mem::offset_of;

use iced_x86::{
    BlockEncoder, BlockEncoderOptions, BlockEncoderResult, Code as Op, ConstantOffsets, IcedError,
    Instruction, InstructionBlock, MemoryOperand, Mnemonic, Register,
};

use crate::code::{Error, Slots};
use crate::fixup::{Fixup, Kind};
use crate::function::{ends_flow, is_direct_branch};
use crate::number::Number;
use crate::plan::Redirect;
use crate::unwind::Row;

/// What a function may use below its stack pointer, in bytes.
const RED_ZONE: i64 = 128;

/// Encodes instructions as if they were at `at`, each as it is, so that it has the same length
/// wherever that is. With the offset of each, and where in it are the numbers that it has.
fn encode(instructions: &[Instruction], at: u64) -> Result<BlockEncoderResult, IcedError> {
    let options = BlockEncoderOptions::DONT_FIX_BRANCHES
        | BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS
        | BlockEncoderOptions::RETURN_CONSTANT_OFFSETS;
    BlockEncoder::encode(64, InstructionBlock::new(instructions, at), options)
}

/// A jump through the slot that is `slot` bytes behind the first, `at` so many bytes behind that.
pub fn through_slot(slot: usize, at: u32) -> Result<Vec<u8>, Error> {
    let slot = MemoryOperand::with_base_displ(Register::RIP, slot as i64);
    let jump = Instruction::with1(Op::Jmp_rm64, slot)?;
    Ok(encode(&[jump], at.into())?.code_buffer)
}

/// The code that replaces one `syscall` instruction, or calls of one function.
pub struct Trampoline {
    pub bytes: Vec<u8>,
    /// Its first instruction that is executed: so many bytes behind the first slot.
    pub begin: u32,
    /// What in it is relative to where it is. The addresses are those of the image.
    pub fixups: Vec<Fixup>,
    /// What it corresponds to. The same goes for its addresses.
    pub rows: Vec<Row>,
}

/// An instruction of a trampoline, the address in the library to which it corresponds, and how
/// much lower the stack pointer is there.
type Step = (Instruction, u64, i32);

/// Collects the instructions of a trampoline. Those that are new have addresses which nothing
/// else has, so that jumps among them can name them.
struct Steps {
    list: Vec<Step>,
    free: u64,
    /// Where the first slot is while they are encoded.
    slots: u64,
}

impl Steps {
    fn new(slots: u64) -> Self {
        Self {
            list: Vec::new(),
            free: 1,
            slots,
        }
    }

    /// Adds a new instruction. Returns the address by which it can be jumped to.
    fn add(&mut self, mut instruction: Instruction, original: u64, depth: i32) -> u64 {
        let name = self.free;
        self.free += 1;
        instruction.set_ip(name);
        self.list.push((instruction, original, depth));
        name
    }

    /// The address in the library that an instruction names by how far away that is, if it does.
    /// A moved one may also name another that is moved, and a new one a slot.
    fn named(&self, instruction: &Instruction) -> Option<u64> {
        let slots = self.slots..self.slots + size_of::<Slots>() as u64;
        let is_slot = |address: &u64| instruction.ip() < self.free && slots.contains(address);
        let named = if is_direct_branch(instruction) {
            instruction.near_branch_target()
        } else if instruction.is_ip_rel_memory_operand() {
            Some(instruction.ip_rel_memory_address()).filter(|address| !is_slot(address))?
        } else {
            return None;
        };
        let is_step = self.list.iter().any(|(step, ..)| step.ip() == named);
        (!is_step).then_some(named)
    }
}

/// Where in an instruction the distance is that it names something by: four bytes.
fn distance_in(instruction: &Instruction, offsets: &ConstantOffsets) -> Result<u32, Error> {
    let (place, size) = match is_direct_branch(instruction) {
        true => (offsets.immediate_offset(), offsets.immediate_size()),
        false => (offsets.displacement_offset(), offsets.displacement_size()),
    };
    match size == Kind::Relative.size() {
        true => Ok(place as u32),
        false => Err(Error::Place(instruction.ip())),
    }
}

impl Trampoline {
    /// The one for `redirect`, `at` so many bytes behind the first slot, which names what it calls.
    pub fn new(redirect: &Redirect, wanted: &[u32], at: u32) -> Result<Self, Error> {
        // It is encoded for a place near the instructions, and the slot for one where none is.
        let slot = redirect.back + AWAY;
        let moved = &redirect.moved;
        let own = moved
            .iter()
            .position(|instruction| instruction.mnemonic() == Mnemonic::Syscall)
            .expect("a syscall is redirected");
        let (before, after) = (&moved[..own], &moved[own + 1..]);
        let (call, next) = (moved[own].ip(), moved[own].next_ip());
        let mut steps = Steps::new(slot);
        let asks = redirect.number == Number::Unknown;
        let mut begin = 0;
        // The name of the place where both ways meet, which has to be known before it is there:
        // behind what is added for the call, and the pairs that compare, and the `syscall`.
        const CALL: u64 = 4;
        let meet = CALL + 2 * wanted.len() as u64 + 2;
        if asks {
            call_out(&mut steps, call, next, slot)?;
            steps.add(Instruction::with_branch(Op::Jmp_rel32_64, meet)?, next, 0);
            begin = steps.list.len();
        }
        steps.list.extend(
            before
                .iter()
                .map(|&instruction| (as_near(instruction), instruction.ip(), 0)),
        );
        if asks {
            for &number in wanted {
                let less = MemoryOperand::with_base_displ(Register::RAX, -i64::from(number));
                let lea = Instruction::with2(Op::Lea_r32_m, Register::ECX, less)?;
                steps.add(lea, call, 0);
                steps.add(Instruction::with_branch(Op::Jecxz_rel8_64, 1)?, call, 0);
            }
            steps.add(Instruction::with(Op::Syscall), call, 0);
            // Somewhere to meet, whatever comes after.
            let met = steps.add(Instruction::with(Op::Nopd), next, 0);
            debug_assert_eq!(met, meet);
        } else {
            call_out(&mut steps, call, next, slot)?;
        }
        steps.list.extend(
            after
                .iter()
                .map(|&instruction| (as_near(instruction), instruction.ip(), 0)),
        );
        if !moved.last().is_some_and(ends_flow) {
            let back = Instruction::with_branch(Op::Jmp_rel32_64, redirect.back)?;
            steps.add(back, redirect.back, 0);
        }
        Self::encoded(&steps, begin, at)
    }

    /// The one for calls of a function in which threads are cancelled (see `cancel.rs`). `at` is as
    /// above. It may change whatever such a function may:
    ///
    /// ```text
    /// begin:  cmp esi, 202            ; and so on for the other numbers
    ///         je ours
    ///         jmp function
    /// ours:   lea rax, [function]
    ///         jmp [slot]
    /// ```
    ///
    /// An unwinder goes on as if the thread were about to begin the function.
    pub fn of_function(function: u64, wanted: &[u32], at: u32) -> Result<Self, Error> {
        let slots = function + AWAY;
        let mut steps = Steps::new(slots);
        // The name of what is behind the pairs that compare, and the jump.
        let ours = steps.free + 2 * wanted.len() as u64 + 1;
        for &number in wanted {
            let compare = Instruction::with2(Op::Cmp_rm32_imm32, Register::ESI, number)?;
            steps.add(compare, function, 0);
            steps.add(
                Instruction::with_branch(Op::Je_rel32_64, ours)?,
                function,
                0,
            );
        }
        let jump = Instruction::with_branch(Op::Jmp_rel32_64, function)?;
        steps.add(jump, function, 0);
        let there = MemoryOperand::with_base_displ(Register::RIP, function as i64);
        let lea = Instruction::with2(Op::Lea_r64_m, Register::RAX, there)?;
        let named = steps.add(lea, function, 0);
        debug_assert_eq!(named, ours);
        let slot = slots + offset_of!(Slots, cancellable) as u64;
        let through = MemoryOperand::with_base_displ(Register::RIP, slot as i64);
        steps.add(Instruction::with1(Op::Jmp_rm64, through)?, function, 0);
        Self::encoded(&steps, 0, at)
    }

    /// The code that consists of `steps`, `at` so many bytes behind the first slot. The one that is
    /// executed first is that with the index `begin`.
    fn encoded(steps: &Steps, begin: usize, at: u32) -> Result<Self, Error> {
        let place = steps.slots + u64::from(at);
        let instructions: Vec<_> = steps.list.iter().map(|step| step.0).collect();
        let encoded = encode(&instructions, place)?;
        let offsets = encoded.new_instruction_offsets;
        let length = encoded.code_buffer.len() as u32;
        let rows = steps.list.iter().zip(&offsets);
        let rows = rows.map(|(&(_, original, depth), &offset)| Row {
            offset,
            original,
            depth,
        });
        let mut fixups = Vec::new();
        for (index, instruction) in instructions.iter().enumerate() {
            let Some(named) = steps.named(instruction) else {
                continue;
            };
            let within = distance_in(instruction, &encoded.constant_offsets[index])?;
            let distance_at = offsets[index] + within;
            // What the processor adds to is the end of the instruction, and not this place.
            let end = offsets.get(index + 1).copied().unwrap_or(length);
            let fixup = Fixup {
                at: at + distance_at,
                kind: Kind::Relative,
                to: named.wrapping_sub((end - distance_at).into()),
            };
            // For the place for which it was encoded, that is what the encoder has put there.
            let mut again = encoded.code_buffer.clone();
            let here = Fixup {
                at: distance_at,
                ..fixup
            };
            here.apply(&mut again, place, 0)?;
            if again != encoded.code_buffer {
                return Err(Error::Place(instruction.ip()));
            }
            fixups.push(fixup);
        }
        Ok(Self {
            begin: at + offsets[begin],
            fixups,
            rows: rows.collect(),
            bytes: encoded.code_buffer,
        })
    }
}

/// How far behind the instructions a slot is while they are encoded.
const AWAY: u64 = 4096;

/// Adds the call of the library that redirects. `call` and `next` are the addresses of the
/// `syscall` instruction and of the one after it.
fn call_out(steps: &mut Steps, call: u64, next: u64, slot: u64) -> Result<(), Error> {
    let moved = |by| {
        let to = MemoryOperand::with_base_displ(Register::RSP, by);
        Instruction::with2(Op::Lea_r64_m, Register::RSP, to)
    };
    let through = MemoryOperand::with_base_displ(Register::RIP, slot as i64);
    steps.add(moved(-RED_ZONE)?, call, 0);
    // A thread that is in the call is where one would be that sleeps in the kernel.
    steps.add(
        Instruction::with1(Op::Call_rm64, through)?,
        next,
        RED_ZONE as i32,
    );
    steps.add(moved(RED_ZONE)?, next, RED_ZONE as i32);
    Ok(())
}

/// The instruction with room for any distance, if it is a short jump.
fn as_near(mut instruction: Instruction) -> Instruction {
    instruction.as_near_branch();
    instruction
}
