// SPDX-License-Identifier: GPL-2.0
//! File systems on loop devices.

use super::Mount;
use crate::harness::until;
use linux_raw_sys::ioctl::{FIFREEZE, FITHAW};
use linux_raw_sys::loop_device::{
    LO_FLAGS_AUTOCLEAR, LOOP_CONFIGURE, LOOP_CTL_ADD, LOOP_CTL_GET_FREE, LOOP_CTL_REMOVE,
    loop_config,
};
use nix::mount::MntFlags;
use nix::unistd::{Whence, lseek64};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

/// A loop device that clears itself when nobody has it open any more.
#[derive(Debug)]
pub struct LoopDevice {
    number: i32,
    open: Option<File>,
}

impl LoopDevice {
    /// Binds a free loop device to `backing`.
    #[track_caller]
    pub fn new(backing: &File) -> Self {
        loop {
            let number = control(LOOP_CTL_GET_FREE, 0).expect("a free loop device");
            match Self::bind(number, backing) {
                Ok(device) => return device,
                // Somebody else took it between the two calls.
                Err(nix::Error::EBUSY) => {}
                Err(error) => panic!("LOOP_CONFIGURE: {error}"),
            }
        }
    }

    /// Binds the loop device `number`, which is not in use, to `backing`.
    fn bind(number: i32, backing: &File) -> nix::Result<Self> {
        // SAFETY: All zeros is a valid `loop_config`.
        let mut config: loop_config = unsafe { std::mem::zeroed() };
        config.fd = backing.as_raw_fd() as u32;
        config.info.lo_flags = LO_FLAGS_AUTOCLEAR as u32;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let open = rw_open(&path);
        // SAFETY: The command reads a `loop_config`.
        let result = unsafe { libc::ioctl(open.as_raw_fd(), LOOP_CONFIGURE.into(), &config) };
        nix::Error::result(result)?;
        // The kernel mounts nothing that somebody has open for writing.
        Ok(Self {
            number,
            open: Some(File::open(&path).expect("a loop device")),
        })
    }

    /// Removes the device from the machine, and adds one of the same number, bound to `backing`.
    #[track_caller]
    pub fn replace(mut self, backing: &File) -> Self {
        self.close();
        until("the loop device is removed", || {
            match control(LOOP_CTL_REMOVE, self.number) {
                Ok(_) => true,
                // It is not clear yet.
                Err(nix::Error::EBUSY) => false,
                Err(error) => panic!("LOOP_CTL_REMOVE: {error}"),
            }
        });
        control(LOOP_CTL_ADD, self.number).expect("LOOP_CTL_ADD");
        let device = format!("/dev/loop{}", self.number);
        until("the loop device has a node", || Path::new(&device).exists());
        Self::bind(self.number, backing).expect("LOOP_CONFIGURE")
    }

    /// Opens it, to be read and written.
    #[track_caller]
    pub fn open(&self) -> File {
        rw_open(&self.path())
    }

    /// Its place in /dev.
    pub fn path(&self) -> PathBuf {
        format!("/dev/loop{}", self.number).into()
    }

    /// Its name, as in /sys/fs/ext4.
    pub fn name(&self) -> String {
        format!("loop{}", self.number)
    }

    /// Closes it: from now on only a mount or the like keeps it.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Whether it is bound to its file still. Looks without opening it: to open and close it
    /// would clear it.
    pub fn is_bound(&self) -> bool {
        Path::new(&format!("/sys/block/loop{}/loop", self.number)).exists()
    }
}

/// Asks the driver of loop devices for `command` with the number of a device, or 0.
#[track_caller]
fn control(command: u32, number: i32) -> nix::Result<i32> {
    let control = rw_open(Path::new("/dev/loop-control"));
    // SAFETY: The commands take a number at most.
    let result = unsafe { libc::ioctl(control.as_raw_fd(), command.into(), i64::from(number)) };
    nix::Error::result(result)
}

