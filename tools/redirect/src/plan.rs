// SPDX-License-Identifier: GPL-2.0
//! What is done with each `syscall` instruction of a library.

use std::fmt;
use std::ops::Range;

use iced_x86::{Instruction, Mnemonic};
use memchr::memmem;

use crate::cancel::{self, Cancellable};
use crate::function::{decode, stretches};
use crate::image::{Image, SYSCALL};
use crate::number::{Number, number};
use crate::targets::Targets;
use crate::window::{self, LONG, Pad, Window};

/// Why an instruction cannot be redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Something jumps into the instructions beside it, which a jump would overwrite.
    Entered,
    /// The instructions beside it do not work elsewhere, or there are too few.
    Neighbours,
    /// The function has computed jumps of which it is not known where they go.
    Computed,
    /// The function has bytes that are no instructions.
    NotUnderstood,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Entered => "something jumps to the instructions beside it",
            Self::Neighbours => "the instructions beside it cannot be moved",
            Self::Computed => "its function has jumps to computed addresses",
            Self::NotUnderstood => "its function has bytes that are no instructions",
        })
    }
}

/// What becomes of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It makes none of the wanted calls.
    Other,
    /// A jump takes its place and that of its neighbours.
    Jump,
    /// A short jump takes its place, to padding nearby that has the long one.
    Pad,
    /// It stays where it is, as threads are cancelled there, and the calls of its function go to a
    /// trampoline.
    Cancellable,
    /// It cannot be redirected.
    Refused(Why),
}

/// A `syscall` instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Where it is.
    pub address: u64,
    /// The number with which it is reached.
    pub number: Number,
    /// What becomes of it.
    pub fate: Fate,
}

/// One instruction that is redirected.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// Whether the number has to be looked at.
    pub number: Number,
    /// The instructions that work in the trampoline, the `syscall` among them.
    pub moved: Vec<Instruction>,
    /// What the jump to the trampoline overwrites; its first five bytes are the jump.
    pub jump: Range<u64>,
    /// Where the trampoline jumps back to.
    pub back: u64,
    /// Where the short jump to the long one is, if the long one is in a pad.
    pub short: Option<u64>,
}

/// What is done with a library.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// All its `syscall` instructions, by address.
    pub sites: Vec<Site>,
    /// Where the same bytes are outside the functions that the library's unwind tables describe.
    /// That may be data, or code of which nothing is known: it is left alone.
    pub outside: Vec<u64>,
    pub(crate) redirects: Vec<Redirect>,
    pub(crate) cancellables: Vec<Cancellable>,
    pub(crate) wanted: Vec<u32>,
}

/// A function with `syscall` instructions in it that may be reached with a wanted number.
struct Candidate {
    instructions: Vec<Instruction>,
    range: Range<u64>,
}

impl Plan {
    /// Looks at the library. `wanted` are the numbers of the calls that are to be redirected.
    pub fn new(image: &Image<'_>, wanted: &[u32]) -> Self {
        let mut plan = Self {
            wanted: wanted.to_vec(),
            ..Self::default()
        };
        let (candidates, outside) = candidates(image);
        plan.outside = outside;
        if candidates.is_empty() {
            return plan;
        }
        let mut targets = Targets::of(image);
        let known: Vec<bool> = candidates
            .iter()
            .map(|candidate| targets.add_function(image, &candidate.instructions))
            .collect();
        targets.sort();
        let stretches = stretches(image);
        let mut taken = Vec::new();
        let mut hard = Vec::new();
        let cancellable: Vec<_> = candidates
            .iter()
            .map(|candidate| plan.cancellable(image, candidate, &targets, &mut taken))
            .collect();
        for (which, candidate) in candidates.iter().enumerate() {
            if cancellable[which] {
                continue;
            }
            plan.candidate(
                candidate,
                which,
                known[which],
                &targets,
                &mut taken,
                &mut hard,
            );
        }
        plan.use_pads(image, &stretches, &candidates, &targets, &hard, taken);
        plan.sites.sort_by_key(|site| site.address);
        plan
    }

