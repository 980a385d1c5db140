// SPDX-License-Identifier: GPL-2.0
//! What counts as a splat: a line in the kernel log that no healthy kernel
//! writes. A report of the kernel has many such lines; each is looked at.

/// Where in a message a pattern has to be.
#[derive(Clone, Copy)]
enum At {
    /// At the start, behind nothing but brackets, blanks and known prefixes.
    Start,
    /// Anywhere.
    Anywhere,
}
use At::{Anywhere, Start};

/// Subsystems that put their name before their complaints.
const PREFIXES: &[&str] = &["rcu: ", "watchdog: ", "workqueue: ", "hrtimer: "];

/// The kinds of splats and the lines they show themselves by. Order matters:
/// the first that matches names the line.
const PATTERNS: &[(&str, At, &str)] = &[
    ("kasan", Start, "BUG: KASAN: "),
    ("kasan", Anywhere, "KASAN: null-ptr-deref"),
    ("kasan", Anywhere, "KASAN: maybe wild-memory-access"),
    ("kasan", Anywhere, "KASAN: probably user-memory-access"),
    ("ubsan", Start, "UBSAN: "),
    ("suspicious-rcu", Start, "WARNING: suspicious RCU usage"),
    ("lockdep", Start, "WARNING: possible circular locking"),
    ("lockdep", Start, "WARNING: possible recursive locking"),
    ("lockdep", Start, "WARNING: possible irq lock inversion"),
    ("lockdep", Start, "WARNING: inconsistent lock state"),
    ("lockdep", Start, "WARNING: bad unlock balance"),
    ("lockdep", Start, "WARNING: bad contention"),
    ("lockdep", Start, "WARNING: held lock freed"),
    ("lockdep", Start, "WARNING: lock held when returning"),
    ("lockdep", Start, "WARNING: Nested lock was not taken"),
    ("lockdep", Start, "WARNING: chain_key collision"),
    ("lockdep", Anywhere, "unsafe lock order detected"),
    ("lockdep", Anywhere, "still has locks held"),
    ("lockdep", Start, "BUG: Invalid wait context"),
    ("lockdep", Start, "BUG: MAX_"),
    ("lockdep", Start, "BUG: looking up invalid subclass"),
    ("lockdep", Start, "INFO: trying to register non-static key"),
    (
        "lockdep",
        Anywhere,
        "turning off the locking correctness validator",
    ),
    ("lockdep", Anywhere, "DEBUG_LOCKS_WARN_ON"),
    (
        "atomic-sleep",
        Start,
        "BUG: sleeping function called from invalid context",
    ),
    ("atomic-sleep", Start, "BUG: scheduling while atomic"),
    ("atomic-sleep", Anywhere, "do not call blocking ops when"),
    (
        "atomic-sleep",
        Anywhere,
        "Voluntary context switch within RCU",
    ),
    ("rcu-stall", Start, "INFO: rcu_"),
    ("rcu-stall", Anywhere, "self-detected stall on CPU"),
    ("rcu-stall", Anywhere, "detected stalls on CPUs/tasks"),
    ("rcu-stall", Anywhere, "kthread starved for"),
    ("hung-task", Anywhere, "blocked for more than"),
    ("hung-task", Anywhere, "blocked in I/O wait for more than"),
    ("soft-lockup", Start, "BUG: soft lockup"),
    ("soft-lockup", Anywhere, "hard LOCKUP"),
    ("soft-lockup", Start, "BUG: workqueue lockup"),
    ("busy-inodes", Anywhere, "Busy inodes after unmount"),
    ("list", Start, "list_add corruption"),
    ("list", Start, "list_del corruption"),
    ("list", Start, "list_add double add"),
    ("odebug", Start, "ODEBUG: "),
    ("refcount", Start, "refcount_t: "),
    ("bad-page", Start, "BUG: Bad page"),
    ("bad-page", Start, "BUG: Bad rss-counter"),
    ("bad-page", Start, "BUG: non-zero pgtables_bytes"),
    ("slab", Anywhere, "Objects remaining"),
    ("slab", Anywhere, "Slab cache still has objects"),
    ("slab", Anywhere, "Freepointer corrupt"),
    ("slab", Anywhere, "Object already free"),
    ("slab", Start, "BUG "),
    ("vfs", Anywhere, "VFS_BUG_ON"),
    ("vfs", Anywhere, "VFS_WARN_ON"),
    ("vm", Anywhere, "VM_BUG_ON"),
    ("vm", Anywhere, "VM_WARN_ON"),
    ("bug", Start, "kernel BUG at"),
    ("panic", Start, "Kernel panic"),
    ("oops", Start, "Oops: "),
    ("oops", Start, "BUG: kernel NULL pointer dereference"),
    ("oops", Start, "BUG: unable to handle page fault"),
    ("oops", Start, "general protection fault"),
    ("oops", Anywhere, "stack guard page was hit"),
    ("oops", Anywhere, "stack-protector: "),
    ("oops", Anywhere, "corrupted stack end detected"),
    ("oops", Anywhere, "exited with irqs disabled"),
    ("oops", Anywhere, "exited with preempt_count"),
    ("filesystem", Start, "EXT4-fs error"),
    ("filesystem", Start, "XFS: Assertion failed"),
    ("filesystem", Anywhere, "Internal error XFS"),
    // A monitor of runtime verification, with the reactor "printk".
    ("rv", Start, "rv: monitor "),
    ("warn", Start, "WARNING: "),
    ("bug", Start, "BUG: "),
    ("cut", Start, "------------[ cut here"),
    ("trace", Start, "Call Trace:"),
];

