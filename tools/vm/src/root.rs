// SPDX-License-Identifier: GPL-2.0
//! The guest's root directory: busybox, our static programs, the modules, and
//! images of file systems.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use rfutex_guest::plan::{self, Plan};
use tempfile::TempDir;

/// What virtme-ng's init asks for and a small root has not: without it the
/// guest's output and exit status are lost.
const UDEVD: &str = r#"#!/bin/sh
# Links each virtio port to the name that virtme-ng looks for it by.
mkdir -p /dev/virtio-ports
for port in /sys/class/virtio-ports/*; do
	[ -s "$port/name" ] || continue
	ln -sf "../${port##*/}" "/dev/virtio-ports/$(cat "$port/name")"
done
"#;

const UDEVADM: &str = "#!/bin/sh\nexit 0\n";

/// Directories that are mount points or are looked for.
const DIRECTORIES: &[&str] = &[
    "bin",
    "dev",
    "etc",
    "images",
    "lib",
    "mnt",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr",
    "var",
    // Where plan::HOST, plan::DIR and plan::OUT are mounted.
    "rfutex",
    "rfutex/host",
    "rfutex/dir",
    "rfutex/out",
];

/// The images: a file system's name, its size in MiB (XFS has a least size).
const IMAGES: &[(&str, u64)] = &[("ext4", 64), ("xfs", 300)];

/// A root directory, removed when dropped.
pub struct Root {
    dir: TempDir,
}

impl Root {
    /// Makes one below `parent`, with busybox in it: the host's, or the one in `tools`, where
    /// bash is as well. virtme-ng has a program for its init on the host's architecture only.
    /// On others it is a script.
    pub fn new(parent: &Path, tools: Option<&Path>) -> Result<Self> {
        fs::create_dir_all(parent)?;
        let dir = tempfile::Builder::new()
            .prefix("root-")
            .tempdir_in(parent)?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let root = Self { dir };
        for name in DIRECTORIES {
            fs::create_dir(root.path().join(name))?;
        }
        root.add_busybox(tools).context("busybox for the guest")?;
        root.add_script("bin/udevd", UDEVD)?;
        root.add_script("bin/udevadm", UDEVADM)?;
        fs::write(
            root.path().join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\n",
        )?;
        fs::write(root.path().join("etc/group"), "root:x:0:\n")?;
        Ok(root)
    }

    /// Where it is on the host.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    fn add_busybox(&self, tools: Option<&Path>) -> Result<()> {
        let busybox = find_program("busybox")?;
        let bytes = fs::read(&busybox)?;
        ensure!(
            is_static(&bytes),
            "{} is not static: install busybox-static",
            busybox.display()
        );
        if let Some(tools) = tools {
            self.add_program(&tools.join("busybox"))?;
            self.add_program(&tools.join("bash"))?;
            fs::create_dir(self.path().join("usr/bin"))?;
            symlink("../../bin/busybox", self.path().join("usr/bin/env"))?;
        } else {
            self.add_program(&busybox)?;
        }
        // Another version may lack some of these: a test that uses one then tells.
        let list = Command::new(&busybox).arg("--list").output()?;
        ensure!(list.status.success(), "{} --list failed", busybox.display());
        for applet in String::from_utf8(list.stdout)?.lines() {
            let link = self.path().join("bin").join(applet);
            if !link.exists() {
                symlink("busybox", link)?;
            }
        }
        Ok(())
    }

    /// Writes a shell script to `at`, a path in the guest.
    pub fn add_script(&self, at: &str, text: &str) -> Result<()> {
        let path = self.path().join(at);
        // Not through the applet of that name, which is a link to busybox.
        if path.is_symlink() {
            fs::remove_file(&path)?;
        }
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Copies a program into `/bin` and returns its path in the guest.
    pub fn add_program(&self, program: &Path) -> Result<String> {
        let name = program.file_name().context("a program needs a name")?;
        let at = Path::new("/bin").join(name);
        self.add_file(program, &at.display().to_string())?;
        Ok(at.display().to_string())
    }

    /// Copies a program or a shared library into `dir`, a directory in the guest,
    /// and the libraries that it needs to where they are on the host. Returns
    /// the paths of these.
    pub fn add_dynamic(&self, program: &Path, dir: &str) -> Result<Vec<PathBuf>> {
        let name = program.file_name().context("a program needs a name")?;
        self.add_file(program, &format!("{dir}/{}", name.to_string_lossy()))?;
        self.add_libraries(program)
    }

    /// Copies the shared libraries that a program or a shared library needs to where
    /// they are on the host, and returns their paths.
    pub fn add_libraries(&self, program: &Path) -> Result<Vec<PathBuf>> {
        let list = Command::new("ldd").arg(program).output()?;
        ensure!(
            list.status.success(),
            "ldd {} failed: {}",
            program.display(),
            String::from_utf8_lossy(&list.stderr)
        );
        let mut libraries = Vec::new();
        for line in String::from_utf8(list.stdout)?.lines() {
            ensure!(!line.contains("not found"), "{}: {line}", program.display());
            // NAME => FILE (ADDRESS), or FILE (ADDRESS) of the loader.
            let file = line.split_whitespace().find(|word| word.starts_with('/'));
            let Some(file) = file else { continue };
            if !self.path().join(file.trim_start_matches('/')).exists() {
                self.add_file(Path::new(file), file)?;
            }
            libraries.push(PathBuf::from(file));
        }
        Ok(libraries)
    }

    /// Copies a file to `at`, a path in the guest.
    pub fn add_file(&self, file: &Path, at: &str) -> Result<()> {
        let to = self.path().join(at.trim_start_matches('/'));
        fs::create_dir_all(to.parent().context("a file needs a directory")?)?;
        fs::copy(file, &to)
            .with_context(|| format!("copying {} into the guest", file.display()))?;
        Ok(())
    }

    /// Makes sure that there is a directory at `at`, a path in the guest, to mount one
    /// of the host on. Fails if that would hide what the guest needs.
    pub fn add_mount_point(&self, at: &Path) -> Result<()> {
        let path = self.path().join(at.strip_prefix("/")?);
        if path.is_dir() {
            let empty = fs::read_dir(&path)?.next().is_none();
            let kernels = ["/dev", "/proc", "/run", "/sys"].map(Path::new);
            ensure!(
                empty && !kernels.contains(&at),
                "{} cannot be the directory that you bring: the guest has its own \
                 (with ROOT=host it can have all of the host's)",
                at.display()
            );
        }
        fs::create_dir_all(&path).with_context(|| format!("a place for {}", at.display()))
    }

    /// Makes the images of file systems, sparse and read-only.
    pub fn add_images(&self) -> Result<()> {
        for (kind, mib) in IMAGES {
            let image = self.path().join(format!("images/{kind}.img"));
            fs::File::create(&image)?.set_len(mib << 20)?;
            let mkfs = find_program(&format!("mkfs.{kind}"))?;
            let made = Command::new(&mkfs).arg("-q").arg(&image).output()?;
            ensure!(
                made.status.success(),
                "{} failed: {}",
                mkfs.display(),
                String::from_utf8_lossy(&made.stderr)
            );
            fs::set_permissions(&image, fs::Permissions::from_mode(0o444))?;
        }
        Ok(())
    }

    /// Writes the plan that the guest will carry out.
    pub fn set_plan(&self, plan: &Plan) -> Result<()> {
        let mut file = fs::File::create(self.path().join(plan::PATH.trim_start_matches('/')))?;
        file.write_all(&serde_json::to_vec_pretty(plan)?)?;
        Ok(())
    }
}

