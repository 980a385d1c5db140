// SPDX-License-Identifier: GPL-2.0
//! The parameter of the module.

use crate::harness::{fx, module_parameter};
use rfutex::Hold;
use std::fs::{self, File};
use std::io::ErrorKind;

trials![told, fixed];

const PATH: &str = "/sys/module/rfutex/parameters/hold";

/// Sysfs and the query say what the module was loaded with.
fn told() {
    let given = module_parameter("hold").unwrap_or("inode".to_owned());
    let shown = fs::read_to_string(PATH).expect(PATH);
    assert_eq!(shown.trim(), given);
    let hold = match &*given {
        "inode" => Hold::Inode,
        "nothing" => Hold::Nothing,
        other => panic!("the module does not load with hold={other}"),
    };
    assert_eq!(fx().query().expect("query").hold, hold);
}

/// It cannot be changed later: waiters may have come by then.
fn fixed() {
    let open = File::options().write(true).open(PATH);
    let error = open.expect_err("it is only for reading").kind();
    assert_eq!(error, ErrorKind::PermissionDenied);
}
