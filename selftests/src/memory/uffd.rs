// SPDX-License-Identifier: GPL-2.0
//! Memory whose faults a user program handles.

use super::Region;
use crate::harness::{LIMIT, PAGE};
use linux_raw_sys::general::{
    UFFD_API, UFFD_EVENT_PAGEFAULT, UFFD_FEATURE_PAGEFAULT_FLAG_WP, UFFD_PAGEFAULT_FLAG_WP,
    UFFD_USER_MODE_ONLY, UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP, uffd_msg,
    uffdio_api, uffdio_copy, uffdio_range, uffdio_register, uffdio_writeprotect,
};
use linux_raw_sys::ioctl::{UFFDIO_API, UFFDIO_COPY, UFFDIO_REGISTER, UFFDIO_WRITEPROTECT};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// `UFFDIO_WRITEPROTECT_MODE_WP`, which bindgen does not see.
const WRITEPROTECT_MODE_WP: u64 = 1;

fn range(start: u64, len: u64) -> uffdio_range {
    uffdio_range { start, len }
}

/// A userfaultfd on a region.
#[derive(Debug)]
pub struct Uffd(OwnedFd);

impl Uffd {
    /// Registers `region`, in which no page is there yet, for missing pages.
    #[track_caller]
    pub fn new(region: &Region) -> Self {
        Self::register(region, 0, UFFDIO_REGISTER_MODE_MISSING)
    }

    /// The same for faults of user mode only: one that the kernel makes fails.
    #[track_caller]
    pub fn user_mode_only(region: &Region) -> Self {
        let flags = UFFD_USER_MODE_ONLY as i32;
        Self::register(region, flags, UFFDIO_REGISTER_MODE_MISSING)
    }

    /// Registers `region`, which is anonymous, for writes to pages that are protected. (Of shared
    /// memory, only a kernel with `PTE_MARKER_UFFD_WP` protects pages.)
    #[track_caller]
    pub fn write_protect(region: &Region) -> Self {
        Self::register(region, 0, UFFDIO_REGISTER_MODE_WP)
    }

    #[track_caller]
    fn register(region: &Region, flags: i32, mode: u32) -> Self {
        // poll(2) works on one that does not block only.
        let flags = flags | libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: The call has one argument, a set of flags.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
        let fd = nix::Error::result(fd).expect("userfaultfd") as i32;
        // SAFETY: A new descriptor, which nobody else has.
        let uffd = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        let features = match mode {
            UFFDIO_REGISTER_MODE_WP => UFFD_FEATURE_PAGEFAULT_FLAG_WP.into(),
            _ => 0,
        };
        uffd.call(
            UFFDIO_API,
            &mut uffdio_api {
                api: UFFD_API.into(),
                features,
                ioctls: 0,
            },
        );
        uffd.call(
            UFFDIO_REGISTER,
            &mut uffdio_register {
                range: range(region.base() as u64, region.len() as u64),
                mode: mode.into(),
                ioctls: 0,
            },
        );
        uffd
    }

    #[track_caller]
    fn call<T>(&self, request: u32, arg: &mut T) {
        // SAFETY: Each command is called with its own struct.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), request.into(), arg) };
        nix::Error::result(result).unwrap_or_else(|error| panic!("{request:#x}: {error}"));
    }

    /// Returns the address of the next fault on a missing page; its thread sleeps until the page is
    /// there.
    #[track_caller]
    pub fn next_fault(&self) -> u64 {
        let (addr, write_protect) = self.next_event();
        assert!(!write_protect, "a page is missing");
        addr
    }

    /// Returns the address of the next write to a protected page; its thread sleeps until the page
    /// is not protected any more.
    #[track_caller]
    pub fn next_write(&self) -> u64 {
        let (addr, write_protect) = self.next_event();
        assert!(write_protect, "a page is protected");
        addr
    }

    /// Address of the next fault, and whether the page is there but protected.
    #[track_caller]
    fn next_event(&self) -> (u64, bool) {
        let limit = PollTimeout::try_from(LIMIT).expect("a time that poll takes");
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, limit), Ok(1), "a fault");
        let mut msg = MaybeUninit::<uffd_msg>::uninit();
        // SAFETY: The kernel writes one message, of which every bit pattern is valid.
        let msg = unsafe {
            let len = libc::read(
                self.0.as_raw_fd(),
                msg.as_mut_ptr().cast(),
                size_of::<uffd_msg>(),
            );
            assert_eq!(len, size_of::<uffd_msg>() as isize, "a message");
            msg.assume_init()
        };
        assert_eq!(u32::from(msg.event), UFFD_EVENT_PAGEFAULT);
        // SAFETY: The event says that it is this field.
        let fault = unsafe { msg.arg.pagefault };
        let flags = fault.flags as u32;
        (fault.address, flags & UFFD_PAGEFAULT_FLAG_WP != 0)
    }

    /// Whether no fault waits to be handled.
    #[track_caller]
    pub fn is_quiet(&self) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).expect("poll") == 0
    }

    /// Protects the page of `addr` from writes, or no longer, and wakes who waits for that.
    #[track_caller]
    pub fn protect(&self, addr: u64, protect: bool) {
        self.call(
            UFFDIO_WRITEPROTECT,
            &mut uffdio_writeprotect {
                range: range(addr - addr % PAGE as u64, PAGE as u64),
                mode: if protect { WRITEPROTECT_MODE_WP } else { 0 },
            },
        );
    }

    /// Gives the page of `addr` the content of the page `from`, and wakes who waits for it.
    #[track_caller]
    pub fn fill(&self, addr: u64, from: &Region) {
        self.call(
            UFFDIO_COPY,
            &mut uffdio_copy {
                dst: addr - addr % PAGE as u64,
                src: from.base() as u64,
                len: PAGE as u64,
                mode: 0,
                copy: 0,
            },
        );
    }
}