#[track_caller]
fn rw_open(path: &Path) -> File {
    File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A mounted file system on a loop device on a file of its own.
#[derive(Debug)]
pub struct Disk {
    mount: Option<Mount>,
    device: LoopDevice,
    fstype: &'static str,
}

impl Disk {
    /// The types of file system that there are images of.
    pub const TYPES: [&'static str; 2] = ["ext4", "xfs"];

    /// A new file system, from the image in `$RFUTEX_IMAGES` called `fstype`.img.
    #[track_caller]
    pub fn new(fstype: &'static str) -> Self {
        let images = std::env::var_os("RFUTEX_IMAGES").expect("RFUTEX_IMAGES is set");
        let image = Path::new(&images).join(fstype).with_extension("img");
        let mut device = LoopDevice::new(&sparse_copy(&image));
        let mount = Mount::new(&device.path(), fstype, "");
        device.close();
        Self {
            mount: Some(mount),
            device,
            fstype,
        }
    }

    /// Where it is mounted.
    #[track_caller]
    pub fn path(&self) -> &Path {
        self.mount.as_ref().expect("it is mounted").path()
    }

    /// Freezes it: what would change it waits, and cannot be killed.
    #[track_caller]
    pub fn freeze(&self) -> Frozen {
        let directory = File::open(self.path()).expect("a directory");
        let frozen = Frozen(directory);
        frozen.call(FIFREEZE).expect("FIFREEZE");
        frozen
    }

    /// The name of its device, as in /sys/fs/xfs.
    pub fn device_name(&self) -> String {
        self.device.name()
    }

    /// Opens its device, which stays bound then without a file system on it.
    #[track_caller]
    pub fn open_device(&self) -> File {
        let path = self.device.path();
        File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Unmounts it with umount2(2).
    #[track_caller]
    pub fn umount(&mut self, flags: MntFlags) {
        let mount = self.mount.take().expect("it is mounted");
        mount.umount(flags).expect("umount2");
    }

    /// Mounts it again.
    #[track_caller]
    pub fn mount(&mut self) {
        self.mount = Some(Mount::new(&self.device.path(), self.fstype, ""));
    }

    /// Whether the kernel has the file system still, mounted or not: its directory in sysfs goes
    /// with the superblock.
    pub fn is_alive(&self) -> bool {
        Path::new("/sys/fs")
            .join(self.fstype)
            .join(self.device.name())
            .exists()
    }

    /// Whether the loop device is bound still.
    pub fn is_bound(&self) -> bool {
        self.device.is_bound()
    }

    /// Returns when file system and loop device are gone; fails the test if they stay.
    #[track_caller]
    pub fn until_gone(&self) {
        until("the file system is gone", || !self.is_alive());
        until("the loop device is free", || !self.device.is_bound());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(mount) = self.mount.take() {
            drop(mount);
            if !std::thread::panicking() {
                // It would be the next test's busy device.
                self.until_gone();
            }
        }
    }
}

/// A file system that is frozen, as long as this lives.
#[derive(Debug)]
pub struct Frozen(File);

impl Frozen {
    fn call(&self, request: u32) -> nix::Result<()> {
        // SAFETY: The commands ignore their argument.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), request.into(), 0) };
        nix::Error::result(result).map(drop)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // Where freezing failed there is nothing to thaw.
        let thawed = self.call(FITHAW);
        assert!(thawed.is_ok() || std::thread::panicking(), "{thawed:?}");
    }
}

/// A copy of the file at `from` without a name, with holes where it has them.
#[track_caller]
fn sparse_copy(from: &Path) -> File {
    let mut source = File::open(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    let mut copy = tempfile::tempfile().expect("a file");
    let len = source.metadata().expect("metadata").len();
    copy.set_len(len).expect("the length of a file");
    let mut end = 0;
    // Without data from `end` on, there is no such place: ENXIO.
    while let Ok(start) = lseek64(source.as_fd(), end, Whence::SeekData) {
        end = lseek64(source.as_fd(), start, Whence::SeekHole).expect("the end of data");
        source.seek(SeekFrom::Start(start as u64)).expect("seek");
        copy.seek(SeekFrom::Start(start as u64)).expect("seek");
        let mut data = std::io::Read::take(&mut source, (end - start) as u64);
        std::io::copy(&mut data, &mut copy).expect("a copy of an image");
    }
    copy
}
