// SPDX-License-Identifier: GPL-2.0
//! Unwind tables for trampolines.
//!
//! A trampoline is no function: it is a part of the one whose instruction it replaces. An unwinder
//! that finds a thread in it goes on as if the thread were at the place in that function which
//! corresponds, with the stack pointer that it would have there. The frame is marked as a signal
//! handler's, so that this place is taken as it is: the address that follows a call, which it would
//! be otherwise, is one that unwinders look up a byte before.

use gimli::constants::{DW_EH_PE_pcrel, DW_EH_PE_sdata4};
use gimli::write::{
    Address, CallFrameInstruction, CommonInformationEntry, EhFrame, EndianVec, Expression,
    FrameDescriptionEntry, FrameTable, RelocateWriter, Relocation, RelocationTarget,
};
use gimli::{Encoding, Format, LittleEndian, X86_64};

use crate::fixup::{Fixup, Kind};

/// From where on what holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The first byte for which it holds, counted from the beginning of the code.
    pub offset: u32,
    /// The address in the function to which it corresponds, in the library's file.
    pub original: u64,
    /// How much lower the stack pointer is than it would be there.
    pub depth: i32,
}

/// Where a stretch of code begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// So many bytes behind the beginning of the trampolines.
    Trampolines(u32),
    /// At this address in the library's file.
    Library(u64),
}

/// What addresses are counted from, as gimli's numbers of symbols.
const TRAMPOLINES: usize = 0;
const LIBRARY: usize = 1;

/// Makes the tables, as `__register_frame` takes them.
#[derive(Debug)]
pub struct Tables {
    table: FrameTable,
    cie: gimli::write::CieId,
}

impl Tables {
    pub fn new() -> Self {
        let mut table = FrameTable::default();
        let encoding = Encoding {
            format: Format::Dwarf32,
            version: 1,
            address_size: 8,
        };
        let mut cie = CommonInformationEntry::new(encoding, 1, -8, X86_64::RA);
        cie.signal_trampoline = true;
        cie.fde_address_encoding = DW_EH_PE_pcrel | DW_EH_PE_sdata4;
        cie.add_instruction(CallFrameInstruction::Cfa(X86_64::RSP, 0));
        let cie = table.add_cie(cie);
        Self { table, cie }
    }

    /// Adds a stretch of code.
    pub fn add(&mut self, start: Start, length: u32, rows: &[Row]) {
        let start = match start {
            Start::Trampolines(offset) => Address::Symbol {
                symbol: TRAMPOLINES,
                addend: offset.into(),
            },
            Start::Library(address) => in_library(address),
        };
        let mut entry = FrameDescriptionEntry::new(start, length);
        let mut last = None;
        for row in rows {
            let (original, depth) = last.unwrap_or((None, 0));
            if original != Some(row.original) {
                let mut expression = Expression::new();
                expression.op_addr(in_library(row.original));
                let address = CallFrameInstruction::ValExpression(X86_64::RA, expression);
                entry.add_instruction(row.offset, address);
            }
            if row.depth != depth {
                entry.add_instruction(row.offset, CallFrameInstruction::CfaOffset(row.depth));
            }
            last = Some((Some(row.original), row.depth));
        }
        self.table.add_fde(self.cie, entry);
    }

    /// The bytes, which are to be `at` bytes behind the beginning of the trampolines, and what
    /// in them depends on where that is.
    pub fn finish(self, at: u32) -> Result<(Vec<u8>, Vec<Fixup>), gimli::write::Error> {
        let mut section = EhFrame(Section {
            bytes: EndianVec::new(LittleEndian),
            relocations: Vec::new(),
        });
        self.table.write_eh_frame(&mut section)?;
        let Section { bytes, relocations } = section.0;
        let mut bytes = bytes.into_vec();
        let mut fixups = Vec::new();
        for relocation in relocations {
            let (offset, addend) = (relocation.offset as u32, relocation.addend);
            let kind = match relocation.eh_pe {
                None => Kind::Absolute,
                Some(_) => Kind::Relative,
            };
            if relocation.target == RelocationTarget::Symbol(LIBRARY) {
                fixups.push(Fixup {
                    at: at + offset,
                    kind,
                    to: addend as u64,
                });
            } else {
                // The same wherever both are.
                let distance = addend as u32;
                let place = &mut bytes[relocation.offset..][..size_of::<u32>()];
                place.copy_from_slice(&distance.wrapping_sub(at + offset).to_le_bytes());
            }
        }
        // The end of the list.
        bytes.extend(END);
        Ok((bytes, fixups))
    }
}

/// What the list of entries ends with.
const END: [u8; 4] = [0; 4];

/// Whether these are tables that end where the bytes do, and not before. Each entry begins with
/// its length.
pub fn is_list(mut bytes: &[u8]) -> bool {
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 {
            return rest.is_empty();
        }
        let Some(rest) = rest.get(length..) else {
            return false;
        };
        bytes = rest;
    }
    false
}

fn in_library(address: u64) -> Address {
    Address::Symbol {
        symbol: LIBRARY,
        addend: address as i64,
    }
}

/// Notes where addresses are written.
#[derive(Debug)]
struct Section {
    bytes: EndianVec<LittleEndian>,
    relocations: Vec<Relocation>,
}

impl RelocateWriter for Section {
    type Writer = EndianVec<LittleEndian>;

    fn writer(&self) -> &Self::Writer {
        &self.bytes
    }

    fn writer_mut(&mut self) -> &mut Self::Writer {
        &mut self.bytes
    }

    fn relocate(&mut self, relocation: Relocation) {
        self.relocations.push(relocation);
    }
}
