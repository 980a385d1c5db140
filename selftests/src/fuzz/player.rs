// SPDX-License-Identifier: GPL-2.0
//! Plays inputs, and judges what comes of them.

use super::input::Input;
use crate::oracle::{Conductor, Judged, Pair, judged};
use rfutex_trial::kmsg::{self, Kmsg};
use rfutex_trial::splat;
use std::fmt;
use std::io;

/// What is wrong with what came of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is not what it has to be.
    Differs(String),
    /// It does not come to an end.
    Hangs(String),
    /// The kernel complained.
    Splat(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs(text) => write!(f, "wrong:\n{text}"),
            Self::Hangs(text) => write!(f, "a hang:\n{text}"),
            Self::Splat(text) => write!(f, "the kernel complains:\n{text}"),
        }
    }
}

impl Wrong {
    /// Whether it is the same kind of failure, as far as that can be told.
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Who plays them.
pub struct Player<'a> {
    conductor: &'a mut Conductor,
    kmsg: Kmsg,
    pair: Pair,
}

impl<'a> Player<'a> {
    /// One who compares these two, and looks at what the kernel logs from now on.
    ///
    /// # Errors
    ///
    /// The kernel's log cannot be read.
    pub fn new(conductor: &'a mut Conductor, pair: Pair) -> io::Result<Self> {
        let mut kmsg = Kmsg::open()?;
        kmsg.drain()?;
        Ok(Self {
            conductor,
            kmsg,
            pair,
        })
    }

    /// Plays an input.
    ///
    /// # Errors
    ///
    /// What is wrong. After a hang, nothing more can be played.
    pub fn play(&mut self, input: &Input) -> Result<(), Wrong> {
        let result = match input {
            Input::Scenario(scenario) => match judged(self.conductor, self.pair, scenario) {
                Judged::Fine => Ok(()),
                Judged::Different(text) => Err(Wrong::Differs(text)),
                Judged::Stuck(text) => Err(Wrong::Hangs(text)),
            },
            Input::Calls(calls) => calls.play(),
        };
        let messages = self.kmsg.drain().expect("the kernel's log");
        let found = splat::scan(messages.iter().map(|message| message.text.as_str()));
        if found.is_empty() {
            return result;
        }
        Err(Wrong::Splat(kmsg::lines(&messages)))
    }
}
