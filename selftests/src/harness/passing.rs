// SPDX-License-Identifier: GPL-2.0
//! Files that one process sends to another.

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

/// Sends a file. It is under way when this returns.
#[track_caller]
pub fn send_file(socket: &UnixDatagram, file: impl AsFd) {
    let fds = [file.as_fd().as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    let data = [IoSlice::new(b"fd")];
    sendmsg::<()>(socket.as_raw_fd(), &data, &rights, MsgFlags::empty(), None).expect("sendmsg");
}

/// Waits for a file that somebody sends. Its descriptor is closed by execve(2).
#[track_caller]
pub fn receive_file(socket: &UnixDatagram) -> OwnedFd {
    let mut buffer = [0; 2];
    let mut data = [IoSliceMut::new(&mut buffer)];
    let mut space: Vec<u8> = nix::cmsg_space!([i32; 1]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut data, Some(&mut space), flags);
    let message = message.expect("recvmsg");
    let mut messages = message.cmsgs().expect("control messages");
    let Some(ControlMessageOwned::ScmRights(fds)) = messages.next() else {
        panic!("no descriptor");
    };
    // SAFETY: The kernel made it for us just now.
    unsafe { OwnedFd::from_raw_fd(fds[0]) }
}
