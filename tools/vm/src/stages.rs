// SPDX-License-Identifier: GPL-2.0
//! What the VMs of `make check` carry out.

use nix::errno::Errno;
use rfutex_guest::plan::Stage;

use crate::session::guest_module;
use crate::stock::INSTALL;

/// Where the selftests are in the guest.
const SELFTESTS: &str = "/bin/rfutex-selftests";

/// Which selftests run on the module as a user has it, too: each command, each
/// error, a wake on every kind of memory, and what depends on the resolvers that
/// a build has. The rest tests the same code, but for what lab builds add to it.
const PLAIN: &[&str] = &[
    "smoke::",
    "errors::",
    "wait::",
    "::wakes",
    PARAMETERS[0],
    PARAMETERS[1],
];

/// The kind of those selftests that tell nothing about the module: they give the oracle faults
/// to see.
const OF_THE_ORACLE: &str = "oracle";

/// Selftests that tell nothing about what a waiter holds: whether the oracle sees
/// faults, what is shown of events, what is built from waits and wakes, and words
/// of arenas, for which nothing is held.
const WHATEVER_IS_HELD: [&str; 10] = [
    OF_THE_ORACLE,
    "ctl::examples::",
    "ctl::list::",
    "ctl::meet::",
    "ctl::refused::",
    "ctl::top::",
    "ctl::trace::",
    "robust::",
    "sync::",
    "trace::",
];

/// Selftests that a brief run has once, too: of watches, listings and requests, which hold
/// nothing whatever the module was loaded with, and of what is not about words of files, for
/// which alone there is something to hold.
const HARDLY_DEPENDS: [&str; 13] = [
    "address_space::",
    "compat::",
    "deadline::",
    "errors::",
    "fuzz::",
    "list::",
    "monitor::",
    "owner::",
    "priority::",
    "signal::",
    "table::",
    "uring::",
    "watch::",
];

/// The selftests of what the module was loaded with: they run also on a module
/// that was loaded with other parameters.
const PARAMETERS: [&str; 2] = ["resolvers::choose::", "hold::parameter::"];

/// What the module must not be loaded with, and the error that says so: in that
/// order the locked resolver, which only lab builds have; two numbers that are
/// no resolver; more buckets than there may be; and two words that say nothing
/// that a waiter could hold.
const REFUSED: &[(&str, Errno)] = &[
    ("resolver=3", Errno::EOPNOTSUPP),
    ("resolver=0", Errno::EINVAL),
    ("resolver=9", Errno::EINVAL),
    ("buckets=1048577", Errno::EINVAL),
    ("hold=everything", Errno::EINVAL),
    ("hold=2", Errno::EINVAL),
];

/// KUnit and the selftests on the lab build, of which `or_none` allows that there are
/// none. The table is small, so that words meet in one bucket. If the run is to be `brief`, the
/// oracle itself is not tested.
pub fn inode(suites: Vec<String>, only: &[String], or_none: bool, brief: bool) -> Vec<Stage> {
    let without: &[&str] = if brief { &[OF_THE_ORACLE] } else { &[] };
    vec![
        Stage::Boot,
        load("lab", "lab", &["buckets=512"], Some(suites)),
        trials("", without, only, or_none),
        unload("lab"),
    ]
}

