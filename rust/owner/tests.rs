// SPDX-License-Identifier: GPL-2.0

//! Tests of who is meant by an owner, and of what is known of its life.

use super::*;
use crate::lab::kunit::{
    attach_mm,
    living,
    until,
    Living, //
};
use kernel::current;

/// Whoever has the `number` now, or had it and had the `id`.
fn name(kind: Kind, number: i32, id: Option<u64>) -> Name {
    Name {
        kind,
        number,
        id: id.and_then(NonZero::new),
    }
}

/// The id of whoever lives, as a thread and as a process.
fn id_of<F>(living: &Living<F>, kind: Kind) -> Result<u64> {
    let pid = Pid::find(living.number()).ok_or(ESRCH)?;
    match kind {
        Kind::Thread => thread_id(&pid, pid.thread().ok_or(ESRCH)?),
        Kind::Process => id(&pid, 0),
    }
}

/// Whether the owner is one that had ended before it was looked up, so that nobody listens.
fn had_ended(owner: &Owner) -> bool {
    let mut called = false;
    let result = owner.listening(|| {
        called = true;
        Ok(())
    });
    owner.life() == Life::Ended && result == Err(EOWNERDEAD) && !called
}

const KINDS: [Kind; 2] = [Kind::Thread, Kind::Process];

#[kunit_tests(rfutex_owner)]
mod cases {
    use super::*;

    #[test]
    fn owner_lives_until_it_ends() -> Result {
        attach_mm()?;
        for kind in KINDS {
            let living = living()?;
            let pid = Pid::find(living.number()).ok_or(ESRCH)?;
            let id = id_of(&living, kind)?;
            let by_number = name(kind, living.number(), None).find()?;
            let by_id = name(kind, living.number(), Some(id)).find()?;
            assert!(by_number.is(&by_id));
            // Nobody is told of the end of a main thread while others go on.
            let expected = match kind {
                Kind::Thread => Life::GoesUnheard,
                Kind::Process => Life::Goes,
            };
            assert!(by_number.life() == expected && by_id.life() == expected);
            // It ends after it was looked up, and before anybody listens.
            drop(living);
            until(|| pid.process_has_ended())?;
            for owner in [by_number, by_id] {
                let mut life = None;
                let result = owner.listening(|| {
                    life = Some(owner.life());
                    Ok(())
                });
                assert!(result == Ok(()) && life == Some(Life::Ended));
            }
            // The number is free by now or not, so that nobody may be found, or one who has ended.
            let found = name(kind, pid.number() as i32, Some(id)).find()?;
            assert!(found.life() == Life::Ended);
        }
        Ok(())
    }

    #[test]
    fn another_id_is_that_of_one_who_has_ended() -> Result {
        attach_mm()?;
        let living = living()?;
        for kind in KINDS {
            let id = id_of(&living, kind)?;
            let others = [
                id + 1,
                id - 1,
                id ^ 1 << (EXEC_BITS - 1),
                id ^ 1 << EXEC_BITS,
                id ^ 1 << (ID_BITS - 1),
                id | 1 << ID_BITS,
                id << 1,
                u64::MAX,
            ];
            for other in others.into_iter().filter(|&other| other != 0) {
                assert!(had_ended(&name(kind, living.number(), Some(other)).find()?));
            }
            assert!(!had_ended(&name(kind, living.number(), Some(id)).find()?));
        }
        Ok(())
    }

    #[test]
    fn nobody_waits_for_himself() -> Result {
        let (thread, process) = current_ids()?;
        for (kind, id) in KINDS.into_iter().zip([thread, process]) {
            let number = current!().pid();
            for id in [None, Some(id)] {
                assert!(name(kind, number, id).find().err() == Some(EDEADLK));
            }
            // Somebody else once had the number.
            assert!(had_ended(&name(kind, number, Some(id ^ 1 << 30)).find()?));
        }
        Ok(())
    }

    #[test]
    fn numbers_that_nobody_has() -> Result {
        for kind in KINDS {
            for number in [i32::MIN, -1, 0, i32::MAX] {
                assert!(had_ended(&name(kind, number, None).find()?));
            }
        }
        Ok(())
    }

    #[test]
    fn ids_tell_threads_and_programs_apart() -> Result {
        let pid = Pid::current_thread();
        let id_after = |exec_id| id(&pid, exec_id);
        assert!(id_after(0)? >> EXEC_BITS == pid.unique());
        assert!(id_after(0)? != id_after(1)?);
        assert!(id_after(1)? != id_after((1 << EXEC_BITS) - 1)?);
        // There are so many bits and no more: the next program has the first one's id again.
        assert!(id_after(1 << EXEC_BITS)? == id_after(0)?);
        assert!(id_after(u64::MAX)? >> ID_BITS == 0);
        Ok(())
    }

    #[test]
    fn owners_of_a_call_are_known_once() -> Result {
        attach_mm()?;
        let (one, other) = (living()?, living()?);
        let mut owners = Owners::new();
        assert!(owners.is_empty() && owners.ended().is_none());
        for (index, living) in [&one, &one, &other, &one].into_iter().enumerate() {
            owners.add(name(Kind::Process, living.number(), None), index)?;
        }
        assert_eq!(owners.owners.len(), 2);
        // A word that is added once more is known.
        owners.add(name(Kind::Process, current!().pid(), None), 1)?;
        assert!(owners.life() == Life::Goes);
        let pid = Pid::find(other.number()).ok_or(ESRCH)?;
        drop(other);
        until(|| pid.process_has_ended())?;
        let result = owners.listening(|_| Ok(()));
        assert!(result == Err(EOWNERDEAD));
        // The first word with that owner.
        assert!(owners.ended() == Some(2 | uapi::RFUTEX_WAITV_OWNERDEAD));
        Ok(())
    }

    #[test]
    fn owner_of_a_call_ends_while_it_listens() -> Result {
        attach_mm()?;
        let living = living()?;
        let mut owners = Owners::new();
        owners.add(name(Kind::Process, living.number(), None), 3)?;
        let result = owners.listening(|life| {
            living.end();
            until(|| life() == Life::Ended)
        });
        assert!(result == Ok(()));
        assert!(owners.ended() == Some(3 | uapi::RFUTEX_WAITV_OWNERDEAD));
        Ok(())
    }
}