/// A report that ends in a stack trace and is no splat: it was asked for.
const ASKED_FOR: &[&str] = &["invoked oom-killer", "FAULT_INJECTION: forcing a failure"];

/// The kind of splat that `message` is a sign of, if it is one.
fn kind_of(message: &str) -> Option<&'static str> {
    let mut start = message.trim_start();
    start = start.strip_prefix("[ ").unwrap_or(start);
    for prefix in PREFIXES {
        start = start.strip_prefix(prefix).unwrap_or(start);
    }
    PATTERNS
        .iter()
        .find(|(_, at, text)| match at {
            Start => start.starts_with(text),
            Anywhere => message.contains(text),
        })
        .map(|(kind, _, _)| *kind)
}

/// What is wrong with a stretch of kernel log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The kinds of splats, each once, in the order of their coming.
    pub kinds: Vec<String>,
    /// The lines that showed it, each once.
    pub headings: Vec<String>,
}

impl Findings {
    /// True if there is no splat.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }
}

/// Looks for splats in consecutive messages of the kernel log (without their
/// time stamps).
pub fn scan<'a>(messages: impl IntoIterator<Item = &'a str>) -> Findings {
    let mut findings = Findings::default();
    let mut asked_for = false;
    for message in messages {
        if ASKED_FOR.iter().any(|text| message.contains(text)) {
            asked_for = true;
        }
        let Some(kind) = kind_of(message) else {
            continue;
        };
        if kind == "trace" && asked_for {
            asked_for = false;
            continue;
        }
        // A trace or a rule is the body of the report just named.
        if matches!(kind, "trace" | "cut") && !findings.is_empty() {
            continue;
        }
        if !findings.kinds.iter().any(|k| k == kind) {
            findings.kinds.push(kind.to_owned());
        }
        let heading = message.trim();
        if !findings.headings.iter().any(|h| h == heading) {
            findings.headings.push(heading.to_owned());
        }
    }
    findings
}

