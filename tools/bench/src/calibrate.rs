// SPDX-License-Identifier: GPL-2.0
//! Calls of which it is known what they cost: a figure that is another one
//! says that something else is different here.

use crate::measure::{Rounds, batch, compare};
use rfutex::Rfutex;
use rfutex_figures::record::Record;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

/// Counts them and tells.
pub fn tell() {
    let device = Rfutex::open().expect("/dev/rfutex opens");
    let fd = device.as_fd().as_raw_fd();
    // SAFETY: It has no argument.
    let mut getppid = batch(|| unsafe { assert!(libc::syscall(libc::SYS_getppid) >= 0) });
    // SAFETY: No such command: it does nothing with its argument.
    let mut ioctl = batch(move || unsafe { assert_eq!(libc::ioctl(fd, 0x1234, 0), -1) });
    let rounds = Rounds {
        warm_up: 2,
        counted: 21,
    };
    let [first, second, _] = compare([&mut getppid, &mut ioctl], 100, rounds);
    for (name, insn) in [("getppid", first), ("ioctl that is unknown", second)] {
        let record = Record::Calibration {
            name: name.to_owned(),
            insn: insn.median,
        };
        record.emit().expect("standard output");
    }
}
