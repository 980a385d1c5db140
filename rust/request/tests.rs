// SPDX-License-Identifier: GPL-2.0

//! Tests of what is accepted from user space, and what is refused.

mod wakev;
mod watch;

use super::*;
use crate::lab::{
    kunit::{
        forced,
        Access::{
            Read,
            ReadWrite, //
        },
        Mapping, //
    },
    Point, //
};
use kernel::{
    bindings,
    page::PAGE_SIZE, //
};

/// Memory of a process, in which the tests put the structs.
struct User(Mapping);

impl User {
    fn new() -> Result<Self> {
        Ok(Self(Mapping::anonymous(2, ReadWrite)?))
    }

    /// Puts `value` at the start, and describes it as a struct of `size` bytes.
    fn argument<T: AsBytes>(&self, value: &T, size: usize) -> Result<Argument> {
        self.0.write(0, value.as_bytes())?;
        Ok(Argument::new(self.0.at(0), size))
    }

    fn wait(&self, raw: &rfutex_wait) -> Result<Wait> {
        Wait::read(self.argument(raw, size_of_val(raw))?)
    }

    fn wake(&self, raw: &rfutex_wake) -> Result<Wake> {
        Wake::read(self.argument(raw, size_of_val(raw))?)
    }

    fn key_info(&self, raw: &rfutex_key_info) -> Result<KeyInfo> {
        KeyInfo::read(self.argument(raw, size_of_val(raw))?)
    }
}

fn word(addr: u64, size: u32, flags: u32) -> rfutex_word {
    rfutex_word { addr, size, flags }
}

/// A wait that is valid.
fn good_wait() -> rfutex_wait {
    rfutex_wait {
        word: word(0x1000, 4, 0),
        val: 7,
        mask: 5,
        ..Default::default()
    }
}

fn good_wake() -> rfutex_wake {
    rfutex_wake {
        word: word(0x1000, 4, 0),
        mask: 5,
        nr: 3,
        pad: 0,
    }
}

/// The error with which a request was refused; `None` if it was accepted.
fn refusal<T>(result: Result<T>) -> Option<Error> {
    result.err()
}

#[kunit_tests(rfutex_request)]
mod cases {
    use super::*;

    #[test]
    fn fields_arrive_as_they_are() -> Result {
        let user = User::new()?;
        let wait = user.wait(&good_wait())?;
        assert_eq!((wait.word.addr(), wait.val, wait.mask), (0x1000, 7, 5));
        assert!(wait.word.size() == Size::U32);
        assert!(!wait.word.private());
        assert!(wait.deadline.is_none());
        let wake = user.wake(&good_wake())?;
        assert_eq!((wake.word.addr(), wake.mask, wake.nr), (0x1000, 5, 3));
        let word = Word::at(0x1003, Location::PrivateAddress);
        assert_eq!(word.addr(), 0x1003);
        assert!(word.private());
        Ok(())
    }

    #[test]
    fn sizes_are_one_two_four_and_eight() -> Result {
        let user = User::new()?;
        let large = [1 << 8, 1 << 16, 1 << 31, u32::MAX, 4 | 1 << 31];
        for size in Iterator::chain(0..=65, large) {
            let expected = match size {
                1 => Ok(Size::U8),
                2 => Ok(Size::U16),
                4 => Ok(Size::U32),
                8 => Ok(Size::U64),
                _ => Err(EINVAL),
            };
            let word = || word(0x1000, size, 0);
            let wait = user.wait(&rfutex_wait {
                word: word(),
                ..good_wait()
            });
            assert!(wait.map(|wait| wait.word.size()) == expected);
            let wake = user.wake(&rfutex_wake {
                word: word(),
                ..good_wake()
            });
            assert!(wake.map(|wake| wake.word.size()) == expected);
            let info = user.key_info(&rfutex_key_info {
                word: word(),
                ..Default::default()
            });
            assert!(info.map(|info| info.word.size()) == expected);
        }
        assert_eq!(Size::ALL, 15);
        Ok(())
    }

