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
//!
//! The code is made once, and kept. So it says nothing of where it is: the places in it that depend
//! on that are known (see `fixup.rs`), and filled by [`Code::place`], for which neither a decoder
//! nor an encoder is needed.

use std::fmt;
use std::ops::Range;

use iced_x86::{
    BlockEncoder, BlockEncoderOptions, Code as Op, ConstantOffsets, IcedError, Instruction,
    InstructionBlock, MemoryOperand, Mnemonic, Register,
};

use crate::fixup::{Fixup, Kind, distance};
use crate::function::{ends_flow, is_direct_branch};
use crate::image::Image;
use crate::number::Number;
use crate::plan::{Plan, Redirect};
use crate::unwind::{Row, Start, Tables};
use crate::window::LONG;

/// What a function may use below its stack pointer, in bytes.
const RED_ZONE: i64 = 128;

/// Before the first trampoline are the addresses of what they call, and of what the hook jumps to.
pub const SLOTS: usize = 2;

/// The size of a slot.
const SLOT: usize = size_of::<u64>();

/// Where the first trampoline begins.
pub const FIRST: usize = SLOTS * SLOT;

/// Unwind tables begin at a multiple of this.
const ALIGNED: usize = 8;

/// Why there is no code: a fault of this crate, or trampolines that are too far away.
#[derive(Debug)]
pub enum Error {
    /// The instructions cannot be encoded.
    Encode(IcedError),
    /// An instruction has no place for the distance of what it names.
    Place(u64),
    /// The unwind tables cannot be written.
    Unwind(gimli::write::Error),
    /// What is replaced is not in the library.
    Outside(u64),
    /// The trampolines are too far from the library.
    Far,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => write!(f, "the trampolines cannot be encoded: {error}"),
            Self::Place(address) => {
                write!(
                    f,
                    "the instruction at {address:#x} does not reach far enough"
                )
            }
            Self::Unwind(error) => write!(f, "the unwind tables cannot be written: {error}"),
            Self::Outside(address) => write!(f, "it has no code at {address:#x}"),
            Self::Far => write!(f, "the trampolines are too far away"),
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

/// Where a jump in the library goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// So many bytes behind the beginning of the trampolines: a jump of five bytes.
    Trampoline(u32),
    /// To an address of the library's file, nearby: a jump of two bytes.
    Near(u64),
}

/// What replaces bytes of the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jump {
    /// Where the first one is, in the library's file.
    pub address: u64,
    /// The bytes that are there.
    pub was: Vec<u8>,
    /// Where the jump goes to.
    pub target: Target,
}

/// What a [`Plan`] is made into: the code of a library, wherever that and the trampolines are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Code {
    /// The trampolines, and behind them, their unwind tables.
    pub(crate) bytes: Vec<u8>,
    /// Where the tables begin.
    pub(crate) tables: usize,
    pub(crate) fixups: Vec<Fixup>,
    /// By address.
    pub(crate) jumps: Vec<Jump>,
}

/// Bytes that replace those of the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Where the first one is.
    pub address: u64,
    /// The new ones.
    pub bytes: Vec<u8>,
}

/// The [`Code`] for a certain place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The trampolines, and behind them, their unwind tables: to be executable at the address for
    /// which they were made.
    pub bytes: Vec<u8>,
    /// Where in these the unwind tables begin, as `__register_frame` takes them.
    pub tables: usize,
    /// What replaces bytes of the library, by address.
    pub patches: Vec<Patch>,
}

impl Code {
    /// Makes the code for `image`, which is `bias` above the addresses of its file. `hook` is what
    /// the jump of a hook overwrites, see [`hook`](crate::hook).
    pub fn new(
        plan: &Plan,
        hook: Option<&Range<u64>>,
        image: &Image<'_>,
        bias: u64,
    ) -> Result<Self, Error> {
        let mut code = Self::default();
        code.bytes.resize(FIRST, INT3);
        let mut tables = Tables::new();
        for redirect in &plan.redirects {
            let trampoline = Trampoline::new(redirect, &plan.wanted, code.bytes.len() as u32)?;
            let file = |address: u64| address.wrapping_sub(bias);
            let rows: Vec<_> = trampoline
                .rows
                .iter()
                .map(|row| Row {
                    original: file(row.original),
                    ..*row
                })
                .collect();
            let start = Start::Trampolines(code.bytes.len() as u32);
            tables.add(start, trampoline.bytes.len() as u32, &rows);
            code.bytes.extend(&trampoline.bytes);
            code.fixups
                .extend(trampoline.fixups.iter().map(|fixup| Fixup {
                    to: file(fixup.to),
                    ..*fixup
                }));
            let jump = &redirect.jump;
            code.jump(image, bias, jump, Target::Trampoline(trampoline.begin))?;
            if let Some(short) = redirect.short {
                let to = file(jump.start);
                code.jump(image, bias, &(short..short + SHORT), Target::Near(to))?;
                let row = Row {
                    offset: 0,
                    original: file(redirect.moved[0].ip()),
                    depth: 0,
                };
                tables.add(Start::Library(to), (jump.end - jump.start) as u32, &[row]);
            }
        }
        if let Some(jump) = hook {
            let begin = code.bytes.len() as u32;
            code.bytes.extend(&through_slot(begin)?);
            code.jump(image, bias, jump, Target::Trampoline(begin))?;
        }
        code.jumps.sort_unstable_by_key(|jump| jump.address);
        code.bytes
            .resize(code.bytes.len().next_multiple_of(ALIGNED), INT3);
        code.tables = code.bytes.len();
        let (bytes, fixups) = tables.finish(code.tables as u32)?;
        code.bytes.extend(&bytes);
        code.fixups.extend(&fixups);
        Ok(code)
    }

