// SPDX-License-Identifier: GPL-2.0
//! The trampolines, and the jumps to them.
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

use std::fmt;
use std::ops::Range;

use iced_x86::{
    BlockEncoder, BlockEncoderOptions, Code as Op, IcedError, Instruction, InstructionBlock,
    MemoryOperand, Mnemonic, Register,
};

use crate::function::ends_flow;
use crate::number::Number;
use crate::plan::{Plan, Redirect};
use crate::unwind::{Row, Tables};
use crate::window::LONG;

/// What a function may use below its stack pointer, in bytes.
const RED_ZONE: i64 = 128;

/// Where the first trampoline begins. Before it is the address of what they call.
const FIRST: usize = 16;

/// Why there is no code: a fault of this crate, or trampolines that are too far away.
#[derive(Debug)]
pub enum Error {
    /// The instructions cannot be encoded there.
    Encode(IcedError),
    /// The unwind tables cannot be written.
    Unwind(gimli::write::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => write!(f, "the trampolines cannot be encoded: {error}"),
            Self::Unwind(error) => write!(f, "the unwind tables cannot be written: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<IcedError> for Error {
    fn from(error: IcedError) -> Self {
        Self::Encode(error)
    }
}

impl From<gimli::write::Error> for Error {
    fn from(error: gimli::write::Error) -> Self {
        Self::Unwind(error)
    }
}

/// Bytes that replace those of the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Where the first one is.
    pub address: u64,
    /// The new ones.
    pub bytes: Vec<u8>,
}

/// What a [`Plan`] is made into.
#[derive(Clone, Debug, Default)]
pub struct Code {
    /// The trampolines: to be executable at the address for which they were made.
    pub trampolines: Vec<u8>,
    /// What replaces bytes of the library.
    pub patches: Vec<Patch>,
    /// The unwind tables of the trampolines, as `__register_frame` takes them.
    pub eh_frame: Vec<u8>,
}

impl Code {
    /// Makes the code for trampolines at `base`, which call the function at `entry`: it finds the
    /// registers as they are when a system call is made, and leaves them as the kernel would.
    pub fn new(plan: &Plan, base: u64, entry: u64) -> Result<Self, Error> {
        let mut code = Self::default();
        code.trampolines.extend(entry.to_le_bytes());
        code.trampolines.resize(FIRST, INT3);
        let mut tables = Tables::new();
        for redirect in &plan.redirects {
            let at = base + code.trampolines.len() as u64;
            let trampoline = Trampoline::new(redirect, &plan.wanted, base, at)?;
            tables.add(&(at..at + trampoline.bytes.len() as u64), &trampoline.rows);
            code.trampolines.extend(&trampoline.bytes);
            code.patch(redirect, trampoline.begin)?;
            if redirect.short.is_some() {
                let row = Row {
                    offset: 0,
                    original: redirect.moved[0].ip(),
                    depth: 0,
                };
                tables.add(&redirect.jump, &[row]);
            }
        }
        code.eh_frame = tables.finish()?;
        Ok(code)
    }

    /// The code of a hook: a jump at `jump` by way of a trampoline at `base` to the function at
    /// `to`, which returns to the caller of the hooked one.
    pub fn hook(jump: &Range<u64>, base: u64, to: u64) -> Result<Self, Error> {
        let mut code = Self::default();
        code.trampolines.extend(to.to_le_bytes());
        code.trampolines.resize(FIRST, INT3);
        let begin = base + FIRST as u64;
        let through = MemoryOperand::with_base_displ(Register::RIP, base as i64);
        let jumps = Instruction::with1(Op::Jmp_rm64, through)?;
        let encoded = encode(&[jumps], begin, BlockEncoderOptions::NONE)?;
        code.trampolines.extend(encoded.code_buffer);
        code.patches.push(Patch {
            address: jump.start,
            bytes: filled(jump_from(jump.start, begin)?, jump),
        });
        Ok(code)
    }

