// SPDX-License-Identifier: GPL-2.0
//! The plugin of QEMU that counts how cache lines move: its model by itself, and whether
//! QEMU takes it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../lines")
}

/// Compiles these into `output`.
fn compile(output: &Path, options: &[&str], files: &[&str]) {
    let status = Command::new("gcc")
        .current_dir(sources())
        .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(output)
        .args(options)
        .args(files)
        .status()
        .unwrap();
    assert!(status.success());
}

/// A machine that never runs, and has the plugin with these arguments.
fn machine(temp: &TempDir, arguments: &str) -> Output {
    let plugin = temp.path().join("lines.so");
    compile(
        &plugin,
        &["-fPIC", "-shared", "-fvisibility=hidden", "-pthread"],
        &["plugin.c", "model.c"],
    );
    let mut plugin = plugin.into_os_string();
    plugin.push(arguments);
    let mut machine = Command::new("qemu-system-x86_64")
        .args(["-S", "-display", "none", "-icount", "shift=0", "-smp", "2"])
        .args(["-monitor", "stdio", "-plugin"])
        .arg(plugin)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It fails if the machine has refused to start.
    let _ = machine.stdin.take().unwrap().write_all(b"quit\n");
    machine.wait_with_output().unwrap()
}

#[test]
fn the_model_is_that_of_the_documentation() {
    let temp = tempfile::tempdir().unwrap();
    let test = temp.path().join("test");
    compile(&test, &[], &["test.c", "model.c"]);
    let output = Command::new(&test).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn qemu_takes_the_plugin_and_the_plugin_its_file() {
    let temp = tempfile::tempdir().unwrap();
    let counted = temp.path().join("counted");
    let output = machine(&temp, &format!(",out={}", counted.display()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(std::fs::read_to_string(&counted).unwrap(), "");
}

#[test]
fn the_plugin_takes_no_other_arguments() {
    let temp = tempfile::tempdir().unwrap();
    let output = machine(&temp, ",other=1");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("wants out=FILE"),
        "{said}"
    );
}
