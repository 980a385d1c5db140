// SPDX-License-Identifier: GPL-2.0
//! Memory whose missing pages a user program provides.

use super::Region;
use crate::harness::{LIMIT, PAGE};
use linux_raw_sys::general::{
    UFFD_API, UFFD_EVENT_PAGEFAULT, UFFDIO_REGISTER_MODE_MISSING, uffd_msg, uffdio_api,
    uffdio_copy, uffdio_range, uffdio_register,
};
use linux_raw_sys::ioctl::{UFFDIO_API, UFFDIO_COPY, UFFDIO_REGISTER};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// A userfaultfd on a region.
#[derive(Debug)]
pub struct Uffd(OwnedFd);

impl Uffd {
    /// Registers `region`, in which no page is there yet, for missing pages.
    #[track_caller]
    pub fn new(region: &Region) -> Self {
        // poll(2) works on one that does not block only.
        const FLAGS: i32 = libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: The call has one argument, a set of flags.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, FLAGS) };
        let fd = nix::Error::result(fd).expect("userfaultfd") as i32;
        // SAFETY: A new descriptor, which nobody else has.
        let uffd = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        uffd.call(
            UFFDIO_API,
            &mut uffdio_api {
                api: UFFD_API.into(),
                features: 0,
                ioctls: 0,
            },
        );
        uffd.call(
            UFFDIO_REGISTER,
            &mut uffdio_register {
                range: uffdio_range {
                    start: region.base() as u64,
                    len: region.len() as u64,
                },
                mode: UFFDIO_REGISTER_MODE_MISSING.into(),
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

    /// Returns the address of the next fault; its thread sleeps until the page is there.
    #[track_caller]
    pub fn next_fault(&self) -> u64 {
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
        unsafe { msg.arg.pagefault.address }
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