    /// Adds what replaces the bytes of `redirect`, whose trampoline begins at `begin`.
    fn patch(&mut self, redirect: &Redirect, begin: u64) -> Result<(), Error> {
        let jump = &redirect.jump;
        self.patches.push(Patch {
            address: jump.start,
            bytes: filled(jump_from(jump.start, begin)?, jump),
        });
        if let Some(short) = redirect.short {
            let jumps = Instruction::with_branch(Op::Jmp_rel8_64, jump.start)?;
            let options = BlockEncoderOptions::DONT_FIX_BRANCHES;
            self.patches.push(Patch {
                address: short,
                bytes: encode(&[jumps], short, options)?.code_buffer,
            });
        }
        Ok(())
    }
}

/// What stops who executes it.
const INT3: u8 = 0xcc;

/// The bytes of a jump from `from` to `to`, always of the same length.
fn jump_from(from: u64, to: u64) -> Result<Vec<u8>, Error> {
    let jump = Instruction::with_branch(Op::Jmp_rel32_64, to)?;
    let options = BlockEncoderOptions::DONT_FIX_BRANCHES;
    let bytes = encode(&[jump], from, options)?.code_buffer;
    debug_assert_eq!(bytes.len() as u64, LONG);
    Ok(bytes)
}

/// `bytes` with as many that nobody reaches as there are in `range` behind them.
fn filled(mut bytes: Vec<u8>, range: &Range<u64>) -> Vec<u8> {
    bytes.resize((range.end - range.start) as usize, INT3);
    bytes
}

fn encode(
    instructions: &[Instruction],
    at: u64,
    options: u32,
) -> Result<iced_x86::BlockEncoderResult, IcedError> {
    BlockEncoder::encode(64, InstructionBlock::new(instructions, at), options)
}

/// The code that replaces one `syscall` instruction.
struct Trampoline {
    bytes: Vec<u8>,
    /// Its first instruction that is executed.
    begin: u64,
    rows: Vec<Row>,
}

/// An instruction of a trampoline, the address in the library to which it corresponds, and how
/// much lower the stack pointer is there.
type Step = (Instruction, u64, i32);

/// Collects the instructions of a trampoline. Those that are new have addresses which nothing
/// else has, so that jumps among them can name them.
struct Steps {
    list: Vec<Step>,
    free: u64,
}

impl Steps {
    /// Adds a new instruction. Returns the address by which it can be jumped to.
    fn add(&mut self, mut instruction: Instruction, original: u64, depth: i32) -> u64 {
        let name = self.free;
        self.free += 1;
        instruction.set_ip(name);
        self.list.push((instruction, original, depth));
        name
    }
}

impl Trampoline {
    /// The one for `redirect` at `at`; what it calls is named at `slot`.
    fn new(redirect: &Redirect, wanted: &[u32], slot: u64, at: u64) -> Result<Self, Error> {
        let moved = &redirect.moved;
        let own = moved
            .iter()
            .position(|instruction| instruction.mnemonic() == Mnemonic::Syscall)
            .expect("a syscall is redirected");
        let (before, after) = (&moved[..own], &moved[own + 1..]);
        let (call, next) = (moved[own].ip(), moved[own].next_ip());
        let mut steps = Steps {
            list: Vec::new(),
            free: 1,
        };
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
        let instructions: Vec<_> = steps.list.iter().map(|step| step.0).collect();
        let options = BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
        let encoded = encode(&instructions, at, options)?;
        let offsets = encoded.new_instruction_offsets;
        let rows = steps.list.iter().zip(&offsets);
        // What the encoder made into several instructions goes on with the row before.
        let rows = rows.filter(|(_, offset)| **offset != u32::MAX);
        let rows = rows.map(|(&(_, original, depth), &offset)| Row {
            offset,
            original,
            depth,
        });
        Ok(Self {
            begin: at + u64::from(offsets[begin]),
            rows: rows.collect(),
            bytes: encoded.code_buffer,
        })
    }
}

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
