// SPDX-License-Identifier: GPL-2.0
//! Where a word's page lies in its folio is told to the system administrator only: it is a part of
//! the physical address.

use crate::harness::{Child, Mapping, PAGE, fx};
use nix::unistd::{Uid, setresuid};
use rfutex::Resolver;

trials![folio];

fn folio() {
    let map = Mapping::shared(PAGE);
    let word = map.word(0);
    assert_eq!(fx().query().expect("a query").resolver, Resolver::Page);
    let ours = fx().key_info(word).expect("key of a word");
    assert!(ours.folio.is_some());
    Child::run(|| {
        let nobody = Uid::from_raw(65534);
        setresuid(nobody, nobody, nobody).expect("setresuid");
        let theirs = fx().key_info(word).expect("key of a word");
        assert_eq!(theirs.folio, None);
        // All else is the same.
        assert_eq!((theirs.key, theirs.object), (ours.key, ours.object));
    })
    .join();
}
