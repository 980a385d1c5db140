// SPDX-License-Identifier: GPL-2.0

//! Private words: the address is the key, because the caller said so. Nothing is looked at.

use super::{
    Borrowed,
    Resolve,
    Visit, //
};
use crate::{
    mm::gup::Access,
    request::Word, //
};
use kernel::prelude::*;

/// See the [module](self).
pub(crate) struct Private;

impl Resolve for Private {
    /// There is no page to access.
    #[inline(always)]
    fn borrow<R, E: Default>(
        word: Word,
        _access: Access,
        mut visitor: impl Visit<R, E>,
    ) -> Result<R> {
        match attempt(word, &mut visitor)? {
            Ok(result) => Ok(result),
            Err(left) => super::again(left, move || attempt(word, &mut visitor)),
        }
    }

    fn borrow_both<R>(
        first: Word,
        second: Word,
        mut f: impl FnMut(&Borrowed<'_>, &Borrowed<'_>) -> Option<R>,
    ) -> Result<R> {
        let (first, second) = (Borrowed::private(first)?, Borrowed::private(second)?);
        super::repeat(|| Ok(f(&first, &second).ok_or(())))
    }
}

#[inline(always)]
fn attempt<R, E>(word: Word, visitor: &mut impl Visit<R, E>) -> Result<Result<R, E>> {
    Ok(visitor.visit(&Borrowed::private(word)?))
}
