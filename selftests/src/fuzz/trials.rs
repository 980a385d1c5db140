// SPDX-License-Identifier: GPL-2.0
//! The tests: that what is made can be played, and that a fault would be found.

use super::calls::Calls;
use super::input::Input;
use super::mutate::{fresh, mutated};
use super::player::{Player, Wrong};
use super::shrink::{shrink, smallest};
use crate::harness::effort;
use crate::oracle::{Backend, Fault, PAIR, Pair, on_processors};
use fastrand::Rng;

/// How many inputs are played here.
const INPUTS: u32 = 150;

/// How many must be enough to find a fault.
const ENOUGH: u32 = 2000;

trials![played, found, least];

/// An input, new or changed, and the ones before it, of which few are kept.
fn next(rng: &mut Rng, before: &mut Vec<Input>) -> Input {
    let input = if before.is_empty() || rng.bool() {
        fresh(rng)
    } else {
        let (one, other) = (rng.usize(..before.len()), rng.usize(..before.len()));
        mutated(rng, &before[one], &before[other])
    };
    if before.len() == 16 {
        before.swap_remove(rng.usize(..16));
    }
    before.push(input.clone());
    input
}

/// Whatever is drawn and changed can be kept as text, and comes to what it has to.
fn played() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    on_processors(1, |_, conductor| {
        let (mut rng, mut before) = (Rng::with_seed(seed), Vec::new());
        let mut player = Player::new(conductor, PAIR).expect("the kernel's log");
        for _ in 0..effort(INPUTS) {
            let input = next(&mut rng, &mut before);
            assert_eq!(Input::parse(&input.text()).as_ref(), Ok(&input));
            if let Err(wrong) = player.play(&input) {
                panic!("{wrong}\n{}", input.text());
            }
        }
    });
}

/// A fault of the other side is found, and what shows it is small then: none of its steps can be
/// left out.
fn found() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    on_processors(1, |_, conductor| {
        let (mut rng, mut before) = (Rng::with_seed(seed), Vec::new());
        let wrong = Pair(PAIR.0, Backend::Wrong(true, Fault::OneMore));
        let mut player = Player::new(conductor, wrong).expect("the kernel's log");
        let differs = |player: &mut Player<'_>, input: &Input| {
            matches!(player.play(input), Err(Wrong::Differs(_)))
        };
        let failing = (0..ENOUGH).find_map(|_| {
            let input = next(&mut rng, &mut before);
            (matches!(input, Input::Scenario(_)) && differs(&mut player, &input)).then_some(input)
        });
        let failing = failing.expect("the fault");
        let small = shrink(&failing, |input| differs(&mut player, input));
        println!("{}", small.text());
        let Input::Scenario(scenario) = &small else {
            panic!("calls are not compared");
        };
        assert!(differs(&mut player, &small));
        for left_out in 0..scenario.steps.len() {
            let mut less = scenario.clone();
            let step = less.steps.remove(left_out);
            let differs = differs(&mut player, &Input::Scenario(less));
            assert!(!differs, "nothing is lost without {step:?}");
        }
    });
}

/// What is left when everything was left out that can be.
fn least() {
    let all: Vec<u32> = (0..100).collect();
    let fails = |some: &[u32]| some.contains(&3) && some.contains(&77);
    assert_eq!(smallest(all, fails), [3, 77]);
    assert_eq!(smallest(vec![1, 2, 3], |_| true), [] as [u32; 0]);
    assert_eq!(smallest(vec![1, 2, 3], |some| some.len() == 3), [1, 2, 3]);
    let none = Input::Calls(Calls::default());
    assert_eq!(shrink(&none, |_| true), none);
}
