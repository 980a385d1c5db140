// SPDX-License-Identifier: GPL-2.0
//! Code that was kept, and code at other addresses.

use super::*;
use crate::code::{FIRST, Jump, Target};
use crate::fixup::{Fixup, Kind};
use crate::function::{decode, ends_flow, is_direct_branch};
use gimli::{
    BaseAddresses, CfaRule, CieOrFde, EhFrame, LittleEndian, Operation, RegisterRule,
    UnwindContext, UnwindSection, X86_64,
};
use iced_x86::Instruction;

/// A place: where the trampolines are, and how far above the addresses of its file a library is.
type Place = (u64, u64);

/// Places as a process may have them, above the library and below it.
const PLACES: [Place; 5] = [
    (0x4000_0000, 0),
    (0x7fff_f7c0_0000, 0x7fff_f7dd_7000),
    (0x7fff_f7ff_f000, 0x7fff_f7dd_7000),
    (0x5555_0000_0000, 0x5555_5555_4000),
    (0x1_0000, 0x7000_0000),
];

/// What an instruction names by its distance.
fn named(instruction: &Instruction) -> Option<u64> {
    if is_direct_branch(instruction) {
        Some(instruction.near_branch_target())
    } else if instruction.is_ip_rel_memory_operand() {
        Some(instruction.ip_rel_memory_address())
    } else {
        None
    }
}

/// What trampolines at a place name outside themselves, in the order in which they do: addresses in
/// the file of the library.
fn named_outside(code: &Placed, (base, bias): Place) -> Vec<u64> {
    let own = base..base + code.bytes.len() as u64;
    let list = decode(&code.bytes[FIRST..code.tables], base + FIRST as u64);
    let named = list.iter().filter_map(named);
    let outside = named.filter(|named| !own.contains(named));
    outside.map(|named| named.wrapping_sub(bias)).collect()
}

/// The same, by the plan.
fn planned(plan: &Plan) -> Vec<u64> {
    let mut all = Vec::new();
    for redirect in &plan.redirects {
        let moved = |named: &u64| redirect.moved.iter().any(|moved| moved.ip() == *named);
        let named = redirect.moved.iter().filter_map(named);
        all.extend(named.filter(|named| !moved(named)));
        if !redirect.moved.last().is_some_and(ends_flow) {
            all.push(redirect.back);
        }
    }
    // The trampoline for a function jumps to it, and names it to what it goes to.
    for cancellable in &plan.cancellables {
        all.extend([cancellable.function; 2]);
    }
    all
}

/// The instructions of trampolines at a place, and what replaces the library's, without what
/// depends on the place.
fn without_place(code: &Placed, (base, bias): Place) -> (Vec<Instruction>, Vec<(u64, u64)>) {
    let mut list = decode(&code.bytes[FIRST..code.tables], FIRST as u64);
    for instruction in &mut list {
        if is_direct_branch(instruction) {
            instruction.set_near_branch64(0);
        } else if instruction.is_ip_rel_memory_operand() {
            instruction.set_memory_displacement64(0);
        }
    }
    let own = base..base + code.bytes.len() as u64;
    let patches = code.patches.iter().map(|patch| {
        let target = decode(&patch.bytes, patch.address)[0].near_branch_target();
        let from = if own.contains(&target) { base } else { bias };
        (patch.address.wrapping_sub(bias), target.wrapping_sub(from))
    });
    (list, patches.collect())
}

/// A row of unwind tables: from where to where it holds, the place in the library's file that it
/// stands for, and how much lower the stack is.
type Row = (u64, u64, u64, i64);

/// The rows of all tables. Addresses in trampolines count from the first, others are those of the
/// library's file.
fn rows(code: &Placed, (base, bias): Place) -> Vec<Row> {
    let own = base..base + code.bytes.len() as u64;
    let counted = |address: u64| match own.contains(&address) {
        true => address - base,
        false => address.wrapping_sub(bias),
    };
    let mut frames = EhFrame::new(&code.bytes[code.tables..], LittleEndian);
    frames.set_address_size(8);
    let bases = BaseAddresses::default().set_eh_frame(base + code.tables as u64);
    let mut context = UnwindContext::new();
    let (mut all, mut entries) = (Vec::new(), frames.entries(&bases));
    while let Some(entry) = entries.next().expect("tables") {
        let CieOrFde::Fde(entry) = entry else {
            continue;
        };
        let entry = entry.parse(EhFrame::cie_from_offset).expect("an entry");
        let mut table = entry.rows(&frames, &bases, &mut context).expect("rows");
        while let Some(row) = table.next_row().expect("a row") {
            let CfaRule::RegisterAndOffset { offset, .. } = *row.cfa() else {
                panic!("{row:?}")
            };
            let Some(RegisterRule::ValExpression(expression)) = row.register(X86_64::RA) else {
                panic!("{row:?}")
            };
            let expression = expression.get(&frames).expect("an expression");
            let operation = expression.operations(entry.cie().encoding()).next();
            let Ok(Some(Operation::Address { address })) = operation else {
                panic!("{operation:?}")
            };
            let (start, end) = (row.start_address(), row.end_address());
            let end = counted(start) + (end - start);
            all.push((counted(start), end, address.wrapping_sub(bias), offset));
        }
    }
    all
}

