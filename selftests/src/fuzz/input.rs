// SPDX-License-Identifier: GPL-2.0
//! What is played.

use super::calls::Calls;
use crate::oracle::Scenario;
use serde::{Deserialize, Serialize};

/// An input, which is kept as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// futex(2) says how it has to end.
    Scenario(Scenario),
    /// Each call ends with success or a documented error.
    Calls(Calls),
}

impl Input {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let input = ron::from_str(text).map_err(|error| error.to_string())?;
        match &input {
            Self::Scenario(scenario) => scenario.check()?,
            Self::Calls(calls) => calls.check()?,
        }
        Ok(input)
    }

    /// As text.
    pub fn text(&self) -> String {
        let config = ron::ser::PrettyConfig::new()
            .depth_limit(4)
            .struct_names(false);
        ron::ser::to_string_pretty(self, config).expect("an input can be written down")
    }
}
