// SPDX-License-Identifier: GPL-2.0
//! The module, taken out and put in again by a test.

use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module};
use std::ffi::CString;
use std::fs::File;

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
    finit_module(&module, &parameters, ModuleInitFlags::empty()).expect("finit_module");
}

#[track_caller]
fn unload() {
    delete_module(c"rfutex", DeleteModuleFlags::O_NONBLOCK).expect("delete_module");
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
        let unloaded = delete_module(c"rfutex", DeleteModuleFlags::O_NONBLOCK);
        if unloaded.is_ok() {
            drop(UnloadedModule(()));
        }
        assert!(unloaded.is_ok() || std::thread::panicking(), "{unloaded:?}");
    }
}
