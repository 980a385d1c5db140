// SPDX-License-Identifier: GPL-2.0

//! Tests of who is meant by a number, and of who is told of an end.

use super::*;
use crate::lab::kunit::{
    attach_mm,
    living,
    until, //
};
use kernel::{
    current,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// Counts how often it is told.
struct Counter(Arc<Atomic<u32>>);

impl Hears for Counter {
    fn hear(&self) {
        self.0.add(1, Relaxed);
    }
}

/// A notice, and how often it was told.
type Counted = (Pin<KBox<Notice<Counter>>>, Arc<Atomic<u32>>);

/// A notice of the end of whoever has the id `pid`.
fn notice(pid: &ARef<Pid>) -> Result<Counted> {
    let told = Arc::new(Atomic::new(0), GFP_KERNEL)?;
    let notice = Notice::new(pid.clone(), Counter(told.clone()));
    Ok((KBox::pin_init(notice, GFP_KERNEL)?, told))
}

#[kunit_tests(rfutex_pid)]
mod cases {
    use super::*;

    #[test]
    fn numbers_stand_for_those_who_have_them() -> Result {
        attach_mm()?;
        let own = Pid::find(current!().pid()).ok_or(ESRCH)?;
        assert!(own.is_current_thread() && own.is_current_process());
        assert!(own.unique() == Pid::current_thread().unique());
        assert!(own.number() as i32 == current!().pid());
        let living = living()?;
        let other = Pid::find(living.number()).ok_or(ESRCH)?;
        assert!(!other.is_current_thread() && !other.is_current_process());
        assert!(other.unique() != own.unique());
        for pid in [&own, &other] {
            assert!(pid.thread().is_some_and(|thread| thread.leads));
            assert!(!pid.process_has_ended());
            assert!(!pid.is_no_process());
        }
        for number in [i32::MIN, -1, 0, i32::MAX] {
            assert!(Pid::find(number).is_none());
        }
        Ok(())
    }

    #[test]
    fn who_has_ended_stays_so() -> Result {
        attach_mm()?;
        let living = living()?;
        let pid = Pid::find(living.number()).ok_or(ESRCH)?;
        let unique = pid.unique();
        drop(living);
        until(|| pid.thread().is_none() && pid.process_has_ended())?;
        assert!(!pid.is_no_process());
        assert!(pid.unique() == unique);
        Ok(())
    }

    #[test]
    fn an_end_is_told_to_those_who_listen_to_it() -> Result {
        attach_mm()?;
        let (one, other) = (living()?, living()?);
        let pid = Pid::find(one.number()).ok_or(ESRCH)?;
        let pid_of_other = Pid::find(other.number()).ok_or(ESRCH)?;
        let (first, told_first) = notice(&pid)?;
        let (second, told_second) = notice(&pid)?;
        let (gone, told_gone) = notice(&pid)?;
        drop(gone);
        // It is put in again where another has been taken out.
        let (third, told_third) = notice(&pid)?;
        drop(other);
        until(|| pid_of_other.thread().is_none())?;
        for told in [&told_first, &told_second, &told_third] {
            assert!(told.load(Relaxed) == 0);
        }
        drop(one);
        until(|| pid.thread().is_none())?;
        for told in [&told_first, &told_second, &told_third] {
            assert!(told.load(Relaxed) != 0);
        }
        assert!(told_gone.load(Relaxed) == 0);
        assert!(first.pid().unique() == pid.unique());
        // They are taken out after they were told, in another order.
        drop(second);
        drop(third);
        drop(first);
        Ok(())
    }

    #[test]
    fn nobody_is_told_of_an_end_that_was_before() -> Result {
        attach_mm()?;
        let living = living()?;
        let pid = Pid::find(living.number()).ok_or(ESRCH)?;
        drop(living);
        until(|| pid.thread().is_none())?;
        for _ in 0..2 {
            let (notice, told) = notice(&pid)?;
            // Whoever looks now sees that it has ended.
            assert!(notice.pid().thread().is_none());
            drop(notice);
            assert!(told.load(Relaxed) == 0);
        }
        Ok(())
    }

    #[test]
    fn nobody_is_told_after_he_has_left() -> Result {
        attach_mm()?;
        for _ in 0..100 {
            let living = living()?;
            let pid = Pid::find(living.number()).ok_or(ESRCH)?;
            let (notice, told) = notice(&pid)?;
            living.end();
            drop(notice);
            let before = told.load(Relaxed);
            drop(living);
            until(|| pid.thread().is_none())?;
            assert!(told.load(Relaxed) == before);
        }
        Ok(())
    }
}
