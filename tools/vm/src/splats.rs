// SPDX-License-Identifier: GPL-2.0
//! The harness's own test: whatever can go wrong is made to go wrong in a VM
//! of its own, through the very program that runs the tests, and has to be
//! seen.

use std::fs;
use std::panic::resume_unwind;
use std::process::{Command, Output, Stdio};
use std::thread;

use anyhow::{Context, Result};
use rfutex_guest::event::Verdict;
use rfutex_guest::plan::{END, Plan, Stage};

use crate::Options;
use crate::interrupt::Interrupt;
use crate::report::Report;
use crate::session::{DIED_BOOTING, Places, guest_module};

/// The lab build's file that triggers the splat named in what is written to it.
const TRIGGER: &str = "/sys/kernel/debug/rfutex/splat";

/// Time limit of a script here, in seconds.
const LIMIT: u64 = 60;

/// How long a VM may say nothing, in seconds: as long as a script may take, and
/// some more. KUnit says nothing either, however busy the host is.
const SILENCE: u64 = LIMIT + 60;

/// How long the one that hangs may: this is waited for. Nothing else in it takes
/// long.
const SHORT_SILENCE: u64 = 45;

/// What is made to happen, and what the runner has to say of it.
struct Case {
    name: String,
    script: String,
    /// What it has to print, if that is looked at.
    output: Option<String>,
    expect: Expect,
}

/// One boot.
struct Vm {
    stages: Vec<Stage>,
    /// Names of tests in it, and what the runner has to say of them.
    expected: Vec<(String, Expect)>,
    /// Whether KUnit runs as the module is loaded.
    kunit: bool,
    /// After so many seconds without a word it hangs.
    silence: u64,
    /// More of the kernel's command line.
    append: &'static [&'static str],
}

