// SPDX-License-Identifier: GPL-2.0
//! The module, taken out and put in again by a test.

use super::until;
use nix::errno::Errno;
use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module};
use std::ffi::CString;
use std::fs::File;

/// What finit_module is told of a file that is compressed (`MODULE_INIT_COMPRESSED_FILE`).
const COMPRESSED: ModuleInitFlags = ModuleInitFlags::from_bits_retain(4);

/// What is set for the tests where they are run one by one: what the module was loaded from and with.
#[track_caller]
fn told(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is set"))
}

#[track_caller]
fn load(parameters: &str) {
    let path = told("RFUTEX_MODULE");
    let module = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let parameters = CString::new(parameters).expect("no zero");
    let flags = if path.ends_with(".ko") {
        ModuleInitFlags::empty()
    } else {
        COMPRESSED
    };
    finit_module(&module, &parameters, flags).expect("finit_module");
}

/// Takes the module out, if nobody uses it.
fn try_unload() -> nix::Result<()> {
    delete_module(c"rfutex", DeleteModuleFlags::O_NONBLOCK)
}

#[track_caller]
fn unload() {
    try_unload().expect("delete_module");
}

/// How often the module is in use.
#[track_caller]
pub fn module_references() -> u32 {
    let path = "/sys/module/rfutex/refcnt";
    let text = std::fs::read_to_string(path).expect(path);
    text.trim().parse().expect("a number")
}

/// The module cannot be taken out, because somebody uses it.
#[track_caller]
pub fn module_is_used() {
    assert_eq!(try_unload(), Err(Errno::EWOULDBLOCK));
}

/// The module is gone; on drop it is there again, as it was.
#[derive(Debug)]
pub struct UnloadedModule(());

impl UnloadedModule {
    /// Nobody may have the device or a watch set open, in this process neither.
    #[track_caller]
    pub fn new() -> Self {
        unload();
        Self(())
    }

    /// The same beside a program that has the device open for a moment now and then.
    #[track_caller]
    pub fn when_unused() -> Self {
        until("nobody uses the module", || match try_unload() {
            Err(Errno::EWOULDBLOCK) => false,
            result => {
                result.expect("delete_module");
                true
            }
        });
        Self(())
    }
}

impl Drop for UnloadedModule {
    fn drop(&mut self) {
        load(&told("RFUTEX_PARAMETERS"));
    }
}

/// The module was loaded with other parameters; on drop it is loaded as it was before.
#[derive(Debug)]
pub struct ReloadedModule(());

impl ReloadedModule {
    /// Loads the module with `parameters` besides those that it was loaded with. As with
    /// [`UnloadedModule`], nobody may use it.
    #[track_caller]
    pub fn with(parameters: &str) -> Self {
        unload();
        load(&format!("{} {parameters}", told("RFUTEX_PARAMETERS")));
        Self(())
    }
}

impl Drop for ReloadedModule {
    fn drop(&mut self) {
        let unloaded = try_unload();
        if unloaded.is_ok() {
            drop(UnloadedModule(()));
        }
        assert!(unloaded.is_ok() || std::thread::panicking(), "{unloaded:?}");
    }
}
