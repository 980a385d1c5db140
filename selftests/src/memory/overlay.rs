// SPDX-License-Identifier: GPL-2.0
//! An overlay file system.

use super::{Mount, file_in};
use std::fs;
use std::path::Path;

/// A mounted overlayfs, with both of its layers on one tmpfs.
#[derive(Debug)]
pub struct Overlay {
    // It is unmounted before its layers.
    mount: Mount,
    _layers: Mount,
}

impl Overlay {
    /// Mounts one that has a file called `below` of `len` bytes in its lower layer.
    #[track_caller]
    pub fn new(below: &str, len: usize) -> Self {
        let layers = Mount::tmpfs("");
        let [lower, upper, work] = ["lower", "upper", "work"].map(|name| {
            let path = layers.path().join(name);
            fs::create_dir(&path).expect("a directory");
            path
        });
        drop(file_in(&lower, below, len));
        let [lower, upper, work] = [&lower, &upper, &work].map(|path| path.display());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        Self {
            mount: Mount::new(Path::new("overlay"), "overlay", &options),
            _layers: layers,
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.mount.path()
    }
}