/// The selftests on the lab build when a waiter holds nothing, but for some if the
/// run is to be `brief`; and some of them, and the samples, on the module as a user
/// has it, with the default table and with other parameters.
pub fn nothing(samples: Vec<Stage>, only: &[String], brief: bool) -> Vec<Stage> {
    // All that are left out here run on the lab build: none at all is noticed there.
    let chosen = !only.is_empty();
    let (plain, parameters) = if chosen {
        let is_one = |part: &&String| PARAMETERS.iter().any(|one| part.starts_with(one));
        (only.to_vec(), only.iter().filter(is_one).cloned().collect())
    } else {
        (owned(PLAIN), owned(&PARAMETERS))
    };
    let mut without = WHATEVER_IS_HELD.to_vec();
    if brief {
        without.extend(HARDLY_DEPENDS);
    }
    let mut stages = vec![
        Stage::Log {
            name: "nothing/boot".to_owned(),
        },
        // The suites make tables of their own, whatever the module was loaded with.
        load("nothing", "lab", &["buckets=512", "hold=nothing"], None),
        trials("nothing", &without, only, chosen),
        unload("nothing"),
        load("plain", "module", &[], None),
        trials("plain", &["lab"], &plain, chosen),
    ];
    stages.extend(samples);
    stages.push(unload("plain"));
    if !parameters.is_empty() {
        stages.extend(REFUSED.iter().map(|&(parameters, errno)| Stage::Refused {
            build: "plain".to_owned(),
            module: guest_module("module"),
            parameters: parameters.to_owned(),
            errno: errno as i32,
        }));
        stages.extend([
            load("others", "module", &["resolver=2", "hold=nothing"], None),
            trials("others", &["lab"], &parameters, chosen),
            unload("others"),
        ]);
    }
    stages
}

/// `install`, which loads a module; then the selftests, `peers` and the samples on the one that was
/// installed as `module`, a file in the guest.
pub fn stock(
    install: Stage,
    module: &str,
    peers: Vec<Stage>,
    samples: Vec<Stage>,
    only: &[String],
) -> Vec<Stage> {
    // What was asked for may be among the others.
    let has_others = !samples.is_empty() || !peers.is_empty();
    let or_none = !only.is_empty() && has_others;
    let mut stages = vec![
        Stage::Boot,
        // File systems are loaded when something is mounted. This has to be there before.
        Stage::Script {
            name: "stock/modprobe-loop".to_owned(),
            script: "modprobe loop && test -c /dev/loop-control".to_owned(),
            output: None,
            limit: 60,
        },
    ];
    if only.is_empty() || only.iter().any(|part| INSTALL.contains(part.as_str())) {
        stages.extend([install, unload("stock")]);
    }
    stages.extend([
        Stage::Load {
            build: "stock".to_owned(),
            module: module.to_owned(),
            installed: true,
            parameters: Vec::new(),
            without_suites: true,
            suites: Vec::new(),
        },
        trials("", &[], only, or_none),
    ]);
    stages.extend(peers);
    stages.extend(samples);
    stages.push(unload("stock"));
    stages
}

/// A short search for inputs that reach something new, on an instrumented build. What that reaches
/// is left to chance, and does not count.
pub fn fuzz() -> Vec<Stage> {
    let module = guest_module("lab");
    vec![
        Stage::EndOfCoverage,
        Stage::Insmod {
            module,
            parameters: Vec::new(),
        },
        Stage::Script {
            name: "fuzz/keeps_what_is_new".to_owned(),
            script: format!(
                "dir=$(mktemp -d) && {SELFTESTS} fuzz --seconds 20 --dir $dir && \
                 ls $dir/corpus/*.ron >/dev/null && rm -r $dir"
            ),
            output: None,
            limit: 120,
        },
    ]
}

/// The selftests that have one of `parts` in their name. There may be none if
/// `or_none`.
fn trials(build: &str, without: &[&str], parts: &[String], or_none: bool) -> Stage {
    Stage::Trials {
        build: build.to_owned(),
        program: SELFTESTS.to_owned(),
        without: owned(without),
        only: parts.to_vec(),
        or_none,
    }
}

fn load(build: &str, module: &str, parameters: &[&str], suites: Option<Vec<String>>) -> Stage {
    Stage::Load {
        build: build.to_owned(),
        module: guest_module(module),
        installed: false,
        parameters: owned(parameters),
        without_suites: suites.is_none(),
        suites: suites.unwrap_or_default(),
    }
}

fn unload(build: &str) -> Stage {
    Stage::Unload {
        build: build.to_owned(),
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
