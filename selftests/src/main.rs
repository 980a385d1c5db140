// SPDX-License-Identifier: GPL-2.0
//! The selftests, as a program.

fn main() -> std::process::ExitCode {
    rfutex_selftests::main()
}