    /// Adds a jump in place of `range`.
    fn jump(
        &mut self,
        image: &Image<'_>,
        bias: u64,
        range: &Range<u64>,
        target: Target,
    ) -> Result<(), Error> {
        let address = range.start.wrapping_sub(bias);
        let was = image.bytes(range).ok_or(Error::Outside(address))?.to_vec();
        self.jumps.push(Jump {
            address,
            was,
            target,
        });
        Ok(())
    }

    /// True if there is nothing to redirect, nor to hook.
    pub fn is_empty(&self) -> bool {
        self.jumps.is_empty()
    }

    /// How many bytes the trampolines and their tables have.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it is for this library: what is replaced is code, and has the bytes that it had.
    pub fn is_for(&self, image: &Image<'_>, bias: u64) -> bool {
        self.jumps.iter().all(|jump| {
            let start = jump.address.wrapping_add(bias);
            image.is_code(start)
                && image
                    .from(start)
                    .is_some_and(|bytes| bytes.starts_with(&jump.was))
        })
    }

    /// Makes the bytes for trampolines at `base` and a library that is `bias` above the addresses
    /// of its file. The trampolines call the function at `entry`, which finds the registers as they
    /// are when a system call is made, and leaves them as the kernel would. The hook jumps to the
    /// function at `hook`, which returns to the caller of the hooked one.
    pub fn place(self, base: u64, bias: u64, entry: u64, hook: u64) -> Result<Placed, Error> {
        let mut bytes = self.bytes;
        for (place, slot) in bytes.chunks_exact_mut(SLOT).zip([entry, hook]) {
            place.copy_from_slice(&slot.to_le_bytes());
        }
        for fixup in &self.fixups {
            fixup.apply(&mut bytes, base, bias)?;
        }
        let patches = self.jumps.iter().map(|jump| jump.place(base, bias));
        Ok(Placed {
            patches: patches.collect::<Result<_, _>>()?,
            tables: self.tables,
            bytes,
        })
    }
}

/// The length of a jump to what is near, in bytes.
pub const SHORT: u64 = 2;

/// How the two jumps begin.
const JMP_REL32: u8 = 0xe9;
const JMP_REL8: u8 = 0xeb;

impl Jump {
    /// How many bytes the jump itself has.
    pub fn length(&self) -> u64 {
        match self.target {
            Target::Trampoline(_) => LONG,
            Target::Near(_) => SHORT,
        }
    }

    /// The bytes of the jump, and as many behind it that nobody reaches as there were.
    fn place(&self, base: u64, bias: u64) -> Result<Patch, Error> {
        let address = self.address.wrapping_add(bias);
        let next = address.wrapping_add(self.length());
        let mut bytes = Vec::with_capacity(self.was.len());
        match self.target {
            Target::Trampoline(at) => {
                bytes.push(JMP_REL32);
                bytes.extend(distance(next, base.wrapping_add(at.into()))?.to_le_bytes());
            }
            Target::Near(to) => {
                let distance = distance(next, to.wrapping_add(bias))?;
                bytes.push(JMP_REL8);
                bytes.extend(
                    i8::try_from(distance)
                        .map_err(|_| Error::Far)?
                        .to_le_bytes(),
                );
            }
        }
        bytes.resize(self.was.len(), INT3);
        Ok(Patch { address, bytes })
    }
}

/// What stops who executes it.
const INT3: u8 = 0xcc;

/// Encodes instructions as if they were at `at`, each as it is, so that it has the same length
/// wherever that is. With the offset of each, and where in it are the numbers that it has.
fn encode(
    instructions: &[Instruction],
    at: u64,
) -> Result<iced_x86::BlockEncoderResult, IcedError> {
    let options = BlockEncoderOptions::DONT_FIX_BRANCHES
        | BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS
        | BlockEncoderOptions::RETURN_CONSTANT_OFFSETS;
    BlockEncoder::encode(64, InstructionBlock::new(instructions, at), options)
}

/// A jump through the second slot, `at` so many bytes behind the first.
fn through_slot(at: u32) -> Result<Vec<u8>, Error> {
    let slot = MemoryOperand::with_base_displ(Register::RIP, SLOT as i64);
    let jump = Instruction::with1(Op::Jmp_rm64, slot)?;
    Ok(encode(&[jump], at.into())?.code_buffer)
}

/// The code that replaces one `syscall` instruction.
struct Trampoline {
    bytes: Vec<u8>,
    /// Its first instruction that is executed: so many bytes behind the first trampoline's beginning.
    begin: u32,
    /// What is relative to where it is. The addresses are those of the image.
    fixups: Vec<Fixup>,
    /// The same goes for these.
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

    /// The address in the library that an instruction names by how far away that is, if it does.
    /// A moved one may also name another that is moved. And the only memory that a new one names
    /// so is the slot.
    fn named(&self, instruction: &Instruction) -> Option<u64> {
        let named = if is_direct_branch(instruction) {
            instruction.near_branch_target()
        } else if instruction.is_ip_rel_memory_operand() && instruction.ip() >= self.free {
            instruction.ip_rel_memory_address()
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
    fn new(redirect: &Redirect, wanted: &[u32], at: u32) -> Result<Self, Error> {
        // It is encoded for a place near the instructions, and the slot for one where none is.
        let slot = redirect.back + AWAY;
        let place = slot + u64::from(at);
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
            let place = distance_in(instruction, &encoded.constant_offsets[index])?;
            // What the processor adds to is the end of the instruction, and not this place.
            let end = offsets.get(index + 1).copied().unwrap_or(length);
            let place = offsets[index] + place;
            fixups.push(Fixup {
                at: at + place,
                kind: Kind::Relative,
                to: named.wrapping_sub((end - place).into()),
            });
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
