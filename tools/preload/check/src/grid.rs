// SPDX-License-Identifier: GPL-2.0
//! The same results as the kernel's, call by call.

#[path = "../../src/grid.rs"]
mod cases;

use crate::call;
use crate::kernel;
use cases::Memory;

/// Every case by way of the C library and straight to the kernel: the same
/// result, the same errno, the same words afterwards.
pub fn same_results() {
    let memory = Memory::new();
    let mut differences = Vec::new();
    let cases = cases::cases(&memory);
    for case in &cases {
        // SAFETY: The cases touch no memory but theirs.
        let kernel = unsafe { kernel::call(case.number, &case.args) };
        let kernel = (kernel, memory.values());
        memory.reset();
        // SAFETY: As above.
        let here = unsafe { call::call(case.number, &case.args) };
        let here = (here, memory.values());
        memory.reset();
        if here != kernel {
            differences.push(format!("{}: {here:?}, the kernel {kernel:?}", case.name));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} differ:\n{}",
        differences.len(),
        cases.len(),
        differences[..differences.len().min(100)].join("\n")
    );
}
