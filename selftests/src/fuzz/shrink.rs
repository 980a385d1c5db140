// SPDX-License-Identifier: GPL-2.0
//! Makes an input that fails small.

use super::calls::Calls;
use super::input::Input;
use crate::oracle::Scenario;

/// A smaller input that still `fails`: without what it fails without.
pub fn shrink(input: &Input, mut fails: impl FnMut(&Input) -> bool) -> Input {
    match input {
        Input::Scenario(scenario) => {
            let with = |steps: &[_]| Scenario {
                steps: steps.to_vec(),
                ..scenario.clone()
            };
            let steps = smallest(scenario.steps.clone(), |steps| {
                fails(&Input::Scenario(with(steps)))
            });
            let small = Input::Scenario(with(&steps));
            let tidy = Input::Scenario(with(&steps).tidy());
            if fails(&tidy) { tidy } else { small }
        }
        Input::Calls(calls) => {
            let flat = calls.threads.iter().enumerate();
            let flat: Vec<_> = flat
                .flat_map(|(thread, steps)| steps.iter().map(move |step| (thread, step.clone())))
                .collect();
            let flat = smallest(flat, |flat| fails(&Input::Calls(threads(flat))));
            Input::Calls(threads(&flat))
        }
    }
}

/// Steps as those of their threads.
fn threads(flat: &[(usize, super::calls::Step)]) -> Calls {
    let mut threads: Vec<(usize, Vec<_>)> = Vec::new();
    for (thread, step) in flat {
        match threads.iter_mut().find(|(other, _)| other == thread) {
            Some((_, steps)) => steps.push(step.clone()),
            None => threads.push((*thread, vec![step.clone()])),
        }
    }
    Calls {
        threads: threads.into_iter().map(|(_, steps)| steps).collect(),
    }
}

/// `all` without parts without which it still `fails`: first large ones, then smaller ones, until
/// none can be left out.
pub fn smallest<T: Clone>(all: Vec<T>, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut all = all;
    let mut part = all.len().div_ceil(2);
    while part > 0 {
        let mut start = 0;
        let before = all.len();
        while start < all.len() {
            let mut less = all.clone();
            less.drain(start..(start + part).min(all.len()));
            if fails(&less) {
                all = less;
            } else {
                start += part;
            }
        }
        if part > 1 {
            part = part.div_ceil(2);
        } else if all.len() == before {
            part = 0;
        }
    }
    all
}