    #[test]
    fn flags_without_a_name_are_refused() -> Result {
        let user = User::new()?;
        for bit in 0..32 {
            let word = || word(0x1000, 4, 1 << bit);
            let wait = user.wait(&rfutex_wait {
                word: word(),
                ..good_wait()
            });
            let known = bit < 2;
            assert_eq!(wait.is_ok(), known);
            if let Ok(wait) = wait {
                assert_eq!(wait.word.private(), bit == 0);
                assert_eq!(wait.word.in_arena(), bit == 1);
            }
            let wake = user.wake(&rfutex_wake {
                word: word(),
                ..good_wake()
            });
            assert!(refusal(wake) == (!known).then_some(EINVAL));
            let info = user.key_info(&rfutex_key_info {
                word: word(),
                ..Default::default()
            });
            assert!(refusal(info) == (!known).then_some(EINVAL));
        }
        let both = user.wake(&rfutex_wake {
            word: word(0x1000, 4, 3),
            ..good_wake()
        });
        assert!(refusal(both) == Some(EINVAL));
        Ok(())
    }

    #[test]
    fn addresses_are_multiples_of_the_size() -> Result {
        let user = User::new()?;
        for size in [1, 2, 4, 8] {
            for offset in 0..16 {
                let word = word(0x1000 + offset, size, 0);
                let wake = user.wake(&rfutex_wake {
                    word,
                    ..good_wake()
                });
                let fits = offset % u64::from(size) == 0;
                assert!(refusal(wake) == (!fits).then_some(EINVAL));
            }
        }
        // Whether the address is one of user space is not checked here.
        let word = word(u64::MAX - 7, 8, 0);
        assert!(user
            .wake(&rfutex_wake {
                word,
                ..good_wake()
            })
            .is_ok());
        Ok(())
    }

    #[test]
    fn mask_is_not_empty() -> Result {
        let user = User::new()?;
        let wait = |mask| {
            user.wait(&rfutex_wait {
                mask,
                ..good_wait()
            })
        };
        let wake = |mask| {
            user.wake(&rfutex_wake {
                mask,
                ..good_wake()
            })
        };
        assert!(refusal(wait(0)) == Some(EINVAL));
        assert!(refusal(wake(0)) == Some(EINVAL));
        for mask in [1, 1 << 32, 1 << 63, u64::MAX] {
            assert!(wait(mask)?.mask == mask);
            assert!(wake(mask)?.mask == mask);
        }
        Ok(())
    }

    #[test]
    fn padding_is_zero() -> Result {
        let user = User::new()?;
        for pad in [1, 1 << 31, u32::MAX] {
            assert!(refusal(user.wake(&rfutex_wake { pad, ..good_wake() })) == Some(EINVAL));
        }
        Ok(())
    }

    #[test]
    fn what_is_reserved_is_zero() -> Result {
        let user = User::new()?;
        for bit in 0..32 {
            let value = 1 << bit;
            let cond = rfutex_wait {
                cond: value,
                ..good_wait()
            };
            assert!(refusal(user.wait(&cond)) == Some(EINVAL));
        }
        Ok(())
    }

    #[test]
    fn owner_has_a_kind_and_a_number() -> Result {
        let user = User::new()?;
        let wait = |flags, owner, owner_id| {
            user.wait(&rfutex_wait {
                flags,
                owner,
                owner_id,
                ..good_wait()
            })
            .map(|wait| wait.owner)
        };
        assert!(wait(uapi::RFUTEX_OWNER_NONE, 0, 0).is_ok_and(|owner| owner.is_none()));
        for (owner, id) in [(1, 0), (0, 1), (u32::MAX, 0), (0, u64::MAX)] {
            assert!(refusal(wait(uapi::RFUTEX_OWNER_NONE, owner, id)) == Some(EINVAL));
        }
        for (flags, kind) in [
            (uapi::RFUTEX_OWNER_THREAD, owner::Kind::Thread),
            (uapi::RFUTEX_OWNER_PROCESS, owner::Kind::Process),
        ] {
            for (number, id) in [(1, 0), (i32::MAX as u32, 1), (7, (1 << 62) - 1)] {
                let owner = wait(flags, number, id)?;
                assert!(owner.is_some_and(|owner| owner.kind == kind));
                assert!(owner.is_some_and(|owner| owner.number as u32 == number));
                assert!(owner.is_some_and(|owner| owner.id == NonZero::new(id)));
            }
            for (number, id) in [(0, 0), (0, 1), (1 << 31, 0), (u32::MAX, 0), (1, 1 << 62)] {
                assert!(refusal(wait(flags, number, id)) == Some(EINVAL));
            }
        }
        for flags in [3, 4, 5, 1 << 31, u32::MAX] {
            assert!(refusal(wait(flags, 1, 0)) == Some(EINVAL));
        }
        Ok(())
    }

