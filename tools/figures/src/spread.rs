// SPDX-License-Identifier: GPL-2.0
//! Many figures in few.

use serde::{Deserialize, Serialize};

/// The middle of a set of figures, and the half of them that is nearest to it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// As many are below as above.
    pub median: f64,
    /// A quarter is below.
    pub low: f64,
    /// A quarter is above.
    pub high: f64,
}

impl Spread {
    /// Of `figures`, which are at least one.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn of(figures: &[f64]) -> Self {
        let sorted = sorted(figures);
        Self {
            median: quantile(&sorted, 0.5),
            low: quantile(&sorted, 0.25),
            high: quantile(&sorted, 0.75),
        }
    }

    /// Of the same figures, each divided.
    pub fn divided(self, by: f64) -> Self {
        Self {
            median: self.median / by,
            low: self.low / by,
            high: self.high / by,
        }
    }
}

/// `figures` from the least to the greatest.
pub fn sorted(figures: &[f64]) -> Vec<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The figure below which the part `of` of all is, 0 to 1.
///
/// # Panics
///
/// If there is none.
pub fn quantile(sorted: &[f64], of: f64) -> f64 {
    let place = of * (sorted.len() - 1) as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters() {
        let spread = Spread::of(&[5.0, 1.0, 2.0, 4.0, 3.0]);
        assert_eq!((spread.low, spread.median, spread.high), (2.0, 3.0, 4.0));
        assert_eq!(Spread::of(&[1.0, 2.0]).median, 1.5);
        assert_eq!(Spread::of(&[7.0]).high, 7.0);
    }
}