/// A program, looked for where root's programs are too.
pub fn find_program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for dir in std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from)) {
        let file = dir.join(name);
        if file
            .metadata()
            .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        {
            return Ok(file);
        }
    }
    bail!("the program {name} is missing")
}

/// True if an ELF file asks for no dynamic loader.
fn is_static(elf: &[u8]) -> bool {
    wants_loader(elf) == Some(false)
}

/// True if the file `program` needs shared libraries. One that is no program of this
/// processor does not.
pub fn is_dynamic(program: &Path) -> Result<bool> {
    let bytes = fs::read(program).with_context(|| program.display().to_string())?;
    Ok(wants_loader(&bytes) == Some(true))
}

/// Whether an ELF file asks for a dynamic loader; `None` for every other file.
fn wants_loader(elf: &[u8]) -> Option<bool> {
    /// The program header type of the loader's name.
    const PT_INTERP: u32 = 3;
    let u16_at = |at: usize| Some(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(elf.get(at..at + 4)?.try_into().ok()?));
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = usize::try_from(u64::from_le_bytes(elf.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (usize::from(u16_at(54)?), usize::from(u16_at(56)?));
    for i in 0..count {
        if u32_at(table + i * size)? == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_and_dynamic_programs_are_told_apart() {
        // This test is linked as the guest's programs are.
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(is_static(&own));
        let sh = fs::read(find_program("sh").unwrap()).unwrap();
        assert!(!is_static(&sh) && !is_static(b"#!/bin/sh"));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = find_program("no-such-program").unwrap_err().to_string();
        assert_eq!(error, "the program no-such-program is missing");
    }

    #[test]
    fn no_directory_hides_what_the_guest_needs() {
        let parent = tempfile::tempdir().unwrap();
        let root = Root::new(parent.path(), None).unwrap();
        for dir in ["/home/me/a b", "/tmp", "/usr/src"] {
            root.add_mount_point(Path::new(dir)).unwrap();
            assert!(root.path().join(&dir[1..]).is_dir(), "{dir}");
        }
        for dir in ["/", "/bin", "/proc", "/rfutex", "/etc/passwd"] {
            assert!(root.add_mount_point(Path::new(dir)).is_err(), "{dir}");
        }
    }

    #[test]
    fn a_root_has_shell_plan_and_images() {
        let parent = tempfile::tempdir().unwrap();
        let root = Root::new(parent.path(), None).unwrap();
        root.add_images().unwrap();
        root.set_plan(&Plan::default()).unwrap();
        for file in [
            "bin/sh",
            "bin/insmod",
            "bin/udevd",
            "images/xfs.img",
            "rfutex/plan.json",
        ] {
            assert!(root.path().join(file).exists(), "{file}");
        }
        let path = root.path().to_owned();
        drop(root);
        assert!(!path.exists());
    }
}
