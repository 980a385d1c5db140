// SPDX-License-Identifier: GPL-2.0
//! What is found out about a library is kept, so that programs start soon.

use super::{DEVICE, command, judged, said};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

/// A program starts soon if everything is kept: the tables alone that are needed to decode and to
/// encode instructions take longer to make than what there is to do then.
pub fn starts_soon() {
    /// How many times as long it takes if nothing is kept.
    const TIMES: u32 = 8;
    /// Of so many starts, the fastest counts.
    const TRIES: usize = 5;
    let directory = tempfile::tempdir().expect("a directory");
    let start = |redirect: &str, cache: &Path| {
        let mut command = command("pthreads", &["nothing"]);
        command
            .env_remove("RFUTEX_PRELOAD_REPORT")
            .env("RFUTEX_PRELOAD_REDIRECT", redirect)
            .env("RFUTEX_PRELOAD_CACHE", cache);
        let tries = (0..TRIES).map(|_| {
            let begin = Instant::now();
            said(command.output().expect("pthreads"));
            begin.elapsed()
        });
        tries.min().expect("a try")
    };
    let nowhere = Path::new("");
    let plain = start("0", nowhere);
    let fresh = start("1", nowhere).saturating_sub(plain);
    let kept = start("1", directory.path()).saturating_sub(plain);
    println!("{plain:?}; redirected {fresh:?} more, {kept:?} if everything is kept");
    assert!(kept * TIMES < fresh, "{kept:?}, {fresh:?}");
}

/// What is found out about the C library and the loader is kept, and used by who may trust it.
pub fn plans_are_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let mode = |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    let run = || {
        let mut command = command("pthreads", &["mutex"]);
        let said = judged(command.env("RFUTEX_PRELOAD_CACHE", path), DEVICE);
        said.lines()
            .filter(|line| line.contains("found out before"))
            .count()
    };
    let files = || {
        let entries = fs::read_dir(path).expect("the directory");
        let mut files: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .collect();
        files.sort();
        files
    };
    mode(0o777);
    assert_eq!((run(), files().len()), (0, 0), "others may write there");
    mode(0o700);
    assert_eq!(run(), 0);
    let kept = files();
    assert!(kept.len() >= 2, "{kept:?}");
    assert!(run() >= 2);
    assert_eq!(files(), kept, "there is nothing new");
    // What somebody else may have written, and what was written in part, is made anew.
    for file in &kept {
        fs::set_permissions(file, fs::Permissions::from_mode(0o666)).expect("chmod");
    }
    assert_eq!(run(), 0);
    assert!(run() >= 2);
    for file in &kept {
        let bytes = fs::read(file).expect("a plan");
        fs::write(file, &bytes[..bytes.len() / 2]).expect("a part");
    }
    assert_eq!(run(), 0);
    assert!(run() >= 2);
}
