// SPDX-License-Identifier: GPL-2.0
//! Unwind tables for trampolines.
//!
//! A trampoline is no function: it is a part of the one whose instruction it replaces. An unwinder
//! that finds a thread in it goes on as if the thread were at the place in that function which
//! corresponds, with the stack pointer that it would have there. The frame is marked as a signal
//! handler's, so that this place is taken as it is: the address that follows a call, which it would
//! be otherwise, is one that unwinders look up a byte before.

use std::ops::Range;

use gimli::write::{
    Address, CallFrameInstruction, CommonInformationEntry, EhFrame, EndianVec, Expression,
    FrameDescriptionEntry, FrameTable,
};
use gimli::{Encoding, Format, LittleEndian, X86_64};

/// From where on what holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The first byte for which it holds, counted from the beginning of the code.
    pub offset: u32,
    /// The address in the function to which it corresponds.
    pub original: u64,
    /// How much lower the stack pointer is than it would be there.
    pub depth: i32,
}

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
        cie.add_instruction(CallFrameInstruction::Cfa(X86_64::RSP, 0));
        let cie = table.add_cie(cie);
        Self { table, cie }
    }

    /// Adds a stretch of code.
    pub fn add(&mut self, code: &Range<u64>, rows: &[Row]) {
        let length = (code.end - code.start) as u32;
        let mut entry = FrameDescriptionEntry::new(Address::Constant(code.start), length);
        let mut depth = 0;
        for row in rows {
            let mut original = Expression::new();
            original.op_addr(Address::Constant(row.original));
            let address = CallFrameInstruction::ValExpression(X86_64::RA, original);
            entry.add_instruction(row.offset, address);
            if row.depth != depth {
                depth = row.depth;
                entry.add_instruction(row.offset, CallFrameInstruction::CfaOffset(depth));
            }
        }
        self.table.add_fde(self.cie, entry);
    }

    /// The bytes.
    pub fn finish(self) -> Result<Vec<u8>, gimli::write::Error> {
        let mut section = EhFrame(EndianVec::new(LittleEndian));
        self.table.write_eh_frame(&mut section)?;
        let mut bytes = section.0.into_vec();
        // The end of the list.
        bytes.extend([0; 4]);
        Ok(bytes)
    }
}
