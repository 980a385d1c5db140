// SPDX-License-Identifier: GPL-2.0
//! `make boots`: whether the machine boots, time after time. Here a boot that
//! dies is not made once more, but counted.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rfutex_guest::plan::{Plan, Stage};

use crate::Options;
use crate::interrupt::Interrupt;
use crate::report::Report;
use crate::session::{Places, guest_module};
use crate::vng::Limits;

/// Boots so many times, loads the module and runs one program in each. Keeps the
/// console of each boot in which anything went wrong. True if there was none.
pub fn run(options: &Options, places: &Places, interrupt: &Interrupt, count: u32) -> Result<bool> {
    let limits = Limits {
        silence: Duration::from_secs(60),
        total: Duration::from_secs(10 * 60),
    };
    let root = places.root(&[])?;
    let stages = vec![
        Stage::Insmod {
            module: guest_module("module"),
            parameters: Vec::new(),
        },
        Stage::Exec {
            argv: vec!["true".to_owned()],
        },
    ];
    let plan = Plan {
        limit: options.limit,
        stages,
        ..Plan::default()
    };
    let kept = places.build.join("console");
    let mut failed = 0;
    for number in 1..=count {
        let mut session = options.session(places, interrupt, limits)?;
        session.choose_accelerator(&root)?;
        let (began, mut report) = (Instant::now(), Report::default());
        let ended = session.boot(&root, &plan, "boots", &mut report, |line| {
            println!("{line}")
        })?;
        ended.judge(&mut report)?;
        let good = report.outcomes().is_empty() && ended.ran.exited == Some(0);
        let word = if good { "ok" } else { "FAIL" };
        let seconds = began.elapsed().as_secs_f64();
        println!("{word:4} {seconds:7.2} s  boot {number} of {count}");
        if !good {
            failed += 1;
            let to = kept.join(format!("boots-{number}.log"));
            fs::copy(kept.join("boots.log"), &to).context("keeping the console's log")?;
            println!("     console in {}", to.display());
        }
    }
    println!("{count} boots, {failed} failed");
    Ok(failed == 0)
}
