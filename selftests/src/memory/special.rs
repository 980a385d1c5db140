// SPDX-License-Identifier: GPL-2.0
//! Memory that comes from calls of its own.

use super::Region;
use crate::harness::PAGE;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::{self, File};
use std::os::fd::FromRawFd;

/// A memfd of `len` bytes, all zero.
#[track_caller]
pub fn memfd(len: usize) -> File {
    memfd_with(len, MFdFlags::MFD_CLOEXEC)
}

/// A memfd of `len` bytes, all zero, that can be sealed.
#[track_caller]
pub fn memfd_to_seal(len: usize) -> File {
    memfd_with(len, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)
}

/// A memfd of `len` bytes on pages of hugetlbfs, of which there must be some
/// ([`HugePages`](super::HugePages)).
#[track_caller]
pub fn memfd_huge(len: usize) -> File {
    memfd_with(
        len,
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_HUGETLB | MFdFlags::MFD_HUGE_2MB,
    )
}

#[track_caller]
fn memfd_with(len: usize, flags: MFdFlags) -> File {
    let file = File::from(memfd_create(c"rfutex", flags).expect("memfd_create"));
    file.set_len(len as u64).expect("the length of a memfd");
    file
}

/// A secretmem file of `len` bytes: mapped, the kernel itself cannot read it.
#[track_caller]
pub fn secret(len: usize) -> File {
    // SAFETY: The call has one argument, a set of flags.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let fd = nix::Error::result(fd).expect("memfd_secret") as i32;
    // SAFETY: A new descriptor, which nobody else has.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(len as u64).expect("the length of a secret");
    file
}

/// A file in sysfs of which the pages are memory of a PCI device: there is no `struct page` for them.
/// Of the first device that has a page of it, as there is no machine without one here.
#[track_caller]
pub fn pci_memory() -> File {
    const IORESOURCE_MEM: u64 = 0x200;
    let devices = fs::read_dir("/sys/bus/pci/devices").expect("PCI devices");
    for device in devices {
        let device = device.expect("a PCI device").path();
        // Of each resource its first byte, its last and its flags.
        let resources = fs::read_to_string(device.join("resource")).expect("resources");
        for (number, resource) in resources.lines().enumerate() {
            let fields = resource.split_whitespace();
            let numbers = fields.map(|n| u64::from_str_radix(n.trim_start_matches("0x"), 16));
            let numbers: Result<Vec<_>, _> = numbers.collect();
            let [first, last, flags] = numbers.expect("three numbers")[..] else {
                panic!("{resource}");
            };
            if flags & IORESOURCE_MEM != 0 && last - first >= PAGE as u64 - 1 {
                let path = device.join(format!("resource{number}"));
                return File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            }
        }
    }
    panic!("no PCI device has memory");
}

/// A System V shared memory segment without a key. It goes with its last mapping.
#[derive(Debug)]
pub struct SysV {
    id: i32,
    len: usize,
}

impl SysV {
    /// A new segment of `len` bytes.
    #[track_caller]
    pub fn new(len: usize) -> Self {
        // SAFETY: The call makes an object, and touches no memory.
        let id = unsafe { libc::shmget(libc::IPC_PRIVATE, len, libc::IPC_CREAT | 0o600) };
        Self {
            id: nix::Error::result(id).expect("shmget"),
            len,
        }
    }

    /// Maps it; munmap(2) detaches it as shmdt(2) does.
    #[track_caller]
    pub fn attach(&self) -> Region {
        // SAFETY: The kernel chooses a free place.
        let base = unsafe { libc::shmat(self.id, std::ptr::null(), 0) };
        assert_ne!(base.addr(), usize::MAX, "shmat: {}", nix::Error::last());
        // SAFETY: Mapped just now, and nobody else knows of it.
        unsafe { Region::from_raw(base.addr(), self.len) }
    }
}

impl Drop for SysV {
    fn drop(&mut self) {
        // SAFETY: The command takes no buffer.
        let result = unsafe { libc::shmctl(self.id, libc::IPC_RMID, std::ptr::null_mut()) };
        nix::Error::result(result).expect("shmctl");
    }
}

/// The ring of an AIO context: a file of a file system that only the kernel mounts.
#[derive(Debug)]
pub struct AioRing(u64);

impl AioRing {
    /// A new context.
    #[track_caller]
    pub fn new() -> Self {
        let mut context = 0u64;
        // SAFETY: The call writes the context's number.
        let result = unsafe { libc::syscall(libc::SYS_io_setup, 1, &mut context) };
        nix::Error::result(result).expect("io_setup");
        Self(context)
    }

    /// The ring's first word.
    pub fn word(&self) -> rfutex::Word<'static> {
        rfutex::Word::at(self.0, 4)
    }
}

impl Drop for AioRing {
    fn drop(&mut self) {
        // SAFETY: It is our context, and no operation is on its way.
        let result = unsafe { libc::syscall(libc::SYS_io_destroy, self.0) };
        nix::Error::result(result).expect("io_destroy");
    }
}
