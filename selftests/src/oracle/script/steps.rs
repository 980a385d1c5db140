// SPDX-License-Identifier: GPL-2.0
//! What a step is about: its actor, and its words.

use super::Step;

impl Step {
    /// The actor that it is about.
    pub fn actor_mut(&mut self) -> Option<&mut u8> {
        match self {
            Self::Wait { by, .. }
            | Self::Wake { by, .. }
            | Self::Short { by, .. }
            | Self::Wakev { by, .. }
            | Self::Requeue { by, .. }
            | Self::WakeOp { by, .. }
            | Self::Waitv { by, .. }
            | Self::Swap { by, .. }
            | Self::Store { by, .. }
            | Self::Forget { by, .. }
            | Self::Punch { by, .. }
            | Self::Remap { by, .. }
            | Self::Signal { to: by, .. }
            | Self::Remove { of: by, .. }
            | Self::Close { of: by } => Some(by),
            Self::Jump | Self::Stop { .. } | Self::Continue { .. } | Self::Kill { .. } => None,
        }
    }

    /// As [`actor_mut`](Self::actor_mut).
    pub fn actor(&self) -> Option<u8> {
        self.clone().actor_mut().copied()
    }

    /// Its words.
    pub fn words(&mut self) -> Vec<&mut u8> {
        match self {
            Self::Wait { word, .. }
            | Self::Wake { word, .. }
            | Self::Short { word, .. }
            | Self::Store { word, .. }
            | Self::Forget { word, .. }
            | Self::Punch { word, .. }
            | Self::Remap { word, .. }
            | Self::Remove {
                wake: Some(word), ..
            } => vec![word],
            Self::Requeue { from, to, .. } => vec![from, to],
            Self::WakeOp { word, target, .. } => vec![word, target],
            Self::Swap { word, wake, .. } => vec![word, wake],
            Self::Waitv { entries, .. } => {
                entries.iter_mut().map(|entry| &mut entry.word).collect()
            }
            Self::Wakev { entries, .. } => {
                entries.iter_mut().map(|entry| &mut entry.word).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Where it says whether words are private.
    pub fn private_flags(&mut self) -> Vec<&mut bool> {
        match self {
            Self::Wait { private, .. }
            | Self::Wake { private, .. }
            | Self::Short { private, .. }
            | Self::Requeue { private, .. }
            | Self::WakeOp { private, .. }
            | Self::Remove { private, .. } => vec![private],
            Self::Swap {
                private,
                wake_private,
                ..
            } => vec![private, wake_private],
            Self::Waitv { entries, .. } => {
                entries.iter_mut().map(|entry| &mut entry.private).collect()
            }
            Self::Wakev { entries, .. } => {
                entries.iter_mut().map(|entry| &mut entry.private).collect()
            }
            _ => Vec::new(),
        }
    }
}
