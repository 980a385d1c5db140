// SPDX-License-Identifier: GPL-2.0
//! Where the set-up gets the kernel's source when Debian's mirror has that version no more,
//! and what it says when it does not get it.

mod release;
mod server;
mod world;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use server::{Answer, Request, Server};
use world::{PACKAGED, SIGNATURE, World, sh};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Which kernel is from kernel.org.
const RELEASE: &str = "7.3.4 from kernel.org";

/// The bytes that requests for `path` began with.
fn begun(server: &Server, path: &str) -> Vec<usize> {
    let wanted = |request: Request| (request.path == path).then_some(request.from);
    server.requests().into_iter().filter_map(wanted).collect()
}

/// The places of `parts` in what was said, which have to be there in this order.
fn in_order(said: &str, parts: &[&str]) {
    let mut rest = said;
    for part in parts {
        let at = rest
            .find(part)
            .unwrap_or_else(|| panic!("no {part} (here) in: {said}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn the_pinned_versions_have_checksums() {
    let pinned = |package: &str, version: &str| {
        let pins = fs::read_to_string(top().join("tools/kernel/pins")).unwrap();
        let script = format!(
            "RFUTEX_CACHE=$PWD/build; . tools/kernel/lib.sh >/dev/null; echo \"{version}\""
        );
        let version = sh(&script, &top());
        pins.lines().any(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            fields[0] == package
                && fields[1].starts_with(&version)
                && fields[3].len() == 64
                && fields[4].len() == 40
        })
    };
    assert!(pinned("linux-source-7.3", "$KERNEL_VERSION-"));
    assert!(pinned("rust-src", "$RUSTC_VERSION+"));
    assert!(pinned("herdtools7", "$HERD_VERSION-"));
}

#[test]
fn the_snapshots_have_what_the_mirror_lacks() {
    let world = World::new();
    world
        .snapshot
        .put(&world.archived, Answer::File(world.deb()));
    let (version, said) = world.found(&mut world.source());
    assert_eq!(version, PACKAGED);
    in_order(
        &said,
        &[
            "download   Linux 7.3.4, 160 MB, from Debian trixie-backports",
            "trixie-backports has no linux-source-7.3 7.3.4-*",
            "download   Linux 7.3.4, 160 MB, from the archive of Debian's snapshots",
            "unpack     Linux 7.3.4-1~bpo13+1",
        ],
    );
    assert!(world.kernel_org.requests().is_empty());
    // It is there now, and nobody is asked again.
    world.snapshot.requests();
    assert_eq!(world.found(&mut world.source()).0, PACKAGED);
    assert!(world.snapshot.requests().is_empty());
    assert!(!world.at("cache/source-7.3.4/archive").exists());
}

#[test]
fn a_mirror_that_has_it_is_enough() {
    let world = World::new();
    world.apt(&format!("echo 'linux-source-7.3 | {PACKAGED} | index'"));
    assert_eq!(world.found(&mut world.source()).0, PACKAGED);
    assert!(world.snapshot.requests().is_empty() && world.kernel_org.requests().is_empty());
}

/// Signs and serves a suite as a mirror does, for the system's own apt.
fn real_mirror(world: &World, version: &str) {
    world.key("archive");
    sh(
        &format!(
            "cat >Packages <<END
Package: linux-source-7.3
Version: {version}
Architecture: all
Maintainer: Nobody <nobody@localhost>
Filename: pool/linux-source-7.3.deb
Size: $(stat -c %s linux-source-7.3_{version}_all.deb)
SHA256: $(sha256sum <linux-source-7.3_{version}_all.deb | cut -c 1-64)
Description: stand-in
END
            arch=$(dpkg --print-architecture)
            cat >Release <<END
Origin: Debian
Suite: trixie-backports
Codename: trixie-backports
Date: $(date -uR)
Architectures: all $arch
Components: main
SHA256:
 $(sha256sum <Packages | cut -c 1-64) $(stat -c %s Packages) main/binary-$arch/Packages
END
            export GNUPGHOME=$PWD/archive
            gpg --batch --yes --clearsign --output InRelease Release
            gpgconf --kill gpg-agent
            rm bin/apt-get bin/apt-cache
            printf %s \"$arch\" >arch"
        ),
        world.dir.path(),
    );
    let arch = String::from_utf8(world.read("arch")).unwrap();
    let deb = world.read(&format!("linux-source-7.3_{version}_all.deb"));
    for (path, contents) in [
        ("InRelease".to_owned(), world.read("InRelease")),
        (
            format!("main/binary-{arch}/Packages"),
            world.read("Packages"),
        ),
    ] {
        let path = format!("/dists/trixie-backports/{path}");
        world.mirror.put(&path, Answer::File(contents));
    }
    world
        .mirror
        .put("/pool/linux-source-7.3.deb", Answer::File(deb));
}

/// Whether the system has an apt, which there is none of on other distributions.
fn has_apt() -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .any(|dir| dir.join("apt-get").exists())
}

#[test]
fn apt_believes_a_mirror_only_by_its_signature() {
    if !has_apt() {
        return;
    }
    let world = World::new();
    real_mirror(&world, PACKAGED);
    world
        .snapshot
        .put(&world.archived, Answer::File(world.deb()));
    let said = world.found(&mut world.source()).1;
    in_order(&said, &["apt cannot read the index of", "snapshots"]);

    let world = World::new();
    real_mirror(&world, PACKAGED);
    let mut source = world.source();
    source.env("DEBIAN_KEYRING", world.at("archive.key"));
    assert_eq!(world.found(&mut source).0, PACKAGED);
    assert!(world.snapshot.requests().is_empty());
}

#[test]
fn a_newer_version_is_the_last_resort() {
    let world = World::new();
    world.tree("7.3.9", "newer");
    world.package("newer", "7.3.9-1");
    let mirror_key = has_apt().then(|| {
        real_mirror(&world, "7.3.9-1");
        world.at("archive.key")
    });
    if mirror_key.is_none() {
        world.apt("echo 'linux-source-7.3 | 7.3.9-1 | index'");
    }
    let mut source = world.source();
    source.env("DEBIAN_KEYRING", mirror_key.unwrap_or_default());
    let (version, said) = world.found(&mut source);
    assert_eq!(version, "7.3.9-1");
    in_order(
        &said,
        &[
            "snapshots",
            "error: 404",
            "from kernel.org",
            "error: 404",
            "which was not tried with this",
        ],
    );
}

#[test]
fn each_source_that_fails_is_named_and_why() {
    let world = World::new();
    world.apt("exit 0");
    world.snapshot.put(&world.archived, Answer::Silence);
    world.kernel_org.put(SIGNATURE, Answer::Status(503));
    let said = world.lost(&mut world.source());
    let (snapshot, kernel_org) = (&world.snapshot.address, &world.kernel_org.address);
    in_order(
        &said,
        &[
            "trixie-backports has no linux-source-7.3 7.3.4-*",
            &format!("Debian's snapshots, {snapshot}\n"),
            &format!(
                "rfutex: {snapshot}{} cannot be downloaded: Operation too slow",
                world.archived
            ),
            &format!("from kernel.org, {kernel_org}\n"),
            &format!(
                "rfutex: {kernel_org}{SIGNATURE} cannot be downloaded: The requested URL returned error: 503"
            ),
            "rfutex: no source of Linux 7.3.4 to be had; give a source tree of Linux 7.3 with KSRC=DIR",
        ],
    );
    // A fault may pass; a server that has said nothing is not asked again.
    assert_eq!(begun(&world.kernel_org, SIGNATURE), [0, 0]);
    assert_eq!(begun(&world.snapshot, &world.archived), [0]);
}

#[test]
fn without_a_network_that_is_said_soon() {
    let world = World::new();
    let bin = world.at("bin/apt-get");
    fs::write(&bin, "#!/bin/sh\n[ \"$1\" != update ]\n").unwrap();
    let mut source = world.source();
    // Nobody listens on these.
    source
        .env("DEBIAN_SNAPSHOT", "http://127.0.0.1:1")
        .env("KERNEL_ORG", "http://127.0.0.1:1");
    let said = world.lost(&mut source);
    in_order(
        &said,
        &[
            "rfutex: apt cannot read the index of trixie-backports from",
            "rfutex: http://127.0.0.1:1/file/",
            "rfutex: http://127.0.0.1:1/v7.x/linux-7.3.4.tar.sign cannot be downloaded: Failed to connect",
            "KSRC=DIR",
        ],
    );
    assert_eq!(said.matches("rfutex: ").count(), 4, "{said}");
    assert!(!said.contains("newest"), "{said}");
}

#[test]
fn a_wrong_checksum_is_refused() {
    let world = World::new();
    let mut deb = world.deb();
    *deb.last_mut().unwrap() ^= 1;
    world.snapshot.put(&world.archived, Answer::File(deb));
    world.kernel_org_has(Answer::File(world.read("linux.tar.xz")));
    let (version, said) = world.found(&mut world.source());
    assert_eq!(version, RELEASE);
    in_order(
        &said,
        &["is not used: its SHA256 is not", "from kernel.org"],
    );
    // Nothing of it is gone on with.
    assert!(!world.at("cache/source-7.3.4/deb").exists());
    assert_eq!(
        fs::read_dir(world.at("cache/downloads")).unwrap().count(),
        0
    );
}

#[test]
fn a_connection_that_breaks_is_made_again() {
    let world = World::new();
    let deb = world.deb();
    let third = deb.len() / 3 + 1;
    world
        .snapshot
        .put(&world.archived, Answer::Breaks(deb, third));
    assert_eq!(world.found(&mut world.source()).0, PACKAGED);
    assert_eq!(
        begun(&world.snapshot, &world.archived),
        [0, third, 2 * third]
    );
}

#[test]
fn a_truncated_file_that_never_goes_on_is_given_up() {
    let world = World::new();
    world
        .snapshot
        .put(&world.archived, Answer::Breaks(world.deb(), 0));
    let said = world.lost(&mut world.source());
    in_order(
        &said,
        &["cannot be downloaded: transfer closed", "from kernel.org"],
    );
}

#[test]
fn a_server_that_falls_silent_is_asked_for_the_rest() {
    let world = World::new();
    let deb = world.deb();
    let half = deb.len() / 2 + 1;
    world
        .snapshot
        .put(&world.archived, Answer::Stalls(deb, half));
    let mut source = world.source();
    source.env("FETCH_TIMEOUT", "1");
    assert_eq!(world.found(&mut source).0, PACKAGED);
    assert_eq!(begun(&world.snapshot, &world.archived), [0, half]);
}

#[test]
fn the_next_run_goes_on_where_one_was_killed() {
    let world = World::new();
    let deb = world.deb();
    world
        .snapshot
        .put(&world.archived, Answer::Stalls(deb.clone(), 100_000));
    let mut run = world
        .source()
        .env("FETCH_TIMEOUT", "600")
        .process_group(0)
        .spawn()
        .unwrap();
    let part = world.at(&format!(
        "cache/downloads/linux-source-7.3_{PACKAGED}_all.deb.part"
    ));
    let size = || fs::metadata(&part).map_or(0, |file| file.len() as usize);
    let start = Instant::now();
    // What a program has not written yet is lost with it.
    while size() < 90_000 {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing came");
        std::thread::sleep(Duration::from_millis(10));
    }
    killpg(Pid::from_raw(run.id() as i32), Signal::SIGKILL).unwrap();
    run.wait().unwrap();
    let there = size();
    world.snapshot.requests();
    world.snapshot.put(&world.archived, Answer::File(deb));
    assert_eq!(world.found(&mut world.source()).0, PACKAGED);
    assert_eq!(begun(&world.snapshot, &world.archived), [there]);
}

/// Leaves something of the package in the cache, as if a run had been interrupted.
fn leave(world: &World, bytes: &[u8]) {
    let downloads = world.at("cache/downloads");
    fs::create_dir_all(&downloads).unwrap();
    let part = downloads.join(format!("linux-source-7.3_{PACKAGED}_all.deb.part"));
    fs::write(part, bytes).unwrap();
}

#[test]
fn what_is_left_and_of_no_use_is_thrown_away() {
    let junk = vec![b'x'; 1000];
    for (left, begins) in [
        // Other bytes, all of them, and more than all.
        (junk.clone(), vec![1000, 0]),
        (World::new().deb(), vec![usize::MAX, 0]),
        (junk.repeat(1000), vec![1_000_000, 0]),
    ] {
        let world = World::new();
        let deb = world.deb();
        leave(&world, &left);
        let begins: Vec<_> = begins.iter().map(|&from| from.min(left.len())).collect();
        world.snapshot.put(&world.archived, Answer::File(deb));
        assert_eq!(world.found(&mut world.source()).0, PACKAGED);
        assert_eq!(begun(&world.snapshot, &world.archived), begins);
    }
}

#[test]
fn a_server_that_cannot_go_on_is_asked_for_all() {
    let world = World::new();
    let deb = world.deb();
    leave(&world, &deb[..1000]);
    world.snapshot.put(&world.archived, Answer::Whole(deb));
    assert_eq!(world.found(&mut world.source()).0, PACKAGED);
    assert_eq!(begun(&world.snapshot, &world.archived), [1000, 0]);
}

#[test]
fn a_source_of_the_users_own_needs_no_server() {
    let world = World::new();
    let mut source = world.source();
    source.env("KSRC", world.at("linux/linux-7.3.4"));
    let output = source.output().unwrap();
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim_end(),
        world.at("linux/linux-7.3.4").display().to_string()
    );
    assert!(world.snapshot.requests().is_empty() && world.kernel_org.requests().is_empty());
}

#[test]
fn other_packages_are_in_the_snapshots_too() {
    let world = World::new();
    let fetch = |package: &str, pattern: &str| {
        let kernel = world.at("tools/kernel");
        let script = format!(
            ". {0}/lib.sh; . {0}/debian.sh; mkdir -p $CACHE/got
            package_fetch $CACHE/got {package} '{pattern}'; cat $CACHE/got/version",
            kernel.display()
        );
        world
            .command("bash")
            .args(["-c", &script])
            .output()
            .unwrap()
    };
    world
        .snapshot
        .put(&world.archived, Answer::File(world.deb()));
    let output = fetch("linux-source-7.3", "7.3.4-*");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), PACKAGED);
    assert_eq!(world.read("cache/got/linux-source-7.3.deb"), world.deb());

    // What nobody knows the checksum of is not asked for.
    world.snapshot.requests();
    let output = fetch("rust-src", "1.99.0+*");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && output.stdout.is_empty());
    in_order(
        &said,
        &[
            "no checksum of rust-src 1.99.0+*",
            "rfutex: rust-src 1.99.0+* cannot be had",
        ],
    );
    assert!(world.snapshot.requests().is_empty());
}
