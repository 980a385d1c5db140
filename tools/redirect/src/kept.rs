// SPDX-License-Identifier: GPL-2.0
//! A plan as numbers, for whoever keeps it: to make one means to decode all of a library, and the
//! plan for the same library is always the same.

use std::ops::Range;

use iced_x86::Mnemonic;

use crate::function::decode;
use crate::image::Image;
use crate::number::Number;
use crate::plan::{Fate, Plan, Redirect, Site};
use crate::window::LONG;

/// Stands for a number that is not known, and for an address where there is none.
const NONE: u64 = u64::MAX;

impl Plan {
    /// The plan as numbers, in which the addresses are those of the library's file: `bias` lower.
    /// `None` if there is something that cannot be redirected, for which nobody plans twice.
    pub fn to_words(&self, bias: u64) -> Option<Vec<u64>> {
        let mut words = vec![self.sites.len() as u64];
        for site in &self.sites {
            let fate = match site.fate {
                Fate::Other => 0,
                Fate::Jump => 1,
                Fate::Pad => 2,
                Fate::Refused(_) => return None,
            };
            words.extend([site.address.wrapping_sub(bias), of(site.number), fate]);
        }
        words.push(self.outside.len() as u64);
        words.extend(
            self.outside
                .iter()
                .map(|address| address.wrapping_sub(bias)),
        );
        words.push(self.redirects.len() as u64);
        for redirect in &self.redirects {
            let (first, last) = (redirect.moved.first()?, redirect.moved.last()?);
            let addresses = [
                first.ip(),
                last.next_ip(),
                redirect.jump.start,
                redirect.jump.end,
                redirect.back,
                redirect.short.unwrap_or(NONE),
            ];
            words.push(of(redirect.number));
            words.extend(addresses.map(|address| match address {
                NONE => NONE,
                address => address.wrapping_sub(bias),
            }));
        }
        Some(words)
    }

    /// The plan that has become these numbers, for a library that is at `bias` now. `None` if they
    /// are not from a plan for this library. Of the image, only its segments are looked at.
    pub fn from_words(words: &[u64], image: &Image<'_>, bias: u64, wanted: &[u32]) -> Option<Self> {
        let mut words = Words(words);
        let mut plan = Self {
            wanted: wanted.to_vec(),
            ..Self::default()
        };
        for _ in 0..words.count()? {
            let [address, number, fate] = words.take()?;
            plan.sites.push(Site {
                address: address.wrapping_add(bias),
                number: number_of(number)?,
                fate: match fate {
                    0 => Fate::Other,
                    1 => Fate::Jump,
                    2 => Fate::Pad,
                    _ => return None,
                },
            });
        }
        for _ in 0..words.count()? {
            let [address] = words.take()?;
            plan.outside.push(address.wrapping_add(bias));
        }
        for _ in 0..words.count()? {
            let [number] = words.take()?;
            let addresses: [u64; 6] = words.take()?;
            let addresses = addresses.map(|address| match address {
                NONE => None,
                address => Some(address.wrapping_add(bias)),
            });
            let [first, end, jump, jump_end, back, short] = addresses;
            let jump = jump?..jump_end?;
            let redirect = Redirect {
                number: number_of(number)?,
                moved: moved(image, first?..end?)?,
                back: back?,
                short,
                jump,
            };
            good(image, &redirect).then_some(())?;
            plan.redirects.push(redirect);
        }
        words.0.is_empty().then_some(plan)
    }
}

/// The instructions in `range`, if that has whole ones, and one of them is a system call.
fn moved(image: &Image<'_>, range: Range<u64>) -> Option<Vec<iced_x86::Instruction>> {
    /// The most that a window may have.
    const MOST: u64 = 16 * LONG;
    let length = range.end.checked_sub(range.start)?;
    (length <= MOST && image.is_code(range.start)).then_some(())?;
    let moved = decode(image.bytes(&range)?, range.start);
    let mut calls = moved
        .iter()
        .filter(|instruction| instruction.mnemonic() == Mnemonic::Syscall);
    let one = calls.next().is_some() && calls.next().is_none();
    let whole = moved.iter().all(|instruction| !instruction.is_invalid());
    (one && whole).then_some(moved)
}

/// Whether what is overwritten is code, with room for a jump.
fn good(image: &Image<'_>, redirect: &Redirect) -> bool {
    let room = redirect.jump.end.checked_sub(redirect.jump.start);
    let code = [
        Some(redirect.jump.start),
        Some(redirect.back),
        redirect.short,
    ];
    room.is_some_and(|room| room >= LONG && image.bytes(&redirect.jump).is_some())
        && code
            .into_iter()
            .flatten()
            .all(|address| image.is_code(address))
}

fn of(number: Number) -> u64 {
    match number {
        Number::Known(number) => number.into(),
        Number::Unknown => NONE,
    }
}

fn number_of(word: u64) -> Option<Number> {
    match word {
        NONE => Some(Number::Unknown),
        word => Some(Number::Known(word.try_into().ok()?)),
    }
}

/// Numbers that are still to be read.
struct Words<'a>(&'a [u64]);

impl Words<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u64; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    /// How many of something follow: no more than there are numbers.
    fn count(&mut self) -> Option<usize> {
        let [count] = self.take()?;
        usize::try_from(count)
            .ok()
            .filter(|&count| count <= self.0.len())
    }
}