enum Expect {
    /// It passes: not everything is flagged.
    Pass,
    /// It fails.
    Fail,
    /// It fails, because of a splat of this kind.
    Splat(&'static str),
}
use Expect::{Fail, Pass, Splat};

fn case(name: impl Into<String>, script: impl Into<String>, expect: Expect) -> Case {
    Case {
        name: name.into(),
        script: script.into(),
        output: None,
        expect,
    }
}

/// A script that has to print "begin", whatever it likes, and "end".
fn printing(name: &str, script: &str, expect: Expect) -> Case {
    Case {
        output: Some("begin*end\n".to_owned()),
        ..case(name, script, expect)
    }
}

/// A splat that the module triggers, after `before` has prepared the kernel.
fn splat(kind: &'static str, before: &str) -> Case {
    case(
        kind,
        format!("{before}\necho {kind} >{TRIGGER}"),
        Splat(kind),
    )
}

/// A reference on an inode is given back where it must not be.
fn release(place: &str, kind: &'static str) -> Case {
    let name = format!("release-{place}");
    let script = format!("echo {name} >{TRIGGER}");
    case(name, script, Splat(kind))
}

/// A VM in which these happen, one after the other, with the lab build loaded.
/// Of that a KUnit suite is missing in any case.
fn vm(cases: Vec<Case>) -> Vm {
    let suite = "rfutex_no_such_suite";
    let mut stages = vec![Stage::Load {
        build: "lab".to_owned(),
        module: guest_module("lab"),
        installed: false,
        parameters: Vec::new(),
        suites: vec![suite.to_owned()],
        without_suites: false,
    }];
    let mut expected = vec![(format!("kunit/{suite}"), Fail)];
    for case in cases {
        stages.push(Stage::Script {
            name: case.name.clone(),
            script: case.script,
            output: case.output,
            limit: if case.name == "time-limit" { 2 } else { LIMIT },
        });
        expected.push((case.name, case.expect));
    }
    Vm {
        stages,
        expected,
        kunit: false,
        silence: SILENCE,
        append: &[],
    }
}

/// What happens in the first VM. Lockdep looks no further after its first
/// report, and corrupt memory or an oops turns it off too: what needs it comes
/// before.
/// Time-outs are shortened only where they are waited for, here and in the fourth.
fn first() -> Vec<Case> {
    let hung = "cd /proc/sys/kernel; echo 2 >hung_task_timeout_secs; echo 1 >hung_task_check_interval_secs";
    vec![
        case("control", "true", Pass),
        case("exit-status", "exit 3", Fail),
        printing("output", "echo begin; echo end", Pass),
        printing("other-output", "echo begin", Fail),
        printing("output-goes-on", "echo begin; echo end; echo more", Fail),
        case("time-limit", "sleep 1000", Fail),
        case("stray-process", "sleep 1000 >/dev/null 2>&1 & exit 0", Fail),
        case(
            "stray-mount",
            "mkdir -p /run/stray; mount -t tmpfs stray /run/stray",
            Fail,
        ),
        case("stray-file", "touch /tmp/stray", Fail),
        splat("suspicious-rcu", ""),
        splat("atomic-sleep", ""),
        case(
            "rv",
            "echo 'rv: monitor sssw does not allow event x on state y' >/dev/kmsg",
            Splat("rv"),
        ),
        splat("warn", ""),
        splat("ubsan", ""),
        splat("list", ""),
        splat("refcount", ""),
        splat("odebug", ""),
        release("under-mmap-lock", "warn"),
        release("under-vma-lock", "warn"),
        release("with-page", "warn"),
        splat("lockdep", ""),
        splat("kasan", ""),
        splat("bad-page", ""),
        splat("slab", ""),
        case(
            "busy-inodes",
            format!(
                "mkdir -p /run/busy; mount -t tmpfs busy /run/busy; cd /run/busy; echo busy-inodes >{TRIGGER}; cd /; umount /run/busy"
            ),
            Splat("busy-inodes"),
        ),
        splat("hung-task", hung),
        // The kernel says so once a second at most.
        release("in-rcu", "atomic-sleep"),
        case("control-again", "true", Pass),
        splat("oops", ""),
        splat("bug", ""),
        case("panic", "echo c >/proc/sysrq-trigger", Splat("panic")),
    ]
}

/// What happens in the second: another report of lockdep, then the runner
/// itself stops.
fn second() -> Vec<Case> {
    vec![
        case(
            "lock-held",
            format!("echo lock-held >{TRIGGER}"),
            Splat("lockdep"),
        ),
        case("vm-hang", "kill -STOP $PPID", Fail),
    ]
}

/// The third: a program, and no test; the kernel complains after it, too.
fn third() -> Vm {
    let complaint = "echo 'WARNING: of nobody' >/dev/kmsg";
    let argv = ["sh", "-c", complaint].map(str::to_owned).to_vec();
    Vm {
        stages: vec![Stage::Exec { argv }],
        expected: vec![(END.to_owned(), Splat("warn"))],
        kunit: false,
        silence: SILENCE,
        append: &[],
    }
}

/// What happens in the fourth: processors stand still.
fn fourth() -> Vec<Case> {
    let stall = "echo 3 >/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout";
    let lockup = "echo 1 >/proc/sys/kernel/watchdog_thresh";
    vec![
        splat("rcu-stall", stall),
        splat("soft-lockup", lockup),
        case("control", "true", Pass),
    ]
}

/// The fifth dies while it boots, before the kernel has so much as a scheduler:
/// RCU warns of a tree whose leaves are too narrow.
fn fifth() -> Vm {
    Vm {
        stages: Vec::new(),
        expected: vec![("vm".to_owned(), Splat("panic"))],
        kunit: false,
        silence: SILENCE,
        append: &["panic_on_warn=1", "rcutree.rcu_fanout_leaf=1"],
    }
}

/// What the runner made of all of it.
pub struct Ran(Vec<(Vm, Inner)>);

/// Runs all of it, the VMs side by side: most of their time they wait.
pub fn run(options: &Options, places: &Places, interrupt: &Interrupt) -> Result<Ran> {
    thread::scope(|scope| {
        let vms = [
            Vm {
                kunit: true,
                ..vm(first())
            },
            Vm {
                silence: SHORT_SILENCE,
                ..vm(second())
            },
            third(),
            vm(fourth()),
            fifth(),
        ];
        let mut number = 0;
        let vms = vms.map(|vm| {
            let name = format!("splats-{number}");
            number += 1;
            let run =
                move || carry_out(options, places, interrupt, &vm, &name).map(|inner| (vm, inner));
            scope.spawn(run)
        });
        let ran = vms.map(|vm| vm.join().unwrap_or_else(|panic| resume_unwind(panic)));
        Ok(Ran(ran.into_iter().collect::<Result<_>>()?))
    })
}

impl Ran {
    /// Each case is a test in `report`.
    pub fn judge(&self, report: &mut Report) -> Result<()> {
        for (number, (vm, inner)) in self.0.iter().enumerate() {
            for (name, expect) in &vm.expected {
                let ours = format!("harness/{number}/{name}");
                judge(report, inner, &ours, name, expect)?;
            }
            if !vm.append.is_empty() {
                judge_death(report, inner, number)?;
            }
            judge_exit(report, inner, number)?;
        }
        Ok(())
    }
}

/// What the runner made of one VM.
struct Inner {
    output: Output,
    report: Report,
}

/// Runs it as a run of the tests is run: this program, one boot.
///
/// The console's log is called `name`.
fn carry_out(
    options: &Options,
    places: &Places,
    interrupt: &Interrupt,
    vm: &Vm,
    name: &str,
) -> Result<Inner> {
    let temp = tempfile::tempdir()?;
    let (plan, result) = (temp.path().join("plan"), temp.path().join("report"));
    fs::write(
        &plan,
        serde_json::to_vec(&Plan {
            limit: LIMIT,
            stages: vm.stages.clone(),
            ..Plan::default()
        })?,
    )?;
    // Not by its path: somebody may have built it anew meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("--kdir")
        .arg(&places.kdir)
        .arg("--top")
        .arg(&options.top)
        .arg("--modules")
        .arg(&places.modules)
        .arg("--programs")
        .arg(&places.programs)
        .arg("--cache")
        .arg(&places.cache)
        .args([
            "--cpus",
            &options.cpus.to_string(),
            "--memory",
            &options.memory.to_string(),
            "--append",
            &format!("kunit.enable={}", u8::from(vm.kunit)),
        ])
        .args(vm.append.iter().flat_map(|option| ["--append", option]))
        .arg("session")
        .arg("--plan")
        .arg(&plan)
        .arg("--report")
        .arg(&result)
        .args(["--silence", &vm.silence.to_string(), "--name", name])
        .stdin(Stdio::null());
    let output = interrupt
        .output(&mut command, false)
        .context("running ourselves")?;
    let report = fs::read(&result).with_context(|| {
        format!(
            "the runner left no report; it said:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })?;
    Ok(Inner {
        output,
        report: serde_json::from_slice(&report)?,
    })
}

/// Makes the runner's answer about its test `inner_name` a test of ours.
fn judge(
    report: &mut Report,
    inner: &Inner,
    name: &str,
    inner_name: &str,
    expect: &Expect,
) -> Result<()> {
    let outcome = inner
        .report
        .outcomes()
        .iter()
        .find(|outcome| outcome.name == inner_name);
    let wrong = match (outcome, expect) {
        (None, _) => {
            let outcomes = inner.report.outcomes().iter();
            let others: Vec<_> = outcomes
                .map(|other| format!("{}: {}", other.name, other.why.join("; ")))
                .collect();
            Some(format!("it did not run, but {others:?}"))
        }
        (Some(o), Pass) if o.verdict == Verdict::Passed => None,
        (Some(o), Fail) if o.verdict == Verdict::Failed => None,
        (Some(o), Splat(kind)) if o.verdict == Verdict::Failed => {
            (!o.splats.iter().any(|seen| seen == kind))
                .then(|| format!("it failed for another reason: {}", o.why.join("; ")))
        }
        (Some(o), Pass) => Some(format!("nothing was wrong, but: {}", o.why.join("; "))),
        (Some(_), _) => Some("the runner did not notice".to_owned()),
    };
    let log = match (&wrong, outcome) {
        (Some(_), Some(outcome)) => outcome.log.clone(),
        _ => String::new(),
    };
    let seconds = outcome.map_or(0.0, |o| o.seconds);
    Ok(report.judged(name.to_owned(), seconds, wrong, log)?)
}

/// The runner has to say that the machine died while it booted, and to have
/// booted it twice in sight: no more often, and not once.
fn judge_death(report: &mut Report, inner: &Inner, number: usize) -> Result<()> {
    let said = String::from_utf8_lossy(&inner.output.stderr);
    let boots = said.matches("  vm         booting ").count();
    let again = said.matches("tried once more").count();
    let why = inner
        .report
        .outcomes()
        .iter()
        .flat_map(|outcome| &outcome.why);
    let in_words = why.filter(|why| why.starts_with(DIED_BOOTING)).count();
    let wrong = if in_words != 1 {
        Some("the runner did not say how the machine died".to_owned())
    } else if (boots, again) != (2, 1) {
        Some(format!(
            "{boots} boots, said to be tried once more {again} times"
        ))
    } else {
        None
    };
    let name = format!("harness/{number}/once-more");
    Ok(report.judged(name, 0.0, wrong, said.into_owned())?)
}

/// The runner has to fail, and to end with its totals.
fn judge_exit(report: &mut Report, inner: &Inner, number: usize) -> Result<()> {
    let text = String::from_utf8_lossy(&inner.output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let wrong = if inner.output.status.code() != Some(1) {
        Some(format!("the runner ended with {}", inner.output.status))
    } else if last != inner.report.to_string() {
        Some(format!("the runner's last line is: {last}"))
    } else {
        None
    };
    let name = format!("harness/{number}/exit");
    Ok(report.judged(name, 0.0, wrong, String::new())?)
}
