// SPDX-License-Identifier: GPL-2.0
//! Makes inputs from others.

use super::calls::{Arg, Calls, STEPS, Step, THREADS};
use super::draw;
use super::input::Input;
use crate::oracle::{self, Scenario};
use fastrand::Rng;

/// The most steps of a scenario.
const MOST: usize = 40;

/// A new input, like none.
pub fn fresh(rng: &mut Rng) -> Input {
    if rng.bool() {
        Input::Scenario(scenario(rng))
    } else {
        Input::Calls(draw::calls(rng))
    }
}

/// A new input, like this one; `other` is another one of the corpus.
pub fn mutated(rng: &mut Rng, input: &Input, other: &Input) -> Input {
    let mut input = input.clone();
    for _ in 0..rng.usize(1..4) {
        match &mut input {
            Input::Scenario(scenario) => change_scenario(rng, scenario, other),
            Input::Calls(calls) => change_calls(rng, calls, other),
        }
    }
    input
}

fn scenario(rng: &mut Rng) -> Scenario {
    oracle::drawn(rng.u64(..), rng.u64(..))
}

fn change_scenario(rng: &mut Rng, scenario: &mut Scenario, other: &Input) {
    let drawn;
    let other = match other {
        Input::Scenario(other) if rng.bool() => other,
        _ => {
            drawn = self::scenario(rng);
            &drawn
        }
    };
    match rng.u8(..8) {
        0 => {
            scenario.size = other.size;
            scenario.table = other.table;
        }
        1 => scenario.words.clone_from(&other.words),
        2 => scenario.actors.clone_from(&other.actors),
        _ => change_list(rng, &mut scenario.steps, &other.steps, MOST),
    }
    scenario.repair();
}

fn change_calls(rng: &mut Rng, calls: &mut Calls, other: &Input) {
    let drawn;
    let other = match other {
        Input::Calls(other) if rng.bool() => other,
        _ => {
            drawn = draw::calls(rng);
            &drawn
        }
    };
    match rng.u8(..8) {
        0 => change_list(rng, &mut calls.threads, &other.threads, THREADS),
        1..4 => {
            let steps = calls.threads.iter_mut().flatten();
            let steps: Vec<_> = steps.collect();
            if let Some(step) = rng.choice(steps) {
                change_step(rng, step);
            }
        }
        _ => {
            let theirs: Vec<_> = other.threads.iter().flatten().cloned().collect();
            if let Some(steps) = rng.choice(&mut calls.threads) {
                change_list(rng, steps, &theirs, STEPS);
            }
        }
    }
}

/// Changes a list, with a part of another one.
fn change_list<T: Clone>(rng: &mut Rng, list: &mut Vec<T>, other: &[T], most: usize) {
    let at = rng.usize(..=list.len());
    match rng.u8(..6) {
        0 if !list.is_empty() => {
            list.remove(rng.usize(..list.len()));
        }
        1 if !list.is_empty() => {
            let twice = list[rng.usize(..list.len())].clone();
            list.insert(at, twice);
        }
        2 if !list.is_empty() => {
            let (one, two) = (rng.usize(..list.len()), rng.usize(..list.len()));
            list.swap(one, two);
        }
        3 => {
            list.truncate(at);
            list.extend_from_slice(&other[rng.usize(..=other.len())..]);
        }
        _ => {
            let from = rng.usize(..=other.len());
            let to = (from + rng.usize(1..4)).min(other.len());
            list.splice(at..at, other[from..to].iter().cloned());
        }
    }
    list.truncate(most);
}

fn change_step(rng: &mut Rng, step: &mut Step) {
    match step {
        Step::Ioctl { file, request, arg } => match rng.u8(..8) {
            0 => *file = rng.u8(..6),
            1 => *request ^= 1 << rng.u32(..30),
            _ => match arg {
                Arg::Number(number) => change_number(rng, number),
                Arg::Struct { at, bytes } => {
                    if rng.u8(..8) == 0 {
                        *at = rng.u16(..);
                    } else {
                        change_bytes(rng, bytes);
                    }
                }
            },
        },
        Step::Write { at, bytes, .. } => {
            if rng.bool() {
                *at = rng.u16(..) & !7;
            } else {
                change_bytes(rng, bytes);
            }
        }
        Step::Map { file, pages } => {
            *file = rng.u8(..6);
            *pages = rng.u8(..4);
        }
        Step::Read { file, len } => {
            *file = rng.u8(..6);
            *len = rng.u16(..) >> rng.u32(..16);
        }
        Step::Poll { file } | Step::Close { file } => *file = rng.u8(..6),
    }
}

fn change_number(rng: &mut Rng, number: &mut u64) {
    *number = match rng.u8(..5) {
        0 => *number ^ 1 << rng.u32(..64),
        1 => number.wrapping_add(1),
        2 => number.wrapping_sub(1),
        3 => 0,
        _ => rng.u64(..) >> rng.u32(..64),
    };
}

/// Changes one of the numbers of 4 or 8 bytes that structs consist of.
fn change_bytes(rng: &mut Rng, bytes: &mut [u8]) {
    let size = if rng.bool() { 4 } else { 8 };
    let Some(places) = (bytes.len() / size).checked_sub(1) else {
        return;
    };
    let at = rng.usize(..=places) * size;
    let place = &mut bytes[at..at + size];
    let mut whole = [0; 8];
    whole[..size].copy_from_slice(place);
    let mut number = u64::from_le_bytes(whole);
    change_number(rng, &mut number);
    place.copy_from_slice(&number.to_le_bytes()[..size]);
}