/// Wherever they are, trampolines mean the same, and name what the plan does; and what is kept has
/// become the same bytes when it is read.
#[track_caller]
pub fn is_the_same_everywhere(plan: &Plan, code: &Code, image: &Image<'_>) {
    let summary = plan.summary(0);
    let bytes = code.to_bytes(&summary).expect("near each other");
    let (kept, said) = Code::from_bytes(&bytes).expect("it was kept");
    assert_eq!((&kept, said), (code, summary));
    let first = code
        .clone()
        .place(PLACES[0].0, PLACES[0].1, &SLOTS)
        .expect("near");
    for place in PLACES {
        let fresh = code.clone().place(place.0, place.1, &SLOTS).expect("near");
        assert_eq!(
            kept.clone().place(place.0, place.1, &SLOTS).expect("near"),
            fresh
        );
        assert_eq!(named_outside(&fresh, place), planned(plan), "{place:x?}");
        assert_eq!(
            without_place(&fresh, place),
            without_place(&first, PLACES[0])
        );
        let slots = [SLOTS.call, SLOTS.hook, SLOTS.cancellable];
        assert_eq!(fresh.bytes[..FIRST], slots.map(u64::to_le_bytes).concat());
        assert_eq!(rows(&fresh, place), rows(&first, PLACES[0]));
    }
    assert!(kept.is_for(image, 0));
    for bias in [1, 1 << 40] {
        assert_eq!(kept.is_for(image, bias), kept.is_empty(), "somewhere else");
    }
    for cut in (0..bytes.len()).step_by(bytes.len() / 1000 + 1) {
        assert_eq!(Code::from_bytes(&bytes[..cut]), None, "{cut}");
    }
    assert_eq!(bytes.len() % 8, 0);
    for more in [&[0; 8][..], &[1]] {
        assert_eq!(Code::from_bytes(&[&bytes[..], more].concat()), None);
    }
}

/// Code of one trampoline and a pad.
fn code() -> Code {
    let begin = [&[0x75, 7, 0x74, 7], FUTEX, SYSCALL, MOVE, RET].concat();
    let bytes = [&begin[..], &[0x90; 5], MOVE, RET].concat();
    let image = image(&bytes, &[], &[]);
    let code = Code::new(&Plan::new(&image, &WANTED), None, &image, 0).expect("code");
    assert!(code.is_for(&image, 0));
    code
}

#[track_caller]
fn is_refused(why: &str, change: impl FnOnce(&mut Code)) {
    let mut code = code();
    let before = code.clone();
    change(&mut code);
    assert_ne!(code, before, "{why}");
    let kept = Code::from_bytes(&code.to_bytes(&Summary::default()).expect("near"));
    assert_eq!(kept, None, "{why}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let good = code().to_bytes(&Summary::default()).expect("near");
    assert_eq!(Code::from_bytes(&good), Some((code(), Summary::default())));
    is_refused("a place behind the end", |code| {
        code.fixups[0].at = code.bytes.len() as u32 - 3;
    });
    is_refused("a place far behind the end", |code| {
        code.fixups[0].at = u32::MAX;
    });
    is_refused("a place in a slot", |code| {
        code.fixups[0].at = FIRST as u32 - 1;
    });
    is_refused("an address that ends behind the end", |code| {
        code.fixups.push(Fixup {
            at: code.bytes.len() as u32 - 4,
            kind: Kind::Absolute,
            to: 0,
        });
    });
    is_refused("a jump to the tables", |code| {
        code.jumps[1].target = Target::Trampoline(code.tables as u32);
    });
    is_refused("a jump to a slot", |code| {
        code.jumps[1].target = Target::Trampoline(8);
    });
    is_refused("a short jump to nothing", |code| {
        code.jumps[0].target = Target::Near(code.jumps[0].address + 1);
    });
    is_refused("no room for a jump", |code| {
        code.jumps[1].was.pop();
    });
    is_refused("the same room twice", |code| {
        let jump = &code.jumps[1];
        let address = jump.address + 4;
        code.jumps.push(Jump {
            address,
            ..jump.clone()
        });
    });
    is_refused("an order that is none", |code| code.jumps.swap(0, 1));
    is_refused("tables without an end", |code| {
        let last = code.bytes.len() - 1;
        code.bytes[last] = 1;
    });
    is_refused("tables that end before", |code| code.bytes.extend([0; 4]));
    is_refused("tables behind the end", |code| {
        code.tables = code.bytes.len() + 1
    });
    is_refused("no tables", |code| code.tables = code.bytes.len());
}

#[test]
fn what_is_too_large_is_not_kept() {
    let mut code = code();
    code.fixups[0].to += 1 << 40;
    assert_eq!(code.to_bytes(&Summary::default()), None);
}

/// The library was changed under a name that stayed the same.
#[test]
fn other_bytes_are_noticed() {
    let bytes = [MOVE, FUTEX, SYSCALL, RET].concat();
    let image_ = image(&bytes, &[], &[]);
    let code = Code::new(&plan(&bytes), None, &image_, 0).expect("code");
    assert!(code.is_for(&image_, 0));
    let mut other = bytes.clone();
    other[4] = 203;
    assert!(!code.is_for(&image(&other, &[], &[]), 0));
    assert!(
        !code.is_for(&image(&bytes[..9], &[], &[]), 0),
        "it ends before"
    );
    let data = Image::new(
        vec![Segment {
            address: CODE,
            bytes: &bytes,
            executable: false,
        }],
        Vec::new(),
        Vec::new(),
    );
    assert!(!code.is_for(&data, 0), "no code");
}
