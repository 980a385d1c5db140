// SPDX-License-Identifier: GPL-2.0
//! Where code is entered other than from the instruction before.

use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

use crate::function::{is_direct_branch, stretches};
use crate::image::Image;

/// The most entries that a table of jumps may have.
const TABLE: usize = 4096;

/// Places at which an instruction may be reached by a jump, a call, a return, an exception, or
/// from outside.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    all: Vec<u64>,
    /// How many of these are in order; only after [`Targets::sort`] it is all of them.
    sorted: usize,
}

impl Targets {
    /// All that direct branches anywhere in `image` jump to, where its functions begin, and what
    /// else it names: symbols, landing pads, and what pointers in its data point to.
    pub fn of(image: &Image<'_>) -> Self {
        let mut targets = Self::default();
        targets.all.extend(image.entries());
        targets
            .all
            .extend(image.functions().iter().map(|function| function.start));
        for range in stretches(image) {
            let bytes = image.bytes(&range).unwrap_or_default();
            let mut decoder = Decoder::with_ip(64, bytes, range.start, DecoderOptions::NONE);
            let mut instruction = Instruction::default();
            while decoder.can_decode() {
                decoder.decode_out(&mut instruction);
                if is_direct_branch(&instruction) {
                    targets.all.push(instruction.near_branch_target());
                }
            }
        }
        targets
    }

    /// Adds what is known of the function of `instructions` alone: where its calls return to,
    /// and where its computed jumps go. Returns false if that is not known of such a jump.
    pub fn add_function(&mut self, image: &Image<'_>, instructions: &[Instruction]) -> bool {
        for instruction in instructions {
            if instruction.mnemonic() == Mnemonic::Call {
                self.all.push(instruction.next_ip());
            }
        }
        let computed = instructions
            .iter()
            .filter(|instruction| is_computed(instruction));
        let computed: Vec<_> = computed.collect();
        computed.is_empty() || self.add_tables(image, instructions, &computed)
    }

    /// Adds what the tables say that `jumps` of the function take their targets from.
    fn add_tables(
        &mut self,
        image: &Image<'_>,
        instructions: &[Instruction],
        jumps: &[&Instruction],
    ) -> bool {
        let (Some(first), Some(last)) = (instructions.first(), instructions.last()) else {
            return true;
        };
        let function = first.ip()..last.next_ip();
        let (mut tables, mut bases) = (Vec::new(), Vec::new());
        for instruction in instructions {
            if instruction.mnemonic() == Mnemonic::Lea && instruction.is_ip_rel_memory_operand() {
                let address = instruction.ip_rel_memory_address();
                if image.is_code(address) {
                    // A label whose address is taken: a jump may go there, or be counted from it.
                    self.all.push(address);
                    bases.push(address);
                } else if image.is_data(address) {
                    tables.push(address);
                }
            }
        }
        let absolute = jumps.iter().filter_map(|jump| absolute_table(jump));
        let absolute: Vec<_> = absolute.collect();
        let mut found = false;
        for &table in &tables {
            found |= self.add_offsets(image, table, table, |target| image.is_code(target));
            for &base in &bases {
                found |= self.add_offsets(image, table, base, |target| function.contains(&target));
            }
        }
        for &table in absolute.iter().chain(&tables) {
            found |= self.add_addresses(image, table);
        }
        found
    }

    /// Adds the targets in a table of 32 bits at `table` that count from `base`, as long as they
    /// are `good`. Returns whether there is one.
    fn add_offsets(
        &mut self,
        image: &Image<'_>,
        table: u64,
        base: u64,
        good: impl Fn(u64) -> bool,
    ) -> bool {
        let words = image.from(table).unwrap_or_default().chunks_exact(4);
        let targets = words.take(TABLE).map(|word| {
            let offset = i32::from_le_bytes(word.try_into().expect("four bytes"));
            base.wrapping_add_signed(offset.into())
        });
        let targets: Vec<_> = targets.take_while(|&target| good(target)).collect();
        self.all.extend(&targets);
        !targets.is_empty()
    }

    /// Adds the addresses in a table at `table`, as long as they are code.
    fn add_addresses(&mut self, image: &Image<'_>, table: u64) -> bool {
        let words = image.from(table).unwrap_or_default().chunks_exact(8);
        let targets = words
            .take(TABLE)
            .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
        let targets: Vec<_> = targets
            .take_while(|&target| image.is_code(target))
            .collect();
        self.all.extend(&targets);
        !targets.is_empty()
    }

    /// Puts them in order, so that they can be looked for.
    pub fn sort(&mut self) {
        self.all.sort_unstable();
        self.all.dedup();
        self.sorted = self.all.len();
    }

    /// True if something may jump to `address`.
    pub fn contains(&self, address: u64) -> bool {
        debug_assert_eq!(self.sorted, self.all.len());
        self.all.binary_search(&address).is_ok()
    }

    /// True if something may jump into `range`, not counting its first byte.
    pub fn inside(&self, range: &Range<u64>) -> bool {
        debug_assert_eq!(self.sorted, self.all.len());
        let first = self.all.partition_point(|&target| target <= range.start);
        self.all
            .get(first)
            .is_some_and(|&target| target < range.end)
    }
}

/// True for a jump to an address that was computed. One through a pointer at a fixed place is not:
/// that is how a function of another library is reached.
fn is_computed(instruction: &Instruction) -> bool {
    instruction.flow_control() == FlowControl::IndirectBranch
        && !(instruction.op0_kind() == OpKind::Memory && instruction.is_ip_rel_memory_operand())
}

/// The table of addresses that a jump through `[table + 8 * register]` takes its target from.
fn absolute_table(jump: &Instruction) -> Option<u64> {
    let indexed = jump.op0_kind() == OpKind::Memory
        && jump.memory_base() == Register::None
        && jump.memory_index() != Register::None;
    indexed.then(|| jump.memory_displacement64())
}
