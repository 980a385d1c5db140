// SPDX-License-Identifier: GPL-2.0

//! The table: which key queues in which bucket.

use crate::{
    key::KeyId,
    lab,
    mm::{
        pinned_slice::PinnedSlice,
        random, //
    },
    queue::Bucket, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Buckets for each possible CPU, where the user does not say how many.
const BUCKETS_PER_CPU: u32 = 256;

/// The most that one may ask for.
const MAX_BUCKETS: u32 = 1 << 20;

/// A table: buckets, and the secret that says which key goes where.
pub(crate) struct Table {
    buckets: PinnedSlice<Bucket>,
    mask: usize,
    secret: Secret,
}

/// The hash's key, so that nobody can choose words that collide.
#[derive(Clone, Copy)]
pub(crate) struct Secret([u64; 2]);

impl Secret {
    fn random() -> Self {
        Self([random::number(), random::number()])
    }

    /// A secret that a test chooses.
    #[cfg(CONFIG_KUNIT)]
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn chosen(parts: [u64; 2]) -> Self {
        Self(parts)
    }

    /// The hash of a key: a folded multiply of both its parts, each masked with a part of the
    /// secret, and a second one that spreads what the first left in a few bits.
    #[inline]
    pub(crate) fn hash(self, id: KeyId) -> u64 {
        let fold = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            (product as u64) ^ (product >> 64) as u64
        };
        let (object, position) = id.parts();
        fold(
            fold(object ^ self.0[0], position ^ self.0[1]),
            self.0[0] | 1,
        )
    }
}

impl Table {
    /// Makes a table of `nr_buckets` buckets, rounded up to a power of two; 0 for as many as suit
    /// the machine.
    ///
    /// # Errors
    ///
    /// `EINVAL`: more than there may be. `ENOMEM`.
    ///
    /// # Context
    ///
    /// May sleep.
    pub(crate) fn new(nr_buckets: u32) -> Result<Arc<Self>> {
        let nr = match nr_buckets {
            0 => BUCKETS_PER_CPU
                .saturating_mul(kernel::cpu::nr_cpu_ids())
                .min(MAX_BUCKETS),
            nr => nr,
        };
        if nr > MAX_BUCKETS {
            return Err(EINVAL);
        }
        let nr = nr.next_power_of_two() as usize;
        if lab::fault(lab::Point::Allocate) {
            return Err(ENOMEM);
        }
        let table = Self {
            buckets: PinnedSlice::new(nr, Bucket::new)?,
            mask: nr - 1,
            secret: Secret::random(),
        };
        Ok(Arc::new(table, GFP_KERNEL)?)
    }

    /// The bucket of a key. The one hash of an operation.
    #[inline]
    pub(crate) fn bucket(&self, id: KeyId) -> &Bucket {
        let index = self.secret.hash(id) as usize & self.mask;
        // Never out of bounds; the mask makes the check one comparison.
        &self.buckets[index]
    }

    /// How many buckets there are.
    pub(crate) fn nr_buckets(&self) -> usize {
        self.buckets.len()
    }

    /// All buckets.
    #[cfg(RFUTEX_LAB)]
    pub(crate) fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }
}
