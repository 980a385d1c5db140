// SPDX-License-Identifier: GPL-2.0
//! Tests that hold for futex(2), and for `/dev/rfutex` behind a preloaded
//! library all the same.
//!
//! Run with `librfutex_preload.so` in `LD_PRELOAD`, it tests that library; run
//! without, it tests itself against the kernel. Trials of the kinds `preload`
//! and `counted` are about the library alone; the latter are for a processor
//! that counts time in instructions. Those of the kind `differs` fail with it, as
//! `Documentation/preload.rst` says.

mod call;
mod device;
mod grid;
#[path = "../../src/kernel.rs"]
#[expect(dead_code, reason = "shared with the library")]
mod kernel;
mod memory;
mod processes;
mod redirected;
mod sandbox;
mod signals;
mod tracer;
mod wakes;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

/// The test `run` by its name in this program.
fn trial(path: &str, run: fn()) -> Trial {
    let name = path.split_once("::").map_or(path, |(_crate, name)| name);
    Trial::test(name, move || {
        run();
        Ok(())
    })
}

/// The tests of a module; those behind the name of a kind are of that kind.
macro_rules! trials {
    ($module:ident: $($name:ident),* $(; $kind:ident: $($own:ident),*)*) => {
        [
            $(trial(concat!("check::", stringify!($module), "::", stringify!($name)), $module::$name),)*
            $($(trial(concat!("check::", stringify!($module), "::", stringify!($own)), $module::$own)
                .with_kind(stringify!($kind)),)*)*
        ]
    };
}

fn main() -> ExitCode {
    if let Some(role) = std::env::args()
        .skip(1)
        .find(|arg| arg.starts_with(processes::ROLE))
    {
        processes::play(&role);
        return ExitCode::SUCCESS;
    }
    let mut args = Arguments::from_args();
    // Tests change what belongs to the whole process.
    args.test_threads = Some(1);
    let mut trials = Vec::new();
    trials.extend(trials![grid: same_results]);
    trials.extend(
        trials![wakes: counts, masks, requeued, wake_op_compares, one_of_many, deadlines;
        preload: the_kernel_finds_nobody],
    );
    trials.extend(
        trials![signals: from_a_handler, errno_stays, interrupted, restarted;
        differs: restarted_with_a_limit],
    );
    trials.extend(trials![processes: fork, fork_of_fork, exec]);
    trials.extend(
        trials![device: all_files_closed, closed_while_sleeping, closed_all_the_time;
        preload: another_file_in_its_place, out_of_the_way, falls_through, required,
            no_descriptor_left, lost],
    );
    trials.extend(trials![sandbox: from_the_first_call;
        preload: required_in_a_sandbox, after_the_first_call, some_commands_refused,
            nothing_opens_any_more]);
    trials.extend(
        trials![memory: onto_a_stack_of_its_own, one_answer_for_both;
        preload: vfork_calls_first, child_calls_first, one_number_for_both],
    );
    trials.extend(
        trials![redirected: mutex, condvar, timed, barrier, semaphore, rwlock, join,
        robust, robust_unlock, priority_inheritance, looks_like_a_thread, fork, spawn,
        cancel_condvar, cancel_semaphore, cancel_asynchronously, cancel_anywhere, cancel_pending,
        cancel_disabled, cancel_at_each_instruction, unwound_from_each_instruction,
        signals, dlopen,
        by_number, closed, registers, exceptions, many_threads, privileges, privileged_program,
        sandboxed;
        preload: cost, without_the_device, required_without_the_device, refused,
            sandboxed_from_the_beginning, plans_are_kept;
        counted: starts_soon],
    );
    trials.push(Trial::ignorable_test("redirected::cancel_many", || {
        Ok(redirected::cancel_many())
    }));
    trials.extend(trials![tracer:; preload: theirs_first, ours_first]);
    libtest_mimic::run(&args, trials).exit_code()
}
