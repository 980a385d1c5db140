// SPDX-License-Identifier: GPL-2.0
//! The trampolines, the jumps to them, and what unwinders have to know of them.
//!
//! The code is made once, and kept. So it says nothing of where it is: the places in it that depend
//! on that are known (see `fixup.rs`), and filled by [`Code::place`], for which neither a decoder
//! nor an encoder is needed.

use std::fmt;
use std::mem::offset_of;
use std::ops::Range;

use iced_x86::IcedError;

use crate::fixup::{Fixup, distance};
use crate::image::Image;
use crate::plan::Plan;
use crate::trampoline::{Trampoline, through_slot};
use crate::unwind::{Row, Start, Tables};
use crate::window::LONG;

/// Where the first trampoline begins. Before it are the [`Slots`].
pub const FIRST: usize = size_of::<Slots>();

/// The functions that trampolines go to, by their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Slots {
    /// What is called in place of the kernel. It finds the registers as they are when a system call
    /// is made, and leaves them as the kernel would.
    pub call: u64,
    /// What the hook jumps to. It returns to the caller of the hooked function.
    pub hook: u64,
    /// What is called in place of a function in which threads are cancelled (see `cancel.rs`), with
    /// the address of that function in `rax`.
    pub cancellable: u64,
}

/// Unwind tables begin at a multiple of this.
const ALIGNED: usize = 8;

/// Why there is no code: a fault of this crate, or trampolines that are too far away.
#[derive(Debug)]
pub enum Error {
    /// The instructions cannot be encoded.
    Encode(IcedError),
    /// How far away what an instruction names is, is not where it should be in it.
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
            Self::Place(address) => write!(f, "the instruction at {address:#x} is encoded oddly"),
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
    /// As the first, for a call or a jump of five bytes that goes somewhere else now.
    Replaced(u32),
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
        let file = |address: u64| address.wrapping_sub(bias);
        for redirect in &plan.redirects {
            let trampoline = Trampoline::new(redirect, &plan.wanted, code.bytes.len() as u32)?;
            code.trampoline(&trampoline, bias, &mut tables);
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
        for cancellable in &plan.cancellables {
            let at = code.bytes.len() as u32;
            let trampoline = Trampoline::of_function(cancellable.function, &plan.wanted, at)?;
            code.trampoline(&trampoline, bias, &mut tables);
            for call in &cancellable.calls {
                code.jump(image, bias, call, Target::Replaced(trampoline.begin))?;
            }
        }
        if let Some(jump) = hook {
            let begin = code.bytes.len() as u32;
            code.bytes
                .extend(&through_slot(offset_of!(Slots, hook), begin)?);
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

    /// Adds a trampoline, whose addresses are `bias` above those of the file.
    fn trampoline(&mut self, trampoline: &Trampoline, bias: u64, tables: &mut Tables) {
        let file = |address: u64| address.wrapping_sub(bias);
        let rows = trampoline.rows.iter().map(|row| Row {
            original: file(row.original),
            ..*row
        });
        let start = Start::Trampolines(self.bytes.len() as u32);
        let length = trampoline.bytes.len() as u32;
        tables.add(start, length, &rows.collect::<Vec<_>>());
        self.bytes.extend(&trampoline.bytes);
        let fixups = trampoline.fixups.iter().map(|fixup| Fixup {
            to: file(fixup.to),
            ..*fixup
        });
        self.fixups.extend(fixups);
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

    /// Makes the bytes for trampolines at `base`, which go to what is in `slots`, and a library that
    /// is `bias` above the addresses of its file.
    pub fn place(self, base: u64, bias: u64, slots: &Slots) -> Result<Placed, Error> {
        let mut bytes = self.bytes;
        let slots = [slots.call, slots.hook, slots.cancellable];
        for (place, slot) in bytes.chunks_exact_mut(size_of::<u64>()).zip(slots) {
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
const SHORT: u64 = 2;

/// How the two jumps begin.
const JMP_REL32: u8 = 0xe9;
const JMP_REL8: u8 = 0xeb;

/// How a call begins.
const CALL_REL32: u8 = 0xe8;

impl Jump {
    /// How many bytes the jump itself has.
    pub fn length(&self) -> u64 {
        match self.target {
            Target::Trampoline(_) | Target::Replaced(_) => LONG,
            Target::Near(_) => SHORT,
        }
    }

    /// Whether a call or a jump was there, and nothing else.
    pub fn is_replaced(&self) -> bool {
        self.was.len() as u64 == LONG && matches!(self.was[0], CALL_REL32 | JMP_REL32)
    }

    /// The bytes of the jump, and as many behind it that nobody reaches as there were.
    fn place(&self, base: u64, bias: u64) -> Result<Patch, Error> {
        let address = self.address.wrapping_add(bias);
        let next = address.wrapping_add(self.length());
        let mut bytes = Vec::with_capacity(self.was.len());
        match self.target {
            Target::Trampoline(at) | Target::Replaced(at) => {
                bytes.push(match self.target {
                    Target::Replaced(_) => self.was[0],
                    _ => JMP_REL32,
                });
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
