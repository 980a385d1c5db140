// SPDX-License-Identifier: GPL-2.0
//! `make check-harness`: the tests of what runs the tests.

use std::panic::resume_unwind;
use std::thread;

use anyhow::Result;

use crate::interrupt::Interrupt;
use crate::report::Report;
use crate::run_tests::Tests;
use crate::session::Places;
use crate::{Options, kernels, splats};

/// Runs the harness's own tests. Those that provoke splats wait for time-outs, mostly, so that the
/// others run beside them.
pub fn check(
    options: &Options,
    places: &Places,
    interrupt: &Interrupt,
    report: &mut Report,
) -> Result<()> {
    kernels::good_for_tests(places)?;
    thread::scope(|scope| {
        let splats = scope.spawn(|| splats::run(options, places, interrupt));
        let tests = Tests {
            options,
            places,
            interrupt,
        };
        tests.run(report)?;
        let splats = splats.join().unwrap_or_else(|panic| resume_unwind(panic));
        splats?.judge(report)
    })
}
