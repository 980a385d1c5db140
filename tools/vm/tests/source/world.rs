// SPDX-License-Identifier: GPL-2.0
//! Where the set-up is tried: a copy of its scripts, which knows the checksums of a small
//! archive that stands in for the kernel, a cache, and servers that play Debian's mirror,
//! the archive of Debian's snapshots, and kernel.org.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::server::{Answer, Server};

/// The version of the kernel that the stand-in says it is.
pub const VERSION: &str = "7.3.4";
/// The version of Debian's package of it.
pub const PACKAGED: &str = "7.3.4-1~bpo13+1";

/// How long the file is in the stand-in that makes it long.
const NOISE: usize = 200_000;

/// Where kernel.org has the archive and its signature.
pub const TARBALL: &str = "/v7.x/linux-7.3.4.tar.xz";
pub const SIGNATURE: &str = "/v7.x/linux-7.3.4.tar.sign";
/// Where its Web Key Directory has the key of who signs.
pub const KEY: &str = "/keys/signer";

/// Runs a command that has to succeed, and returns what it printed.
pub fn sh(script: &str, directory: &Path) -> String {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub struct World {
    pub dir: TempDir,
    pub mirror: Server,
    pub snapshot: Server,
    pub kernel_org: Server,
    /// Where the archive of snapshots has the package.
    pub archived: String,
}

impl World {
    /// Servers that have nothing, on a machine with an apt whose mirror has none of
    /// the packages.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let scripts = dir.path().join("tools/kernel");
        fs::create_dir_all(&scripts).unwrap();
        for entry in fs::read_dir(crate::top().join("tools/kernel")).unwrap() {
            let from = entry.unwrap().path();
            if from.is_file() {
                fs::copy(&from, scripts.join(from.file_name().unwrap())).unwrap();
            }
        }
        let world = Self {
            archived: String::new(),
            mirror: Server::start(),
            snapshot: Server::start(),
            kernel_org: Server::start(),
            dir,
        };
        world.tree(VERSION, "linux");
        world.package("linux", PACKAGED);
        let sums = sh("sha256sum *.deb; sha1sum *.deb", world.dir.path());
        let sums: Vec<_> = sums
            .lines()
            .map(|line| line.split_once(' ').unwrap().0)
            .collect();
        // Beside it, another package and another architecture's.
        let no = "0".repeat(64);
        world.script(
            "pins",
            &format!(
                "linux-doc {PACKAGED} all {no} {no}\n\
                 linux-source-7.3 {PACKAGED} pdp11 {no} {no}\n\
                 linux-source-7.3 7.3.2-1 all {no} {no}\n\
                 linux-source-7.3 {PACKAGED} all {} {}\n",
                sums[0], sums[1]
            ),
        );
        world.apt("exit 0");
        Self {
            archived: format!("/file/{}", sums[1]),
            ..world
        }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.at(name)).unwrap()
    }

    /// Writes a file of the copied scripts.
    fn script(&self, name: &str, contents: &str) {
        fs::write(self.at("tools/kernel").join(name), contents).unwrap();
    }

    /// Makes the stand-in for the kernel of `version`: `NAME.tar.xz`, of some 200 kB.
    pub fn tree(&self, version: &str, name: &str) {
        let tree = self.at(&format!("{name}/linux-{version}"));
        fs::create_dir_all(&tree).unwrap();
        let mut parts = version.split('.');
        let [major, minor, patch] = [(); 3].map(|()| parts.next().unwrap());
        let makefile = format!("VERSION = {major}\nPATCHLEVEL = {minor}\nSUBLEVEL = {patch}\n");
        // It must not get small when it is compressed.
        let mut state = 1_u32;
        let noise: Vec<u8> = (0..NOISE)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        for (file, contents) in [
            ("Makefile", makefile.as_bytes()),
            ("Kbuild", b"\n"),
            ("Kconfig", b"\n"),
            ("noise", &noise),
        ] {
            fs::write(tree.join(file), contents).unwrap();
        }
        self.pack(version, name);
    }

    /// Packs the tree again.
    pub fn pack(&self, version: &str, name: &str) {
        let script = format!("tar -C {name} -cJf {name}.tar.xz linux-{version}");
        sh(&script, self.dir.path());
    }

    /// Makes Debian's package of `NAME.tar.xz`, as `linux-source-7.3_VERSION_all.deb`. A
    /// system without Debian's tools can do that, too.
    pub fn package(&self, name: &str, version: &str) {
        sh(
            &format!(
                "rm -rf deb && mkdir -p deb/usr/src && cd deb
                cp ../{name}.tar.xz usr/src/linux-source-7.3.tar.xz
                printf '%s\\n' 'Package: linux-source-7.3' 'Version: {version}' \
                    'Architecture: all' 'Maintainer: Nobody <nobody@localhost>' \
                    'Description: stand-in' >control
                echo 2.0 >debian-binary
                tar -cJf control.tar.xz ./control
                tar -cJf data.tar.xz ./usr
                ar rc ../linux-source-7.3_{version}_all.deb debian-binary control.tar.xz data.tar.xz"
            ),
            self.dir.path(),
        );
    }

    /// The package, as the archive of snapshots has it.
    pub fn deb(&self) -> Vec<u8> {
        self.read(&format!("linux-source-7.3_{PACKAGED}_all.deb"))
    }

    /// Puts an apt before the system's. It runs this for `madison`, which prints the index.
    pub fn apt(&self, madison: &str) {
        let bin = self.at("bin");
        fs::create_dir_all(&bin).unwrap();
        for name in ["apt-get", "apt-cache"] {
            let script = format!(
                "#!/bin/sh\ncase $* in\nmadison*) {madison} ;;\n\
                 download*) cp {}/*_\"${{3#*=}}\"_all.deb . ;;\nesac\n",
                self.dir.path().display()
            );
            fs::write(bin.join(name), script).unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// Makes a key of who signs the kernel, in a keyring of this name, and returns its
    /// fingerprint.
    pub fn key(&self, keyring: &str) -> String {
        self.key_of(keyring, "", "never")
    }

    /// As [`Self::key`], with these options of gpg. The key is good for `time`.
    pub fn key_of(&self, keyring: &str, options: &str, time: &str) -> String {
        sh(
            &format!(
                "mkdir -m 700 {keyring} && export GNUPGHOME=$PWD/{keyring}
                gpg {options} --batch --quiet --passphrase '' --quick-gen-key {keyring}@localhost ed25519 sign {time}
                gpg --batch --export >{keyring}.key
                gpg --batch --with-colons --list-keys | awk -F: '/^fpr/ {{ print $10; exit }}'"
            ),
            self.dir.path(),
        )
    }

    /// Signs `NAME.tar.xz` as kernel.org does, with the key of that keyring.
    pub fn sign(&self, keyring: &str, name: &str) -> Vec<u8> {
        self.sign_in(keyring, "", name)
    }

    /// As [`Self::sign`], with these options of gpg.
    pub fn sign_in(&self, keyring: &str, options: &str, name: &str) -> Vec<u8> {
        sh(
            &format!(
                "export GNUPGHOME=$PWD/{keyring}
                xz -dc {name}.tar.xz | gpg {options} --batch --yes --armor --detach-sign --output {name}.sign -
                gpgconf --kill gpg-agent"
            ),
            self.dir.path(),
        );
        self.read(&format!("{name}.sign"))
    }

    /// The scripts take this for the fingerprint of who signs the kernel.
    pub fn trust(&self, fingerprint: &str) {
        let versions = String::from_utf8(self.read("tools/kernel/versions.sh")).unwrap();
        self.script(
            "versions.sh",
            &format!("{versions}\nKERNEL_SIGNERS='{fingerprint}:signer?l=nobody'\n"),
        );
    }

    /// kernel.org as it is when all is well: a signed archive, and the key.
    pub fn kernel_org_has(&self, tarball: Answer) {
        let fingerprint = self.key("signer");
        self.trust(&fingerprint);
        self.kernel_org.put(TARBALL, tarball);
        self.kernel_org
            .put(SIGNATURE, Answer::File(self.sign("signer", "linux")));
        self.kernel_org
            .put(KEY, Answer::File(self.read("signer.key")));
    }

    /// A script of the set-up, on a cache of its own and with these servers.
    pub fn command(&self, program: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(program);
        command
            .stdin(Stdio::null())
            .env("PATH", format!("{}:{path}", self.at("bin").display()))
            .env("RFUTEX_CACHE", self.at("cache"))
            .env("DEBIAN_MIRROR", &self.mirror.address)
            .env("DEBIAN_SNAPSHOT", &self.snapshot.address)
            .env("KERNEL_ORG", &self.kernel_org.address)
            .env(
                "KERNEL_ORG_KEYS",
                format!("{}/keys", self.kernel_org.address),
            )
            .env("FETCH_TIMEOUT", "2")
            .env_remove("KERNEL_SHA256")
            .env_remove("KSRC");
        for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        command
    }

    /// source.sh, to be run.
    pub fn source(&self) -> Command {
        self.command(&self.at("tools/kernel/source.sh").display().to_string())
    }

    /// Runs source.sh, which must come to a tree, and returns whose version that is, and
    /// what was said.
    pub fn found(&self, command: &mut Command) -> (String, String) {
        let output = command.output().unwrap();
        let said = said(&output);
        assert!(output.status.success(), "{said}");
        let tree = String::from_utf8(output.stdout).unwrap();
        let tree = Path::new(tree.trim_end());
        assert_eq!(fs::read(tree.join("noise")).unwrap().len(), NOISE);
        let version = fs::read_to_string(tree.parent().unwrap().join("version")).unwrap();
        (version.trim_end().to_owned(), said)
    }

    /// Runs source.sh, which must come to nothing, and returns what was said.
    pub fn lost(&self, command: &mut Command) -> String {
        let output = command.output().unwrap();
        let said = said(&output);
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{said}"
        );
        said
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