    #[test]
    fn value_fits_into_the_word() -> Result {
        let user = User::new()?;
        for size in [1, 2, 4, 8] {
            for bit in 0..64 {
                let word = word(0x1000, size, 0);
                let val = 1 << bit;
                let wait = user.wait(&rfutex_wait {
                    word,
                    val,
                    ..good_wait()
                });
                let fits = bit < 8 * size;
                assert_eq!(wait.is_ok(), fits);
                assert!(wait.map_or_else(|e| e == EINVAL, |wait| wait.val == val));
            }
        }
        Ok(())
    }

    #[test]
    fn number_of_waiters_is_any() -> Result {
        let user = User::new()?;
        for nr in [0, 1, 1 << 31, u32::MAX] {
            assert_eq!(user.wake(&rfutex_wake { nr, ..good_wake() })?.nr, nr);
        }
        Ok(())
    }

    #[test]
    fn deadline_is_on_a_clock_that_there_is() -> Result {
        let user = User::new()?;
        let wait = |clock, deadline| {
            user.wait(&rfutex_wait {
                clock,
                deadline,
                ..good_wait()
            })
        };
        assert!(wait(0, 0)?.deadline.is_none());
        for deadline in [1, -1, i64::MAX, i64::MIN] {
            assert!(refusal(wait(0, deadline)) == Some(EINVAL));
        }
        let clocks = [
            (1, bindings::CLOCK_MONOTONIC),
            (2, bindings::CLOCK_REALTIME),
            (3, bindings::CLOCK_BOOTTIME),
        ];
        for (clock, number) in clocks {
            for ns in [0, 1, i64::MAX] {
                let deadline = wait(clock, ns)?.deadline.ok_or(EDOM)?;
                assert_eq!(deadline.clock(), number as i32);
                assert_eq!(deadline.expires(), ns);
            }
            for ns in [-1, i64::MIN] {
                assert!(refusal(wait(clock, ns)) == Some(EINVAL));
            }
        }
        for clock in [4, 5, 1 << 31, u32::MAX] {
            assert!(refusal(wait(clock, 0)) == Some(EINVAL));
            assert!(refusal(wait(clock, 1)) == Some(EINVAL));
        }
        Ok(())
    }

    #[test]
    fn shorter_struct_is_taken_as_if_zeros_followed() -> Result {
        let user = User::new()?;
        let raw = good_wake();
        // This struct ends after the mask. What follows it in memory is not read.
        let wake = Wake::read(user.argument(&raw, 24)?)?;
        assert_eq!((wake.mask, wake.nr), (5, 0));
        // These end after the word, or have nothing at all, so that the mask is 0.
        assert!(refusal(Wake::read(user.argument(&raw, 16)?)) == Some(EINVAL));
        assert!(refusal(Wake::read(user.argument(&raw, 0)?)) == Some(EINVAL));
        // This one ends in the middle of a field, of which the low byte remains.
        let raw = rfutex_wake {
            mask: 0x1122_3344,
            ..raw
        };
        assert_eq!(Wake::read(user.argument(&raw, 17)?)?.mask, 0x44);
        // This is a wait without a clock and a deadline.
        let wait = Wait::read(user.argument(&good_wait(), 32)?)?;
        assert_eq!((wait.val, wait.mask), (7, 5));
        Ok(())
    }

    #[test]
    fn longer_struct_is_taken_if_the_rest_is_zero() -> Result {
        let user = User::new()?;
        let known = size_of::<rfutex_wake>();
        for size in [known + 1, known + 8, 200, PAGE_SIZE, 2 * PAGE_SIZE] {
            assert_eq!(Wake::read(user.argument(&good_wake(), size)?)?.nr, 3);
            user.0.write(size - 1, &[1])?;
            let refused = refusal(Wake::read(user.argument(&good_wake(), size)?));
            user.0.write(size - 1, &[0])?;
            assert!(refused == Some(E2BIG));
        }
        // What follows the struct in memory does not matter.
        user.0.write(known, &[1])?;
        assert!(user.wake(&good_wake()).is_ok());
        assert!(Wake::read(user.argument(&good_wake(), known + 1)?).is_err());
        Ok(())
    }

