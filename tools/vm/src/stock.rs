// SPDX-License-Identifier: GPL-2.0
//! One of Debian's own kernels, and the root directory of Debian's in which it is installed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{self, Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rfutex_guest::plan::{DIR, HOST, HOST_ROOT, HostRoot, Place, Stage};

use crate::places::{Places, programs};
use crate::root::Root;
use crate::vng::Share;

/// How long `make stock-install` may take in the guest.
pub const LIMIT: Duration = Duration::from_secs(1200);

/// Where the tests of the preloaded library are: in the guest, and in the root directory.
const PEERS: &str = "/peers";

/// What the two sides are called on which they are run, and what a program finds in its environment
/// there.
const SIDES: [(&str, &str); 2] = [
    ("futex(2)", ""),
    (
        "rfutex",
        "LD_PRELOAD=/peers/librfutex_preload.so RFUTEX_PRELOAD=require",
    ),
];

/// A program of Debian's own whose threads wait for each other, with and without a limit.
const PYTHON: &str = "import queue, threading
box = queue.Queue(1)
def work():
    for number in range(200): box.put(number, timeout=60)
thread = threading.Thread(target=work)
thread.start()
assert [box.get(timeout=60) for _ in range(200)] == list(range(200))
thread.join()";

/// The test that is `make stock-install`.
pub const INSTALL: &str = "stock/make-stock-install";

/// What it has for its environment, as from a shell of root's.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("HOME", "/root"),
    ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
    ("TERM", "dumb"),
];

/// One of Debian's own kernels, if it is to be that.
#[derive(Args, Clone, Debug)]
pub struct StockKernel {
    /// A root directory of Debian's, with the kernel RELEASE in it, of which the headers are in KDIR
    #[arg(long, value_name = "DIR", requires = "release", global = true)]
    stock: Option<PathBuf>,
    /// The release of that kernel
    #[arg(long, value_name = "RELEASE", requires = "stock", global = true)]
    release: Option<String>,
}

impl StockKernel {
    /// The kernel.
    pub fn chosen(&self) -> Result<Option<Stock>> {
        let (Some(root), Some(release)) = (&self.stock, &self.release) else {
            return Ok(None);
        };
        Ok(Some(Stock {
            root: path::absolute(root)?,
            release: release.clone(),
        }))
    }
}

/// A kernel of Debian's.
#[derive(Clone, Debug)]
pub struct Stock {
    /// The root directory.
    root: PathBuf,
    /// The kernel's release, as `uname -r` has it.
    release: String,
}

impl Stock {
    /// The kernel's image.
    pub fn image(&self) -> PathBuf {
        self.root.join(format!("boot/vmlinuz-{}", self.release))
    }

    /// Where the kernel looks for its modules.
    fn modules(&self) -> String {
        format!("/lib/modules/{}", self.release)
    }

