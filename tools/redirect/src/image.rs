// SPDX-License-Identifier: GPL-2.0
//! A library, as it lies in memory.

use std::ops::Range;

use gimli::{
    BaseAddresses, CieOrFde, EhFrame, EhFrameHdr, EndianSlice, LittleEndian, UnwindSection,
};
use memchr::memmem;
use object::elf::{self, Dyn64, FileHeader64, ProgramHeader64, Rel64, Rela64, Sym64};
use object::pod::{Pod, from_bytes, slice_from_bytes};

/// The bytes of a `syscall` instruction.
pub(crate) const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// How ELF is read here.
const ENDIAN: object::LittleEndian = object::LittleEndian;

/// The header of a segment.
type Header = ProgramHeader64<object::LittleEndian>;

/// A part of a library that is in memory.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The address of its first byte.
    pub address: u64,
    /// What is there.
    pub bytes: &'a [u8],
    /// Whether it is code.
    pub executable: bool,
}

impl Segment<'_> {
    /// The addresses of its bytes.
    pub fn range(&self) -> Range<u64> {
        self.address..self.address + self.bytes.len() as u64
    }
}

/// A library.
#[derive(Clone, Debug, Default)]
pub struct Image<'a> {
    segments: Vec<Segment<'a>>,
    /// The functions that unwind tables describe: sorted, and none overlaps another.
    functions: Vec<Range<u64>>,
    /// Where code may be entered from outside, beside the beginnings of these.
    entries: Vec<u64>,
}

impl<'a> Image<'a> {
    /// A library of these segments, functions and places where code is entered.
    pub fn new(segments: Vec<Segment<'a>>, functions: Vec<Range<u64>>, entries: Vec<u64>) -> Self {
        let mut image = Self {
            segments,
            functions,
            entries,
        };
        image.segments.sort_by_key(|segment| segment.address);
        image.functions.sort_by_key(|function| function.start);
        let mut end = 0;
        image.functions.retain(|function| {
            let good = function.start >= end && function.end > function.start;
            if good {
                end = function.end;
            }
            good
        });
        image
    }

    /// A library whose program headers are `headers`. `bias` is the difference between the
    /// addresses that it has and those that its headers give, and `segments` are its segments.
    /// `None` if the headers make no sense.
    pub fn loaded(bias: u64, headers: &[u8], segments: Vec<Segment<'a>>) -> Option<Self> {
        let count = headers.len() / size_of::<Header>();
        let (headers, _) = slice_from_bytes::<Header>(headers, count).ok()?;
        let image = Self::new(segments, Vec::new(), Vec::new());
        let (mut functions, mut entries) = (Vec::new(), Vec::new());
        for header in headers {
            let address = header.p_vaddr.get(ENDIAN).wrapping_add(bias);
            match header.p_type.get(ENDIAN) {
                elf::PT_DYNAMIC => image.dynamic(bias, address, &mut entries)?,
                elf::PT_GNU_EH_FRAME => {
                    image.frames(address, &mut functions, &mut entries)?;
                }
                _ => (),
            }
        }
        entries.retain(|&entry| image.is_code(entry));
        Some(Self::new(image.segments, functions, entries))
    }

    /// The library that is the content of a file, at the addresses that the file gives.
    pub fn of_file(file: &'a [u8]) -> Option<Self> {
        let (header, _) = from_bytes::<FileHeader64<object::LittleEndian>>(file).ok()?;
        let at = usize::try_from(header.e_phoff.get(ENDIAN)).ok()?;
        let count = usize::from(header.e_phnum.get(ENDIAN));
        let headers = file.get(at..at + count * size_of::<Header>())?;
        let (list, _) = slice_from_bytes::<Header>(headers, count).ok()?;
        let mut segments = Vec::new();
        for header in list
            .iter()
            .filter(|header| header.p_type.get(ENDIAN) == elf::PT_LOAD)
        {
            let start = usize::try_from(header.p_offset.get(ENDIAN)).ok()?;
            let length = usize::try_from(header.p_filesz.get(ENDIAN)).ok()?;
            segments.push(Segment {
                address: header.p_vaddr.get(ENDIAN),
                bytes: file.get(start..start.checked_add(length)?)?,
                executable: header.p_flags.get(ENDIAN).contains(elf::PF_X),
            });
        }
        Self::loaded(0, headers, segments)
    }