    #[test]
    fn memory_that_is_not_there_is_a_fault() -> Result {
        let user = User::new()?;
        let end = user.0.at(2 * PAGE_SIZE);
        user.0.write(2 * PAGE_SIZE - 32, good_wake().as_bytes())?;
        assert!(Wake::read(Argument::new(end - 32, 32)).is_ok());
        // In turn: the struct is not all there; its unknown part is not there; nothing is mapped
        // there; and the last two addresses are not of user space.
        assert!(refusal(Wake::read(Argument::new(end - 24, 32))) == Some(EFAULT));
        assert!(refusal(Wake::read(Argument::new(end - 32, 40))) == Some(EFAULT));
        assert!(refusal(Wake::read(Argument::new(0, 32))) == Some(EFAULT));
        let kernel = core::ptr::from_ref(&end).addr();
        assert!(refusal(Wake::read(Argument::new(kernel, 32))) == Some(EFAULT));
        assert!(refusal(Wake::read(Argument::new(usize::MAX - 15, 32))) == Some(EFAULT));
        Ok(())
    }

    #[test]
    fn answer_is_as_long_as_the_caller_knows() -> Result {
        let user = User::new()?;
        let answer = rfutex_query {
            version: 0x1111_1111,
            resolver: 0x2222_2222,
            features: 0x3333_3333_3333_3333,
            sizes: 0x4444_4444,
            nr_buckets: 0x5555_5555,
            hold: 0x6666_6666,
            max_watches: 0x7777_7777,
            arena_size: 0x8888_8888_8888_8888,
            max_arena_pages: 0x9999_9999_9999_9999,
            max_tables: 0xaaaa_aaaa,
            robust_size: 0xbbbb_bbbb,
        };
        let known = size_of_val(&answer);
        for size in [0, 1, 4, 8, 20, 32, known, known + 1, 64, 200] {
            user.0.write(0, &[0xee; 256])?;
            super::super::answer(Argument::new(user.0.at(0), size), &answer)?;
            let mut bytes = [0; 256];
            user.0.read(0, &mut bytes)?;
            let (written, rest) = bytes.split_at(size);
            let (ours, newer) = written.split_at(size.min(known));
            assert_eq!(ours, &answer.as_bytes()[..ours.len()]);
            assert!(newer.iter().all(|&byte| byte == 0));
            assert!(rest.iter().all(|&byte| byte == 0xee));
        }
        let read_only = Mapping::anonymous(1, Read)?;
        let nowhere = super::super::answer(Argument::new(read_only.at(0), known), &answer);
        assert!(nowhere == Err(EFAULT));
        Ok(())
    }

    #[test]
    fn key_info_answers_beside_the_word() -> Result {
        let user = User::new()?;
        let raw = rfutex_key_info {
            word: word(0x1008, 8, 1),
            ino: 99,
            pad: 99,
            ..Default::default()
        };
        let request = user.key_info(&raw)?;
        request.answer(rfutex_key_info {
            kind: 2,
            nr_waiters: 5,
            ..Default::default()
        })?;
        let mut bytes = [0; size_of::<rfutex_key_info>()];
        user.0.read(0, &mut bytes)?;
        let info = rfutex_key_info::from_bytes_copy(&bytes).ok_or(EDOM)?;
        assert_eq!(
            (info.word.addr, info.word.size, info.word.flags),
            (0x1008, 8, 1)
        );
        assert_eq!((info.kind, info.nr_waiters), (2, 5));
        assert_eq!((info.ino, info.pad), (0, 0));
        Ok(())
    }

    #[test]
    fn copying_can_fail() -> Result {
        let user = User::new()?;
        let (read, hits) = forced(Point::CopyIn, 1, || user.wake(&good_wake()));
        assert!(refusal(read) == Some(EFAULT));
        assert_eq!(hits, 1);
        let argument = Argument::new(user.0.at(0), size_of::<rfutex_query>());
        let (written, hits) = forced(Point::CopyOut, 1, || {
            answer(argument, &rfutex_query::default())
        });
        assert!(written == Err(EFAULT));
        assert_eq!(hits, 1);
        Ok(())
    }
}
