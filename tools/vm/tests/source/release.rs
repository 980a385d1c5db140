// SPDX-License-Identifier: GPL-2.0
//! When a release of kernel.org is used, and when not.

use std::fs;

use crate::server::Answer;
use crate::world::{KEY, SIGNATURE, TARBALL, World, sh};
use crate::{RELEASE, begun, in_order};

#[test]
fn a_release_of_kernel_org_counts_by_its_signature() {
    let world = World::new();
    let tarball = world.read("linux.tar.xz");
    let cut = tarball.len() / 2;
    world.kernel_org_has(Answer::Breaks(tarball, cut));
    let (version, said) = world.found(&mut world.source());
    assert_eq!(version, RELEASE);
    in_order(
        &said,
        &["error: 404", "from kernel.org", "unpack     Linux 7.3.4"],
    );
}

/// kernel.org's release is refused, and this is why.
fn refused(world: &World, why: &str) {
    let said = world.lost(&mut world.source());
    in_order(&said, &["from kernel.org", why, "KSRC=DIR"]);
    assert!(!said.contains("unpack"), "{said}");
}

#[test]
fn a_release_that_is_not_signed_well_is_refused() {
    // Another archive than the signed one.
    let world = World::new();
    world.kernel_org_has(Answer::File(world.read("linux.tar.xz")));
    world.tree("7.3.4", "other");
    fs::write(world.at("other/linux-7.3.4/Kbuild"), "evil\n").unwrap();
    world.pack("7.3.4", "other");
    world
        .kernel_org
        .put(TARBALL, Answer::File(world.read("other.tar.xz")));
    refused(&world, "is not used: it has no good signature");

    // What is no archive.
    world.kernel_org.put(TARBALL, Answer::File(vec![0; 100]));
    refused(&world, "is not used: it has no good signature");

    // A key that had expired before today.
    let world = World::new();
    world.kernel_org_has(Answer::File(world.read("linux.tar.xz")));
    let fingerprint = world.key_of("old", "--faked-system-time 20200101T000000", "1y");
    world.trust(&fingerprint);
    let signature = world.sign_in("old", "--faked-system-time 20200101T000000", "linux");
    world.kernel_org.put(SIGNATURE, Answer::File(signature));
    world
        .kernel_org
        .put(KEY, Answer::File(world.read("old.key")));
    refused(&world, "is not used: it has no good signature");

    // A key that is served as the one, and signs well, but has another fingerprint.
    let world = World::new();
    world.kernel_org_has(Answer::File(world.read("linux.tar.xz")));
    world.key("forger");
    let signature = world.sign("forger", "linux");
    world.kernel_org.put(SIGNATURE, Answer::File(signature));
    world
        .kernel_org
        .put(KEY, Answer::File(world.read("forger.key")));
    refused(&world, "is not used: it has no good signature");
}

#[test]
fn without_a_key_there_must_be_a_checksum() {
    let world = World::new();
    let tarball = world.read("linux.tar.xz");
    world.kernel_org_has(Answer::File(tarball));
    world.kernel_org.put(KEY, Answer::Status(404));
    refused(
        &world,
        "is not used: no key to check its signature with, and no KERNEL_SHA256",
    );
    // The archive is not even asked for.
    assert!(begun(&world.kernel_org, TARBALL).is_empty());

    let sum = sh("sha256sum <linux.tar.xz | cut -c 1-64", world.dir.path());
    let mut source = world.source();
    source.env(
        "KERNEL_SHA256",
        sum.replace(|c: char| c.is_ascii_digit(), "0"),
    );
    in_order(
        &world.lost(&mut source),
        &["is not used: its SHA256 is not"],
    );
    let mut source = world.source();
    source.env("KERNEL_SHA256", &sum);
    assert_eq!(world.found(&mut source).0, RELEASE);
}

#[test]
fn another_release_that_is_signed_well_is_refused() {
    let world = World::new();
    world.tree("7.3.2", "older");
    world.kernel_org_has(Answer::File(world.read("older.tar.xz")));
    let signature = world.sign("signer", "older");
    world.kernel_org.put(SIGNATURE, Answer::File(signature));
    let said = world.lost(&mut world.source());
    in_order(
        &said,
        &["what is said to be the source of Linux 7.3.4 from kernel.org is that of 7.3.2"],
    );
    assert!(!world.at("cache/source-7.3.4/.complete").exists());
}