/// The message of a line of console output: without its time stamp.
pub fn console_message(line: &str) -> &str {
    let line = line.trim_end();
    match line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((stamp, message)) if stamp.trim().parse::<f64>().is_ok() => message,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Real headings, each with the kind it must be taken for.
    const SAMPLES: &[(&str, &str)] = &[
        (
            "WARNING: rust/lab/splat.rs:12 at foo+0x1/0x2 [rfutex], CPU#0: sh/77",
            "warn",
        ),
        ("kernel BUG at lib/foo.c:42!", "bug"),
        ("Oops: invalid opcode: 0000 [#1] SMP KASAN", "oops"),
        (
            "Oops: general protection fault, probably for non-canonical address 0x1: 0000",
            "oops",
        ),
        (
            "BUG: KASAN: slab-use-after-free in foo+0x1/0x2 [rfutex]",
            "kasan",
        ),
        (
            "UBSAN: array-index-out-of-bounds in rust/helpers.c:3:4",
            "ubsan",
        ),
        (
            "WARNING: possible circular locking dependency detected",
            "lockdep",
        ),
        ("WARNING: possible recursive locking detected", "lockdep"),
        ("WARNING: inconsistent lock state", "lockdep"),
        ("WARNING: bad unlock balance detected!", "lockdep"),
        ("WARNING: held lock freed!", "lockdep"),
        (
            "WARNING: lock held when returning to user space!",
            "lockdep",
        ),
        (
            "WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected",
            "lockdep",
        ),
        ("[ BUG: Invalid wait context ]", "lockdep"),
        ("WARNING: sh/77 still has locks held!", "lockdep"),
        ("WARNING: suspicious RCU usage", "suspicious-rcu"),
        (
            "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:1",
            "atomic-sleep",
        ),
        ("BUG: scheduling while atomic: sh/77/0x2", "atomic-sleep"),
        (
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "rcu-stall",
        ),
        (
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "rcu-stall",
        ),
        (
            "INFO: task sh:77 blocked for more than 3 seconds.",
            "hung-task",
        ),
        (
            "watchdog: BUG: soft lockup - CPU#1 stuck for 4s! [sh:77]",
            "soft-lockup",
        ),
        (
            "VFS: Busy inodes after unmount of tmpfs (tmpfs)",
            "busy-inodes",
        ),
        (
            "list_add corruption. next->prev should be prev (1), but was 2.",
            "list",
        ),
        (
            "ODEBUG: init active (active state 0) object: 1 object type: timer_list",
            "odebug",
        ),
        ("refcount_t: addition on 0; use-after-free.", "refcount"),
        ("BUG: Bad page state in process sh  pfn:12345", "bad-page"),
        (
            "BUG: Bad rss-counter state mm:1 type:MM_ANONPAGES val:1",
            "bad-page",
        ),
        (
            "BUG rfutex_lab (Tainted: G        O       ): Objects remaining on __kmem_cache_shutdown()",
            "slab",
        ),
        (
            "rv: monitor sssw does not allow event sched_switch_suspend on state runnable",
            "rv",
        ),
        ("Kernel panic - not syncing: sysrq triggered crash", "panic"),
    ];

    #[test]
    fn each_heading_has_its_kind() {
        for (line, kind) in SAMPLES {
            assert_eq!(scan([*line]).kinds, [*kind], "{line}");
        }
    }

    #[test]
    fn ordinary_lines_are_nothing() {
        let lines = [
            "rfutex: loading out-of-tree module taints kernel.",
            "    ok 3 a_warning_is_counted",
            "    # Subtest: bug_of_2003",
            "EXT4-fs (loop0): mounted filesystem 1 r/w with ordered data mode.",
            "traps: sh[77] general protection fault ip:1 sp:2 error:0 in busybox[3,4]",
            "sh[77]: segfault at 0 ip 1 sp 2 error 4 in busybox",
            "rcu: Hierarchical SRCU implementation.",
            "watchdog: Delayed init of the lockup detector failed: 22",
            "Spectre V2 : WARNING: is only part of this line",
        ];
        assert!(scan(lines).is_empty());
    }

    #[test]
    fn a_bare_trace_is_a_splat_unless_asked_for() {
        assert_eq!(scan(["Call Trace:", " <TASK>"]).kinds, ["trace"]);
        let oom = ["sh invoked oom-killer: gfp_mask=0x1", "Call Trace:"];
        assert!(scan(oom).is_empty());
        let then_real = [
            "sh invoked oom-killer: gfp_mask=0x1",
            "Call Trace:",
            "Call Trace:",
        ];
        assert_eq!(scan(then_real).kinds, ["trace"]);
    }

    #[test]
    fn a_report_has_all_its_kinds() {
        let report = [
            "------------[ cut here ]------------",
            "refcount_t: addition on 0; use-after-free.",
            "WARNING: lib/refcount.c:25 at refcount_warn_saturate+0x1/0x2, CPU#0: sh/77",
            "Call Trace:",
        ];
        assert_eq!(scan(report).kinds, ["cut", "refcount", "warn"]);
    }

    #[test]
    fn console_lines_lose_their_stamp() {
        assert_eq!(
            console_message("[   12.345678] Call Trace:\r\n"),
            "Call Trace:"
        );
        assert_eq!(
            console_message("[ BUG: Invalid wait context ]"),
            "[ BUG: Invalid wait context ]"
        );
    }
}