    /// Decides on the instruction of one function, if that is one in which threads are cancelled and
    /// all calls of it can be replaced. Returns whether it is.
    fn cancellable(
        &mut self,
        image: &Image<'_>,
        candidate: &Candidate,
        targets: &Targets,
        taken: &mut Vec<Range<u64>>,
    ) -> bool {
        let list = &candidate.instructions;
        let Some((stays, syscall)) = cancel::stretch(list, targets) else {
            return false;
        };
        let function = candidate.range.start;
        let Some(calls) = cancel::calls(image, function, targets) else {
            return false;
        };
        taken.push(stays);
        taken.extend(calls.iter().cloned());
        self.cancellables.push(Cancellable { function, calls });
        self.sites.push(Site {
            address: list[syscall].ip(),
            number: Number::Unknown,
            fate: Fate::Cancellable,
        });
        true
    }

    /// Decides on the instructions of one function. Those that need a pad are added to `hard`.
    fn candidate(
        &mut self,
        candidate: &Candidate,
        which: usize,
        known: bool,
        targets: &Targets,
        taken: &mut Vec<Range<u64>>,
        hard: &mut Vec<(usize, usize, usize)>,
    ) {
        let list = &candidate.instructions;
        for (index, instruction) in list.iter().enumerate() {
            if instruction.mnemonic() != Mnemonic::Syscall {
                continue;
            }
            let address = instruction.ip();
            let number = number(list, index, targets);
            let wanted = match number {
                Number::Known(number) => self.wanted.contains(&number),
                Number::Unknown => true,
            };
            let fate = if !wanted {
                Fate::Other
            } else if list.iter().any(Instruction::is_invalid) {
                Fate::Refused(Why::NotUnderstood)
            } else if !known {
                Fate::Refused(Why::Computed)
            } else {
                match window::window(list, index, targets, taken) {
                    Ok(window) => {
                        taken.push(window.bytes.clone());
                        self.redirects.push(redirect(list, &window, number));
                        Fate::Jump
                    }
                    Err(why) => {
                        hard.push((self.sites.len(), which, index));
                        Fate::Refused(match why {
                            window::Why::Entered => Why::Entered,
                            window::Why::Neighbours => Why::Neighbours,
                        })
                    }
                }
            };
            self.sites.push(Site {
                address,
                number,
                fate,
            });
        }
    }

    /// Redirects what can be with the help of padding nearby.
    fn use_pads(
        &mut self,
        image: &Image<'_>,
        stretches: &[Range<u64>],
        candidates: &[Candidate],
        targets: &Targets,
        hard: &[(usize, usize, usize)],
        mut taken: Vec<Range<u64>>,
    ) {
        /// How far away a pad may be.
        const NEAR: u64 = 128 + LONG;
        for &(site, which, index) in hard {
            let from = self.sites[site].address;
            let near = from.saturating_sub(NEAR)..from + NEAR;
            let close = stretches
                .iter()
                .filter(|range| range.start < near.end && near.start < range.end);
            let pads = close.flat_map(|range| {
                let bytes = image.bytes(range).unwrap_or_default();
                window::pads(&decode(bytes, range.start), targets)
            });
            let free = |pad: &Pad| {
                let range = pad.0..pad.0 + LONG;
                !taken
                    .iter()
                    .any(|other| other.start < range.end && range.start < other.end)
            };
            let own = from..from + SYSCALL.len() as u64;
            let overlaps = taken
                .iter()
                .any(|other| other.start < own.end && own.start < other.end);
            let pad = pads
                .into_iter()
                .find(|pad| window::reaches(from, pad) && free(pad));
            let Some(pad) = pad.filter(|_| !overlaps && !targets.inside(&own)) else {
                continue;
            };
            taken.extend([pad.0..pad.0 + LONG, own]);
            let instruction = candidates[which].instructions[index];
            self.redirects.push(Redirect {
                number: self.sites[site].number,
                moved: vec![instruction],
                jump: pad.0..pad.0 + LONG,
                back: instruction.next_ip(),
                short: Some(from),
            });
            self.sites[site].fate = Fate::Pad;
        }
    }