    /// The file of our module, a path in the guest. It is installed by `make stock-install`, and the
    /// kernel's own modules may be compressed, and so then is ours.
    pub fn module(&self) -> Result<String> {
        let dir = format!("{}/updates", self.modules());
        let on_host = self.root.join(dir.trim_start_matches('/'));
        let mut found = Vec::new();
        for entry in fs::read_dir(&on_host).with_context(|| on_host.display().to_string())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with("rfutex.ko") {
                found.push(format!("{dir}/{name}"));
            }
        }
        ensure!(
            found.len() == 1,
            "{} has {} modules",
            on_host.display(),
            found.len()
        );
        Ok(found.remove(0))
    }

    /// What the guest sees of the host: the root directory, and the checkout `top`.
    pub fn shares(&self, top: &Path) -> Vec<Share> {
        let share = |host: &Path, guest| Share {
            host: host.to_owned(),
            guest,
            writable: false,
        };
        vec![share(&self.root, HOST), share(top, DIR)]
    }

    /// Has modprobe in `root` find the kernel's modules, and the kernel find modprobe.
    pub fn add_modules(&self, root: &Root) -> Result<()> {
        for (link, to) in [
            (self.modules(), format!("{HOST}{}", self.modules())),
            ("/sbin/modprobe".to_owned(), "/bin/modprobe".to_owned()),
        ] {
            let link = root.path().join(link.trim_start_matches('/'));
            let dir = link.parent().context("a link is in a directory")?;
            fs::create_dir_all(dir)?;
            symlink(to, &link).with_context(|| link.display().to_string())?;
        }
        Ok(())
    }

    /// Adds to `root` what [`Self::peers`] runs.
    pub fn add_peers(&self, root: &Root, places: &Places) -> Result<()> {
        let mut files = programs(&places.preload.join("programs"))?;
        files.extend([
            places.preload_library(),
            places.preload.join("preload/librfutex_preload_tracer.so"),
            places.preload.join("release/rfutex-preload-check"),
            places.program("rfutexctl"),
        ]);
        for file in files {
            let name = file.file_name().context("a file has a name")?;
            root.add_file(&file, &format!("{PEERS}/{}", name.to_string_lossy()))?;
        }
        for (side, environment) in SIDES {
            let script = format!(
                "#!/bin/sh\nexec chroot {HOST_ROOT} /usr/bin/env {environment} \
                 {PEERS}/rfutex-preload-check \"$@\"\n"
            );
            root.add_script(&format!("peers/check-{side}"), &script)?;
        }
        Ok(())
    }

    /// The tests of the preloaded library in the root directory, whose C library is another one than
    /// the host's: all of them; or if `only` these tests are wanted, and they are of redirection, those.
    pub fn peers(&self, only: &[String]) -> Vec<Stage> {
        let wanted = |part: &String| part.contains("redirected");
        if !only.is_empty() && !only.iter().any(wanted) {
            return Vec::new();
        }
        let root = Stage::Peer {
            name: "stock/peers/root".to_owned(),
            argv: vec!["/bin/true".to_owned()],
            place: Place {
                host_root: Some(HostRoot::Overlay),
                ..Place::default()
            },
            limit: 60,
        };
        let copy = Stage::Script {
            name: "stock/peers/copy".to_owned(),
            script: format!(
                "mkdir -p {HOST_ROOT}{PEERS} && cp {PEERS}/* {HOST_ROOT}{PEERS} && \
                 cp /bin/busybox {HOST_ROOT}/bin"
            ),
            output: None,
            limit: 60,
        };
        let mut stages = vec![root, copy];
        for (side, _) in SIDES {
            // What is counted wants a processor that counts time in instructions.
            let without: &[&str] = match side {
                "rfutex" => &["counted", "differs"],
                _ => &["preload", "counted"],
            };
            stages.push(Stage::Trials {
                build: format!("stock/{side}"),
                program: format!("{PEERS}/check-{side}"),
                without: without.iter().map(|&kind| kind.to_owned()).collect(),
                only: only.to_vec(),
                or_none: side != "rfutex",
            });
        }
        if only.is_empty() {
            stages.push(Stage::Script {
                name: "stock/rfutex/python3".to_owned(),
                script: format!(
                    "chroot {HOST_ROOT} {PEERS}/rfutexctl run --report -- \
                     /usr/bin/python3 -c '{PYTHON}' 2>&1"
                ),
                output: Some("*libc.so.6: *threads are cancelled at 1 of them*".to_owned()),
                limit: 120,
            });
        }
        stages
    }

    /// `make stock-install` in the root directory, of which the guest changes nothing, from the
    /// checkout `top`. There is no network.
    pub fn install(&self, top: &Path) -> Result<Stage> {
        let top = top.to_str().context("the checkout's path is not UTF-8")?;
        let env = ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Stage::Peer {
            name: INSTALL.to_owned(),
            argv: ["make", "stock-install"].map(str::to_owned).into(),
            place: Place {
                host_root: Some(HostRoot::Overlay),
                dir: Some(top.to_owned()),
                env: env.into(),
                terminal: false,
            },
            limit: LIMIT.as_secs(),
        })
    }
}
