// SPDX-License-Identifier: GPL-2.0

//! Tests of the request of `RFUTEX_WAKEV`.

use super::*;
use crate::{
    bindings::{
        rfutex_wakev,
        rfutex_wakev_entry, //
    },
    request::wakev::Wakev, //
};

/// Where the tests put the entries, behind the struct.
const ENTRIES: usize = 64;

impl User {
    /// A request of two entries, which would be valid.
    fn good_wakev(&self) -> rfutex_wakev {
        rfutex_wakev {
            entries: self.0.at(ENTRIES) as u64,
            results: self.0.at(PAGE_SIZE) as u64,
            nr: 2,
            entry_size: 32,
            ..Default::default()
        }
    }

    fn wakev(&self, raw: &rfutex_wakev) -> Result<Wakev> {
        Wakev::read(self.argument(raw, size_of_val(raw))?)
    }
}

fn good_entry() -> rfutex_wakev_entry {
    rfutex_wakev_entry {
        word: word(0x1000, 4, 0),
        mask: 5,
        nr: 3,
        flags: 0,
    }
}

#[kunit_tests(rfutex_request_wakev)]
mod cases {
    use super::*;

    #[test]
    fn number_and_size_of_entries_are_limited() -> Result {
        let user = User::new()?;
        let with = |nr, entry_size| {
            user.wakev(&rfutex_wakev {
                nr,
                entry_size,
                ..user.good_wakev()
            })
        };
        for nr in [1, 2, 127, 128] {
            assert_eq!(with(nr, 32)?.nr(), nr as usize);
        }
        for nr in [0, 129, 1 << 31, u32::MAX] {
            assert!(refusal(with(nr, 32)) == Some(EINVAL));
        }
        for entry_size in [32, 33, 40, 4096] {
            assert!(with(1, entry_size).is_ok());
        }
        for entry_size in [0, 1, 31, 4097, u32::MAX] {
            assert!(refusal(with(1, entry_size)) == Some(EINVAL));
        }
        Ok(())
    }

    #[test]
    fn what_is_reserved_is_zero() -> Result {
        let user = User::new()?;
        for bit in 0..32 {
            let value = 1 << bit;
            let flags = rfutex_wakev {
                flags: value,
                ..user.good_wakev()
            };
            assert!(refusal(user.wakev(&flags)) == Some(EINVAL));
            let pad = rfutex_wakev {
                pad: value,
                ..user.good_wakev()
            };
            assert!(refusal(user.wakev(&pad)) == Some(EINVAL));
            let entry = rfutex_wakev_entry {
                flags: value,
                ..good_entry()
            };
            user.0.write(ENTRIES, entry.as_bytes())?;
            let request = user.wakev(&user.good_wakev())?;
            assert!(refusal(request.entry(0)) == Some(EINVAL));
        }
        Ok(())
    }

    #[test]
    fn entries_arrive_as_they_are() -> Result {
        let user = User::new()?;
        for entry_size in [32, 48] {
            user.0.write(0, &[0; 256])?;
            for index in 0..2 {
                let entry = rfutex_wakev_entry {
                    word: word(0x1000 + 8 * index as u64, 8, 1),
                    mask: 1 << 63,
                    nr: u32::MAX - index as u32,
                    flags: 0,
                };
                user.0
                    .write(ENTRIES + index * entry_size, entry.as_bytes())?;
            }
            let raw = rfutex_wakev {
                entry_size: entry_size as u32,
                ..user.good_wakev()
            };
            let request = user.wakev(&raw)?;
            for index in 0..2 {
                let entry = request.entry(index)?;
                assert_eq!(entry.word.addr(), 0x1000 + 8 * index);
                assert!(entry.word.private());
                assert_eq!((entry.mask, entry.nr), (1 << 63, u32::MAX - index as u32));
            }
        }
        // What is unknown of a longer entry is zero.
        user.0.write(ENTRIES + 48 + 47, &[1])?;
        let raw = rfutex_wakev {
            entry_size: 48,
            ..user.good_wakev()
        };
        let request = user.wakev(&raw)?;
        assert!(request.entry(0).is_ok());
        assert!(refusal(request.entry(1)) == Some(E2BIG));
        Ok(())
    }

    #[test]
    fn entry_is_checked_as_a_wake() -> Result {
        let user = User::new()?;
        let request = user.wakev(&user.good_wakev())?;
        let refused = |entry: rfutex_wakev_entry| -> Result<bool> {
            user.0.write(ENTRIES + 32, entry.as_bytes())?;
            Ok(refusal(request.entry(1)) == Some(EINVAL))
        };
        assert!(!refused(good_entry())?);
        assert!(refused(rfutex_wakev_entry {
            word: word(0x1000, 3, 0),
            ..good_entry()
        })?);
        assert!(refused(rfutex_wakev_entry {
            mask: 0,
            ..good_entry()
        })?);
        Ok(())
    }

    #[test]
    fn results_are_written_where_they_belong() -> Result {
        let user = User::new()?;
        let request = user.wakev(&user.good_wakev())?;
        user.0.write(PAGE_SIZE - 4, &[0xee; 16])?;
        request.write_results(&[0x1111_1111, 0x2222_2222])?;
        let mut bytes = [0; 16];
        user.0.read(PAGE_SIZE - 4, &mut bytes)?;
        assert_eq!(bytes[..4], [0xee; 4]);
        assert_eq!(bytes[4..8], [0x11; 4]);
        assert_eq!(bytes[8..12], [0x22; 4]);
        assert_eq!(bytes[12..], [0xee; 4]);
        let (written, hits) = forced(Point::CopyOut, 1, || request.write_results(&[0; 2]));
        assert!(written == Err(EFAULT));
        assert_eq!(hits, 1);
        drop(user);
        assert!(request.write_results(&[0; 2]) == Err(EFAULT));
        Ok(())
    }
}
