// SPDX-License-Identifier: GPL-2.0

//! Tests of how keys are spread over the buckets, and of the tables themselves.

use super::*;

#[kunit_tests(rfutex_table)]
mod cases {
    use super::*;
    use crate::{
        key::Kind,
        lab::{
            kunit::forced,
            Point, //
        },
        queue::NR_COUNTERS, //
    };
    use core::ptr;

    const NR_BUCKETS: usize = 256;

    /// Secrets that look random, but are the same in each run.
    fn secrets(nr: u64) -> impl Iterator<Item = Secret> {
        let number = |seed: u64| {
            let z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        (1..=nr).map(move |i| Secret::chosen([number(2 * i), number(2 * i + 1)]))
    }

    fn bucket_of(secret: Secret, id: KeyId) -> usize {
        Buckets::index(NR_BUCKETS, secret.hash(id)).0
    }

    /// The counter of a key in a table that has [`NR_BUCKETS`] counters, and so fewer buckets.
    fn counter_of(secret: Secret, id: KeyId) -> usize {
        let (bucket, counter) = Buckets::index(NR_BUCKETS / NR_COUNTERS, secret.hash(id));
        bucket * NR_COUNTERS + counter
    }

    /// The number of keys in each place.
    fn spread(
        place_of: impl Fn(KeyId) -> usize,
        keys: impl Iterator<Item = KeyId>,
    ) -> [u32; NR_BUCKETS] {
        let mut places = [0; NR_BUCKETS];
        keys.for_each(|key| places[place_of(key)] += 1);
        places
    }

    /// Whether 4096 keys are spread over the buckets, and over the counters, as a random function
    /// would spread them. This is checked for several secrets.
    ///
    /// The chi-square statistic has a mean of 255 and a standard deviation of 23 here. There are
    /// 256 chains, with 16 keys on average, and the longest of them is expected to have about 29.
    fn spreads(key: impl Fn(u64) -> KeyId) -> bool {
        let keys = || (0..4096).map(&key);
        secrets(8).all(|secret| {
            let buckets = spread(|id| bucket_of(secret, id), keys());
            let counters = spread(|id| counter_of(secret, id), keys());
            [buckets, counters].iter().all(|places| {
                let squares: u32 = places.iter().map(|&nr| nr * nr).sum();
                let chi_square = squares / 16 - 4096;
                let longest = places.iter().max();
                chi_square < 255 + 6 * 23 && longest < Some(&40)
            })
        })
    }

    /// The index of a key's counter among all counters of a table.
    fn place(table: &Table, id: KeyId) -> Option<usize> {
        // The counter counts the caller between `enter()` and the drop of the entry.
        let entry = table.slot(id).enter();
        let place = table.nr_waiters().position(|nr| nr == 1);
        drop(entry);
        place
    }

    // These are like the numbers that the module gives out: a bit that marks them, and a counter
    // that starts at the time since boot.
    const INODE: u64 = 1 << 61 | 35_123_456_789;
    const MM: u64 = INODE + 1000;

    #[test]
    fn cookie_stands_for_the_object_in_one_table_alone() -> Result {
        let tables = [Table::new(1, Hold::Inode)?, Table::new(1, Hold::Inode)?];
        let cookie = |table: &Table, number, position| {
            table.object_cookie(KeyId::made_up(Kind::Inode, number, position))
        };
        let [first, second] = tables.each_ref().map(|table| cookie(table, INODE, 0));
        // Whoever knows the cookie does not know the number, nor another table's cookie.
        assert!(first != second);
        assert!(first != KeyId::made_up(Kind::Inode, INODE, 0).object());
        assert!(cookie(&tables[0], INODE, 4096) == first);
        assert!(cookie(&tables[0], INODE + 1, 0) != first);
        Ok(())
    }

    #[test]
    fn pages_of_a_file_spread() -> Result {
        // The words are on consecutive pages, on every second page, on every fourth, and so on. The
        // strides include that of a huge page, and larger ones.
        for shift in 12..32 {
            assert!(spreads(|i| KeyId::made_up(Kind::Inode, INODE, i << shift)));
        }
        Ok(())
    }

    #[test]
    fn words_of_a_page_spread() -> Result {
        for base in [0, 4096, 77 << 12] {
            assert!(spreads(|i| KeyId::made_up(Kind::Inode, INODE, base + i)));
        }
        Ok(())
    }

    #[test]
    fn words_at_any_stride_spread() -> Result {
        for stride in [
            4,
            8,
            24,
            40,
            64,
            128,
            192,
            1000,
            4096 + 64,
            (8 << 20) + 4096,
        ] {
            let stack = 0x7fff_0000_0000;
            assert!(spreads(|i| KeyId::made_up(
                Kind::Private,
                MM,
                stack + i * stride
            )));
        }
        Ok(())
    }

    #[test]
    fn files_numbered_in_a_row_spread() -> Result {
        // These are the first words of many files. The kernel's own numbers are small.
        for first in [1, INODE] {
            for step in [1, 2, 3, 7, 64, 1000] {
                assert!(spreads(|i| KeyId::made_up(
                    Kind::Inode,
                    first + i * step,
                    0
                )));
            }
        }
        Ok(())
    }

    #[test]
    fn processes_numbered_in_a_row_spread() -> Result {
        // This is the same address in many processes, as after fork.
        for first in [1, MM] {
            for step in [1, 2, 3, 7, 64, 1000] {
                assert!(spreads(|i| {
                    KeyId::made_up(Kind::Mm, first + i * step, 0x5555_5575_52a0)
                }));
            }
        }
        Ok(())
    }

    #[test]
    fn objects_and_positions_together_spread() -> Result {
        // These are 64 files of 64 pages each; then many files, with another page in each.
        assert!(spreads(|i| {
            KeyId::made_up(Kind::Inode, INODE + i / 64, (i % 64) << 12)
        }));
        assert!(spreads(|i| {
            KeyId::made_up(Kind::Inode, INODE + i, i << 12)
        }));
        Ok(())
    }

    #[test]
    fn each_bit_of_object_and_position_counts() -> Result {
        // A hash that is computed over the wrong bytes (8d67743653dc) ignores some bits. Each bit
        // must change both the bucket and the counter with nearly all of 64 secrets.
        let changes = |other: KeyId| {
            let key = KeyId::made_up(Kind::Inode, INODE, 5 << 12);
            let places = [bucket_of, counter_of];
            let moved = |place_of: fn(Secret, KeyId) -> usize| {
                let moved = |&secret: &Secret| place_of(secret, key) != place_of(secret, other);
                secrets(64).filter(moved).count()
            };
            places.into_iter().map(moved).min()
        };
        for bit in 0..61 {
            let object = KeyId::made_up(Kind::Inode, INODE ^ 1 << bit, 5 << 12);
            assert!(changes(object) > Some(56));
        }
        for bit in 0..56 {
            let position = KeyId::made_up(Kind::Inode, INODE, 5 << 12 ^ 1 << bit);
            assert!(changes(position) > Some(56));
        }
        // The kind is a part of the object.
        let private = KeyId::made_up(Kind::Private, MM, 0x1000);
        let shared = KeyId::made_up(Kind::Mm, MM, 0x1000);
        assert!(secrets(64).all(|secret| secret.hash(private) != secret.hash(shared)));
        Ok(())
    }

    #[test]
    fn keys_that_collide_under_one_secret_do_not_under_another() -> Result {
        let mut others = secrets(9);
        let known = others.next().ok_or(EDOM)?;
        let page = |i: u64| KeyId::made_up(Kind::Inode, INODE, i << 12);
        let mut chosen = KVec::new();
        let mut collide = (0..1 << 20).filter(|&i| bucket_of(known, page(i)) == 0);
        while chosen.len() < 128 {
            chosen.push(collide.next().ok_or(EDOM)?, GFP_KERNEL)?;
        }
        let longest = |secret| {
            let keys = chosen.iter().map(|&i| page(i));
            spread(|id| bucket_of(secret, id), keys).into_iter().max()
        };
        assert_eq!(longest(known), Some(128));
        for secret in others {
            assert!(longest(secret) < Some(9));
        }
        Ok(())
    }

    #[test]
    fn tables_have_secrets_of_their_own() -> Result {
        let (one, other) = (
            Table::new(1024, Hold::Inode)?,
            Table::new(1024, Hold::Inode)?,
        );
        let differ = (0..32).any(|i| {
            let id = KeyId::made_up(Kind::Inode, INODE, i << 12);
            place(&one, id) != place(&other, id)
        });
        assert!(differ);
        let id = KeyId::made_up(Kind::Inode, INODE, 0);
        assert!(place(&one, id).is_some() && place(&one, id) == place(&one, id));
        Ok(())
    }

    #[test]
    fn keys_in_one_bucket_are_counted_by_all_its_counters() -> Result {
        let table = Table::new(16, Hold::Inode)?;
        let mut seen = [false; 16 * NR_COUNTERS];
        for i in 0..4096 {
            let id = KeyId::made_up(Kind::Inode, INODE, i << 12);
            seen[place(&table, id).ok_or(EDOM)?] = true;
        }
        assert!(seen.iter().all(|&seen| seen));
        Ok(())
    }

    #[test]
    fn as_many_buckets_as_asked_for() -> Result {
        for (asked, got) in [(1, 1), (2, 2), (3, 4), (1000, 1024), (1024, 1024)] {
            assert_eq!(Table::new(asked, Hold::Inode)?.nr_buckets(), got);
        }
        for asked in [MAX_BUCKETS + 1, 1 << 31, u32::MAX] {
            assert!(Table::new(asked, Hold::Inode).err() == Some(EINVAL));
        }
        let by_default = Table::new(0, Hold::Inode)?;
        assert!(by_default.nr_buckets().is_power_of_two());
        let (bytes, share) = (
            size_of_val(by_default.buckets.as_slice()),
            totalram::bytes() / DEFAULT_SHARE,
        );
        assert!(bytes <= share);
        assert!(by_default.nr_buckets() == DEFAULT_BUCKETS || 2 * bytes > share);
        // Each bucket begins at a cache line.
        let aligned = |bucket| ptr::from_ref::<Bucket>(bucket).addr() % 64 == 0;
        assert!(by_default.buckets.as_slice().iter().all(aligned));
        assert!(by_default.nr_waiters().all(|nr| nr == 0));
        Ok(())
    }

    #[test]
    fn default_follows_memory_and_cpus() -> Result {
        const BUCKET: usize = size_of::<Bucket>();
        // The buckets never use more than their share of the memory, and never less than half of
        // it.
        for kib in (1..4096).map(|n| n * 97) {
            let (nr, share) = (by_default(kib << 10, 1), (kib << 10) / DEFAULT_SHARE);
            if nr > MIN_PER_CPU && nr < DEFAULT_BUCKETS {
                assert!(nr.is_power_of_two());
                assert!(nr * BUCKET <= share);
                assert!(nr * BUCKET * 2 > share);
            }
        }
        assert_eq!(by_default(0, 1), MIN_PER_CPU);
        assert_eq!(by_default(0, 3), 3 * MIN_PER_CPU);
        assert_eq!(
            by_default((DEFAULT_SHARE * BUCKET) << 16, 1),
            DEFAULT_BUCKETS
        );
        assert_eq!(
            by_default(((DEFAULT_SHARE * BUCKET) << 16) - 1, 1),
            DEFAULT_BUCKETS / 2
        );
        assert_eq!(by_default(usize::MAX, 4), DEFAULT_BUCKETS);
        assert_eq!(by_default(usize::MAX, 1024), 1024 * MIN_PER_CPU);
        assert_eq!(by_default(usize::MAX, usize::MAX), MAX_BUCKETS as usize);
        Ok(())
    }

    #[test]
    fn no_memory_no_table() -> Result {
        let (table, hits) = forced(Point::Allocate, 1, || Table::new(16, Hold::Inode));
        assert!(table.err() == Some(ENOMEM));
        assert_eq!(hits, 1);
        Ok(())
    }
}
