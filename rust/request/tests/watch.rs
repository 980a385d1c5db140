// SPDX-License-Identifier: GPL-2.0

//! Tests of the requests of watch sets.

use super::*;
use crate::{
    bindings::{
        rfutex_watch_add,
        rfutex_watch_remove,
        rfutex_watches_create, //
    },
    request::watch::{
        WatchAdd,
        WatchRemove,
        WatchesCreate, //
    }, //
};

impl User {
    fn watches_create(&self, raw: &rfutex_watches_create) -> Result<WatchesCreate> {
        WatchesCreate::read(self.argument(raw, size_of_val(raw))?)
    }

    fn watch_add(&self, raw: &rfutex_watch_add) -> Result<WatchAdd> {
        WatchAdd::read(self.argument(raw, size_of_val(raw))?)
    }

    fn watch_remove(&self, raw: &rfutex_watch_remove) -> Result<WatchRemove> {
        WatchRemove::read(self.argument(raw, size_of_val(raw))?)
    }
}

/// A watch that is valid.
fn good_add() -> rfutex_watch_add {
    rfutex_watch_add {
        word: word(0x1000, 4, 0),
        val: 7,
        mask: 5,
        cookie: 0x1122_3344_5566_7788,
        ..Default::default()
    }
}

#[kunit_tests(rfutex_request_watch)]
mod cases {
    use super::*;

    #[test]
    fn set_has_the_flags_that_there_are() -> Result {
        let user = User::new()?;
        let create = |flags, pad| user.watches_create(&rfutex_watches_create { flags, pad });
        for flags in 0..4 {
            let set = create(flags, 0)?;
            assert_eq!(set.close_on_exec, flags & 1 != 0);
            assert_eq!(set.nonblocking, flags & 2 != 0);
        }
        for bit in 0..32 {
            assert!(refusal(create(1 << bit, 0)) == (bit > 1).then_some(EINVAL));
            assert!(refusal(create(0, 1 << bit)) == Some(EINVAL));
        }
        // A process that knows neither of them has a set without.
        let nothing = WatchesCreate::read(user.argument(&[0u8; 0], 0)?)?;
        assert!(!nothing.close_on_exec && !nothing.nonblocking);
        Ok(())
    }

    #[test]
    fn fields_of_a_watch_arrive_as_they_are() -> Result {
        let user = User::new()?;
        for (flags, repeat) in [(0, false), (1, true)] {
            let add = user.watch_add(&rfutex_watch_add {
                flags,
                ..good_add()
            })?;
            assert_eq!((add.word.addr(), add.val, add.mask), (0x1000, 7, 5));
            assert_eq!(add.cookie, 0x1122_3344_5566_7788);
            assert_eq!(add.repeat, repeat);
        }
        Ok(())
    }

    #[test]
    fn watch_is_checked_as_a_wait() -> Result {
        let user = User::new()?;
        let refused = |raw: rfutex_watch_add| refusal(user.watch_add(&raw)) == Some(EINVAL);
        for bit in 0..32 {
            let value = 1 << bit;
            let flags = rfutex_watch_add {
                flags: value,
                ..good_add()
            };
            assert_eq!(refused(flags), bit != 0);
            let cond = rfutex_watch_add {
                cond: value,
                ..good_add()
            };
            assert!(refused(cond));
        }
        assert!(refused(rfutex_watch_add {
            word: word(0x1002, 4, 0),
            ..good_add()
        }));
        assert!(refused(rfutex_watch_add {
            val: 1 << 32,
            ..good_add()
        }));
        assert!(refused(rfutex_watch_add {
            mask: 0,
            ..good_add()
        }));
        Ok(())
    }

    #[test]
    fn watch_must_have_room_for_the_id() -> Result {
        let user = User::new()?;
        for size in 0..48 {
            let add = WatchAdd::read(user.argument(&good_add(), size)?);
            assert!(refusal(add) == Some(EINVAL));
        }
        for size in 48..64 {
            let add = WatchAdd::read(user.argument(&good_add(), size)?)?;
            assert!(!add.repeat);
        }
        Ok(())
    }

    #[test]
    fn id_is_written_to_its_field_only() -> Result {
        let user = User::new()?;
        for size in [48, 56, 64] {
            user.0.write(0, &[0; 64])?;
            // What the field had before does not matter.
            let raw = rfutex_watch_add {
                id: u64::MAX,
                ..good_add()
            };
            let add = WatchAdd::read(user.argument(&raw, size)?)?;
            user.0.write(0, &[0xee; 64])?;
            add.write_id(0x8877_6655_4433_2211)?;
            let mut bytes = [0; 64];
            user.0.read(0, &mut bytes)?;
            let (before, rest) = bytes.split_at(40);
            let (id, after) = rest.split_at(8);
            assert_eq!(id, &0x8877_6655_4433_2211u64.to_ne_bytes());
            assert!(Iterator::chain(before.iter(), after).all(|&byte| byte == 0xee));
        }
        Ok(())
    }

    #[test]
    fn id_cannot_always_be_written() -> Result {
        let user = User::new()?;
        let add = user.watch_add(&good_add())?;
        let (written, hits) = forced(Point::CopyOut, 1, || add.write_id(1));
        assert!(written == Err(EFAULT));
        assert_eq!(hits, 1);
        drop(user);
        assert!(add.write_id(1) == Err(EFAULT));
        Ok(())
    }

    #[test]
    fn any_id_can_be_named() -> Result {
        let user = User::new()?;
        let remove = |id, flags, pad| user.watch_remove(&rfutex_watch_remove { id, flags, pad });
        for id in [0, 1, 1 << 32, u64::MAX] {
            assert_eq!(remove(id, 0, 0)?.id, id);
        }
        for bit in 0..32 {
            assert!(refusal(remove(1, 1 << bit, 0)) == Some(EINVAL));
            assert!(refusal(remove(1, 0, 1 << bit)) == Some(EINVAL));
        }
        Ok(())
    }
}
