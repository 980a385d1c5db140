// SPDX-License-Identifier: GPL-2.0
//! Where everything is on the host, and what of it comes into the guest's root.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use rfutex_guest::plan::COVERAGE_MODULE;

use crate::kernels::{self, Architecture};
use crate::root::Root;
use crate::stock::Stock;

/// The module that keeps what is reached of instrumented ones, below the
/// directory of the modules, if those are.
const COVERAGE_BUILT: &str = "lab/tools/coverage/rfutex_coverage.ko";

/// Where everything is on the host.
#[derive(Clone, Debug)]
pub struct Places {
    /// The kernel's build directory.
    pub kdir: PathBuf,
    /// The checkout's build directory.
    pub build: PathBuf,
    /// The modules of this kernel: below it `module/` and `lab/`.
    pub modules: PathBuf,
    /// Our programs.
    pub programs: PathBuf,
    /// Where the preloaded library and its tests are built.
    pub preload: PathBuf,
    /// The cache outside the checkout.
    pub cache: PathBuf,
    /// Where busybox and bash for the guest are, if the host's are of no use there.
    pub guest_tools: Option<PathBuf>,
    /// The kernel, if it is one of Debian's own; `kdir` are its headers then.
    pub stock: Option<Stock>,
}

impl Places {
    /// The kernel's image.
    pub fn image(&self) -> Result<PathBuf> {
        if let Some(stock) = &self.stock {
            return Ok(stock.image());
        }
        let image = self.kdir.join(kernels::architecture(self)?.image());
        anyhow::ensure!(
            image.exists(),
            "{} is missing: KDIR has to be the build directory of a kernel that was built here, \
             not the headers of an installed one",
            image.display()
        );
        Ok(image)
    }

    /// The options that are built into the kernel, without their prefix.
    pub fn built_in(&self) -> Result<HashSet<String>> {
        self.options(&["=y"])
    }

    /// The same and those that are modules of it.
    pub fn built(&self) -> Result<HashSet<String>> {
        self.options(&["=y", "=m"])
    }

    /// The options in the kernel's configuration that end in one of `values`.
    fn options(&self, values: &[&str]) -> Result<HashSet<String>> {
        let path = self.kdir.join(".config");
        let config = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let option = |line: &str| {
            let line = line.strip_prefix("CONFIG_")?;
            let option = values.iter().find_map(|value| line.strip_suffix(value))?;
            Some(option.to_owned())
        };
        Ok(config.lines().filter_map(option).collect())
    }

    /// Keeps other runs from building in the checkout while files are copied.
    pub fn lock(&self) -> Result<Flock<File>> {
        let path = self.build.join("lock");
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        Flock::lock(file, FlockArg::LockShared)
            .map_err(|(_, error)| error)
            .context("locking build/")
    }

    /// A program of ours.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// A build of the module.
    pub fn module(&self, build: &str) -> PathBuf {
        self.modules.join(build).join("rfutex.ko")
    }

    /// Adds a build of the module to a root.
    pub fn add_module(&self, root: &Root, build: &str) -> Result<()> {
        root.add_file(&self.module(build), &guest_module(build))
    }

    /// A root that has our programs `names`, the guest's runner, and both modules.
    pub fn root(&self, names: &[&str]) -> Result<Root> {
        let root = Root::new(&self.build.join("vm"), self.guest_tools.as_deref())?;
        let _lock = self.lock()?;
        for name in ["rfutex-guest"].iter().chain(names) {
            root.add_program(&self.program(name))?;
        }
        if let Some(stock) = &self.stock {
            stock.add_modules(&root)?;
        }
        let coverage = self.modules.join(COVERAGE_BUILT);
        if coverage.exists() {
            root.add_file(&coverage, COVERAGE_MODULE)?;
        }
        for build in ["lab", "module"] {
            if self.module(build).exists() {
                self.add_module(&root, build)?;
            }
        }
        Ok(root)
    }

    /// A root in which the selftests can run.
    pub fn root_for_selftests(&self) -> Result<Root> {
        let root = self.root(&["rfutex-selftests", "rfutexctl"])?;
        root.add_images()?;
        // Programs of another architecture cannot be redirected.
        if kernels::architecture(self)? != Architecture::X86 {
            return Ok(root);
        }
        self.add_preload(&root)?;
        // A program of others that is linked dynamically, for an example in the help.
        root.add_dynamic(Path::new("/usr/bin/sort"), "/usr/bin")?;
        for program in programs(&self.preload.join("programs"))? {
            root.add_dynamic(&program, "/programs")?;
        }
        Ok(root)
    }

    /// The preloaded library.
    pub fn preload_library(&self) -> PathBuf {
        self.preload.join("preload/librfutex_preload.so")
    }

    /// Adds the preloaded library to a root, where `rfutexctl` looks for it.
    pub fn add_preload(&self, root: &Root) -> Result<()> {
        root.add_dynamic(&self.preload_library(), "/bin")?;
        Ok(())
    }
}

/// The programs and libraries in a directory, by name.
pub fn programs(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut programs = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.metadata()?.permissions().mode() & 0o111 != 0 {
            programs.push(path);
        }
    }
    programs.sort();
    anyhow::ensure!(!programs.is_empty(), "no programs in {}", dir.display());
    Ok(programs)
}

/// Where a build of the module is in the guest.
pub fn guest_module(build: &str) -> String {
    format!("/lib/modules/{build}/rfutex.ko")
}