    /// Its code.
    pub fn code(&self) -> impl Iterator<Item = &Segment<'a>> {
        self.segments.iter().filter(|segment| segment.executable)
    }

    /// Whether the bytes of a `syscall` instruction are anywhere in its code. Without them there is
    /// nothing to redirect, whatever else is known of it.
    pub fn may_have_calls(&self) -> bool {
        let finder = memmem::Finder::new(&SYSCALL);
        self.code()
            .any(|segment| finder.find(segment.bytes).is_some())
    }

    #[cfg(test)]
    pub(crate) fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    pub(crate) fn functions(&self) -> &[Range<u64>] {
        &self.functions
    }

    pub(crate) fn entries(&self) -> &[u64] {
        &self.entries
    }

    /// The bytes from `address` to the end of its segment.
    pub(crate) fn from(&self, address: u64) -> Option<&'a [u8]> {
        let holds = |segment: &&Segment<'_>| segment.range().contains(&address);
        let segment = self.segments.iter().find(holds)?;
        segment.bytes.get((address - segment.address) as usize..)
    }

    /// The bytes at these addresses.
    pub(crate) fn bytes(&self, range: &Range<u64>) -> Option<&'a [u8]> {
        self.from(range.start)?
            .get(..(range.end - range.start) as usize)
    }

    pub(crate) fn is_code(&self, address: u64) -> bool {
        self.code()
            .any(|segment| segment.range().contains(&address))
    }

    pub(crate) fn is_data(&self, address: u64) -> bool {
        self.segments
            .iter()
            .any(|segment| !segment.executable && segment.range().contains(&address))
    }

    fn read<T: Pod>(&self, address: u64) -> Option<&'a T> {
        Some(from_bytes(self.from(address)?).ok()?.0)
    }

    fn array<T: Pod>(&self, address: u64, bytes: u64) -> Option<&'a [T]> {
        let count = (bytes as usize) / size_of::<T>();
        Some(slice_from_bytes(self.from(address)?, count).ok()?.0)
    }

    /// Adds the places that the dynamic section names: symbols, and what relocations let data
    /// point to. The section is at `address`. Its pointers are as the file has them, or with the
    /// bias, which the loader adds to some.
    fn dynamic(&self, bias: u64, address: u64, entries: &mut Vec<u64>) -> Option<()> {
        let value = |tag| {
            let step = size_of::<Dyn64<object::LittleEndian>>() as u64;
            let items = (0..).map_while(|index| {
                self.read::<Dyn64<object::LittleEndian>>(address + index * step)
            });
            let mut items = items.take_while(|item| item.d_tag.get(ENDIAN) != elf::DT_NULL);
            let found = items.find(|item| item.d_tag.get(ENDIAN) == tag)?;
            Some(found.d_val.get(ENDIAN))
        };
        let pointer = |tag| {
            let address = value(tag)?;
            let both = [address, address.wrapping_add(bias)];
            both.into_iter()
                .find(|&address| self.from(address).is_some())
        };
        entries.extend([elf::DT_INIT, elf::DT_FINI].into_iter().filter_map(pointer));
        if let Some(symbols) = pointer(elf::DT_SYMTAB) {
            self.symbols(bias, symbols, pointer(elf::DT_STRTAB)?, entries);
        }
        if let (Some(at), Some(size)) = (pointer(elf::DT_RELA), value(elf::DT_RELASZ)) {
            for relocation in self.array::<Rela64<object::LittleEndian>>(at, size)? {
                entries.push((relocation.r_addend.get(ENDIAN) as u64).wrapping_add(bias));
            }
        }
        if let (Some(at), Some(size)) = (pointer(elf::DT_RELR), value(elf::DT_RELRSZ)) {
            self.packed(bias, self.array(at, size)?, entries);
        }
        Some(())
    }

    /// Adds what symbols name. The table ends where the names begin, as linkers lay it out, or
    /// with the last entry that is there.
    fn symbols(&self, bias: u64, at: u64, names: u64, entries: &mut Vec<u64>) {
        let step = size_of::<Sym64<object::LittleEndian>>() as u64;
        let end = if names > at { names } else { u64::MAX };
        let mut address = at;
        while address < end
            && let Some(symbol) = self.read::<Sym64<object::LittleEndian>>(address)
        {
            if symbol.st_shndx.get(ENDIAN) != elf::SHN_UNDEF {
                entries.push(symbol.st_value.get(ENDIAN).wrapping_add(bias));
            }
            address += step;
        }
    }

    /// Adds what words point to that packed relative relocations (`DT_RELR`) name. They may be
    /// relocated already.
    fn packed(&self, bias: u64, list: &[Rel], entries: &mut Vec<u64>) {
        let mut place = 0_u64;
        let mut word = |place: u64| {
            if let Some(value) = self.read::<Rel>(place.wrapping_add(bias)) {
                let value = value.get(ENDIAN);
                entries.extend([value, value.wrapping_add(bias)]);
            }
        };
        for item in list.iter().map(|item| item.get(ENDIAN)) {
            if item & 1 == 0 {
                word(item);
                place = item.wrapping_add(8);
            } else {
                for bit in (1..64).filter(|bit| item >> bit & 1 != 0) {
                    word(place.wrapping_add((bit - 1) * 8));
                }
                place = place.wrapping_add(63 * 8);
            }
        }
    }

    /// Adds the functions that the unwind table describes whose header is at `address`, and
    /// their landing pads.
    fn frames(
        &self,
        address: u64,
        functions: &mut Vec<Range<u64>>,
        entries: &mut Vec<u64>,
    ) -> Option<()> {
        let bases = BaseAddresses::default().set_eh_frame_hdr(address);
        let header = EhFrameHdr::new(self.from(address)?, LittleEndian)
            .parse(&bases, 8)
            .ok()?;
        let at = match header.eh_frame_ptr() {
            gimli::Pointer::Direct(at) => at,
            gimli::Pointer::Indirect(at) => self.read::<Rel>(at)?.get(ENDIAN),
        };
        let bases = bases.set_eh_frame(at);
        let mut table = EhFrame::new(self.from(at)?, LittleEndian);
        table.set_address_size(8);
        let mut items = table.entries(&bases);
        // Behind the end, or behind what is not understood, there are no more.
        while let Ok(Some(item)) = items.next() {
            let CieOrFde::Fde(partial) = item else {
                continue;
            };
            let Ok(function) = partial.parse(EhFrame::cie_from_offset) else {
                break;
            };
            // Such an entry begins a byte before the code, for unwinders that look there.
            if function.is_signal_trampoline() {
                continue;
            }
            let start = function.initial_address();
            functions.push(start..start.checked_add(function.len())?);
            if let Some(gimli::Pointer::Direct(lsda)) = function.lsda() {
                self.landing_pads(lsda, start, entries)?;
            }
        }
        Some(())
    }

    /// Adds the landing pads in the table at `address`, which a C++ compiler made for the
    /// function at `function`. Rust's have the same form.
    fn landing_pads(&self, address: u64, function: u64, entries: &mut Vec<u64>) -> Option<()> {
        use gimli::Reader;
        let mut at = EndianSlice::new(self.from(address)?, LittleEndian);
        let start = match at.read_u8().ok()? {
            OMITTED => function,
            // Nobody makes another.
            _ => return None,
        };
        if at.read_u8().ok()? != OMITTED {
            at.read_uleb128().ok()?;
        }
        let encoding = at.read_u8().ok()?;
        let length = at.read_uleb128().ok()?;
        let mut sites = at.split(usize::try_from(length).ok()?).ok()?;
        let read = |at: &mut EndianSlice<'_, LittleEndian>| match encoding {
            ULEB128 => at.read_uleb128().ok(),
            UDATA4 => at.read_u32().ok().map(u64::from),
            _ => None,
        };
        while !sites.is_empty() {
            let [_start, _length, pad] = [read(&mut sites)?, read(&mut sites)?, read(&mut sites)?];
            sites.read_uleb128().ok()?;
            if pad != 0 {
                entries.push(start.wrapping_add(pad));
            }
        }
        Some(())
    }
}

/// A word of 64 bits.
type Rel = object::U64<object::LittleEndian>;

/// Encodings of pointers in such a table: none, and two forms.
const OMITTED: u8 = gimli::DW_EH_PE_omit.0;
const ULEB128: u8 = gimli::DW_EH_PE_uleb128.0;
const UDATA4: u8 = gimli::DW_EH_PE_udata4.0;

// What packed relocations are read as has the size that the format gives them.
const _: () = assert!(size_of::<Rel>() * 2 == size_of::<Rel64<object::LittleEndian>>());
