// SPDX-License-Identifier: GPL-2.0

//! Tests of what is counted, and for how long accounts exist.

use super::*;
use crate::lab::{
    kunit::{
        attach_mm,
        beside,
        forced, //
    },
    Point, //
};
use core::mem::size_of;
use kernel::bindings;

/// Users that no task is of. Each test case has its own.
const SOMEBODY: u32 = 4_000_000_000;
const ANOTHER: u32 = 4_000_000_001;

/// The handles and the charges of the account of this user; `None` if there is none.
fn shares(uid: u32) -> Option<(u32, u32)> {
    let accounts = ACCOUNTS.lock();
    let account = accounts.as_ref()?.get(&uid)?;
    let shares = account.shares.load(Relaxed);
    Some(((shares >> 32) as u32, shares as u32))
}

/// Gives the current task, which is a kernel thread of its own, other user ids.
fn become_user(real: u32, effective: u32) -> Result {
    // SAFETY: The new credentials belong to the caller until they are committed, and a task may
    // commit new credentials for itself.
    unsafe {
        let credentials = bindings::prepare_creds();
        if credentials.is_null() {
            return Err(ENOMEM);
        }
        (*credentials).uid.val = real;
        (*credentials).euid.val = effective;
        bindings::commit_creds(credentials);
    }
    Ok(())
}

#[kunit_tests(rfutex_account)]
mod cases {
    use super::*;

    #[test]
    fn charges_end_at_the_limit() -> Result {
        let handle = Handle::of(SOMEBODY, 2)?;
        let (first, second) = (handle.charge()?, handle.charge()?);
        assert_eq!(handle.charge().err(), Some(ENOSPC));
        assert_eq!(shares(SOMEBODY), Some((1, 2)));
        drop(first);
        assert_eq!(shares(SOMEBODY), Some((1, 1)));
        let third = handle.charge()?;
        assert_eq!(handle.charge().err(), Some(ENOSPC));
        drop((second, third));
        assert_eq!(shares(SOMEBODY), Some((1, 0)));
        Ok(())
    }

    #[test]
    fn nothing_may_be_armed_with_limit_0() -> Result {
        let handle = Handle::of(SOMEBODY, 0)?;
        assert_eq!(handle.charge().err(), Some(ENOSPC));
        assert_eq!(shares(SOMEBODY), Some((1, 0)));
        Ok(())
    }

    #[test]
    fn limit_is_that_of_the_user() -> Result {
        let (one, same) = (Handle::of(SOMEBODY, 2)?, Handle::of(SOMEBODY, 2)?);
        let other = Handle::of(ANOTHER, 2)?;
        let _charges = [one.charge()?, same.charge()?];
        assert_eq!(one.charge().err(), Some(ENOSPC));
        assert_eq!(same.charge().err(), Some(ENOSPC));
        assert_eq!(shares(SOMEBODY), Some((2, 2)));
        let _charges = [other.charge()?, other.charge()?];
        assert_eq!(shares(ANOTHER), Some((1, 2)));
        Ok(())
    }

    #[test]
    fn account_goes_with_the_last_share() -> Result {
        assert_eq!(shares(SOMEBODY), None);
        let (one, same) = (Handle::of(SOMEBODY, 9)?, Handle::of(SOMEBODY, 9)?);
        drop(one);
        assert_eq!(shares(SOMEBODY), Some((1, 0)));
        let charge = same.charge()?;
        drop(same);
        // What is armed counts even if nobody has a handle for a while.
        assert_eq!(shares(SOMEBODY), Some((0, 1)));
        let again = Handle::of(SOMEBODY, 9)?;
        assert_eq!(shares(SOMEBODY), Some((1, 1)));
        drop(again);
        drop(charge);
        assert_eq!(shares(SOMEBODY), None);
        Ok(())
    }

    #[test]
    fn account_with_shares_is_not_removed() -> Result {
        let handle = Handle::of(SOMEBODY, 9)?;
        // Somebody has given back the last share, and this handle was taken before he has locked
        // the accounts.
        remove(SOMEBODY);
        assert_eq!(shares(SOMEBODY), Some((1, 0)));
        drop(handle);
        // Somebody else has removed the account meanwhile.
        remove(SOMEBODY);
        assert_eq!(shares(SOMEBODY), None);
        Ok(())
    }

    #[test]
    fn real_user_is_charged() -> Result {
        let before = Handle::of_current()?;
        assert!(before.is_of_current());
        become_user(SOMEBODY, ANOTHER)?;
        assert!(!before.is_of_current());
        let handle = Handle::of_current()?;
        assert!(handle.is_of_current());
        let charge = handle.charge()?;
        let while_armed = [SOMEBODY, ANOTHER].map(shares);
        drop((handle, charge));
        assert_eq!(while_armed, [Some((1, 1)), None]);
        assert_eq!(before.account().limit, parameters::watches());
        Ok(())
    }

    #[test]
    fn tables_and_their_pages_end_at_the_limits() -> Result {
        let table = |pages| TableCharge::new(Handle::of(SOMEBODY, 9)?, pages, (2, 10));
        let first = table(8)?;
        // Too much memory: the table is not counted either.
        for pages in [3, u64::MAX] {
            assert_eq!(table(pages).err(), Some(ENOSPC));
        }
        let second = table(2)?;
        assert_eq!(table(0).err(), Some(ENOSPC));
        drop(first);
        assert_eq!(table(9).err(), Some(ENOSPC));
        let third = table(8)?;
        // The account exists for as long as one of its tables.
        assert_eq!(shares(SOMEBODY), Some((2, 0)));
        drop((second, third));
        assert_eq!(shares(SOMEBODY), None);
        Ok(())
    }

    #[test]
    fn without_memory_there_is_no_account() -> Result {
        let (handle, hits) = forced(Point::Allocate, 1, || Handle::of(SOMEBODY, 1).err());
        assert_eq!(handle, Some(ENOMEM));
        assert_eq!(hits, 1);
        assert_eq!(shares(SOMEBODY), None);
        Ok(())
    }

    #[test]
    fn charge_fits_into_a_watch() -> Result {
        assert_eq!(size_of::<Charge>(), 8);
        Ok(())
    }

    #[test]
    fn two_tasks_come_and_go() -> Result {
        attach_mm()?;
        let come_and_go = || {
            for _ in 0..4_000 {
                let handle = Handle::of(SOMEBODY, 1)?;
                // The other one may have a charge at the moment.
                let charge = handle.charge();
                drop(handle);
                if charge.as_ref().is_err_and(|error| *error != ENOSPC) {
                    return Err(EINVAL);
                }
            }
            Ok(())
        };
        let other = beside(come_and_go)?;
        let mine = come_and_go();
        other.join()??;
        mine?;
        assert_eq!(shares(SOMEBODY), None);
        Ok(())
    }
}
