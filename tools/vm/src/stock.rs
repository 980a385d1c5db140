// SPDX-License-Identifier: GPL-2.0
//! One of Debian's own kernels, and the root directory of Debian's in which it is installed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{self, Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rfutex_guest::plan::{DIR, HOST, HostRoot, Place, Stage};

use crate::root::Root;
use crate::vng::Share;

/// How long `make stock-install` may take in the guest.
pub const LIMIT: Duration = Duration::from_secs(1200);

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

    /// `make stock-install` in the root directory, of which the guest changes nothing, from the
    /// checkout `top`. There is no network.
    pub fn install(&self, top: &Path) -> Result<Stage> {
        let top = top.to_str().context("the checkout's path is not UTF-8")?;
        let env = ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Stage::Peer {
            name: "stock/make-stock-install".to_owned(),
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