    /// The instructions that may make a wanted call and cannot be redirected. If there are any,
    /// none of the library must be: its waits and its wakes would not meet.
    pub fn refused(&self) -> impl Iterator<Item = (&Site, Why)> {
        self.sites.iter().filter_map(|site| match site.fate {
            Fate::Refused(why) => Some((site, why)),
            _ => None,
        })
    }

    /// What there is to say about it, for a library that is `bias` above the addresses of its file.
    pub fn summary(&self, bias: u64) -> Summary {
        let count =
            |wanted: fn(&Site) -> bool| self.sites.iter().filter(|site| wanted(site)).count();
        Summary {
            sites: self.sites.len() as u64,
            redirected: count(|site| site.fate != Fate::Other) as u64,
            unknown: count(|site| site.number == Number::Unknown) as u64,
            cancellable: self.cancellables.len() as u64,
            outside: self.outside.len() as u64,
            first_outside: self
                .outside
                .first()
                .map_or(0, |first| first.wrapping_sub(bias)),
        }
    }
}

/// Counts of a [`Plan`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The `syscall` instructions.
    pub sites: u64,
    /// Those of them that are redirected.
    pub redirected: u64,
    /// Those whose number is not known.
    pub unknown: u64,
    /// Those at which threads are cancelled.
    pub cancellable: u64,
    /// The same bytes outside functions.
    pub outside: u64,
    /// Where the first of these are, in the library's file.
    pub first_outside: u64,
}

/// The redirection of an instruction with a window.
fn redirect(list: &[Instruction], window: &Window, number: Number) -> Redirect {
    let moved = list[window.moved.clone()].to_vec();
    let back = moved.last().map_or(window.bytes.end, Instruction::next_ip);
    Redirect {
        number,
        moved,
        jump: window.bytes.clone(),
        back,
        short: None,
    }
}

/// The functions with `syscall` instructions, and where the bytes of such an instruction are that
/// belong to no function.
fn candidates(image: &Image<'_>) -> (Vec<Candidate>, Vec<u64>) {
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut outside = Vec::new();
    let finder = memmem::Finder::new(&SYSCALL);
    let functions = image.functions();
    for segment in image.code() {
        for at in finder.find_iter(segment.bytes) {
            let address = segment.address + at as u64;
            let which = functions.partition_point(|function| function.end <= address);
            match functions.get(which) {
                Some(range) if range.contains(&address) => {
                    if candidates.last().is_none_or(|last| last.range != *range) {
                        let bytes = image.bytes(range).unwrap_or_default();
                        candidates.push(Candidate {
                            instructions: decode(bytes, range.start),
                            range: range.clone(),
                        });
                    }
                }
                _ => outside.push(address),
            }
        }
    }
    let has_one = |candidate: &Candidate| {
        let list = &candidate.instructions;
        list.iter()
            .any(|instruction| instruction.mnemonic() == Mnemonic::Syscall)
    };
    candidates.retain(has_one);
    (candidates, outside)
}

/// How a function that does nothing is made to do something: what the jump to it overwrites, if
/// the function at `address` is a return and padding, and nothing jumps into that.
pub fn hook(image: &Image<'_>, address: u64) -> Option<Range<u64>> {
    let bytes = image.from(address)?;
    let instructions = decode(bytes.get(..32)?, address);
    let mut list = instructions.iter().peekable();
    let mark = list.next_if(|first| first.mnemonic() == Mnemonic::Endbr64);
    let start = mark.map_or(address, Instruction::next_ip);
    let first = list.next()?;
    (first.mnemonic() == Mnemonic::Ret).then_some(())?;
    let mut end = first.next_ip();
    while end - start < LONG {
        let padding = list
            .next()
            .filter(|next| crate::function::is_padding(next))?;
        end = padding.next_ip();
    }
    let mut targets = Targets::of(image);
    targets.sort();
    (!targets.inside(&(start..end))).then_some(start..end)
}
