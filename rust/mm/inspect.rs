// SPDX-License-Identifier: GPL-2.0

//! Looking at other tasks on behalf of somebody whose credentials were kept.
//!
//! C headers: [`include/linux/ptrace.h`](srctree/include/linux/ptrace.h),
//! [`include/linux/sched/mm.h`](srctree/include/linux/sched/mm.h)

use crate::{
    bindings as helpers,
    mm::{
        number::Number,
        version,
        vma::{
            self,
            UserFile, //
        }, //
    },
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    cred::Credential,
    mm::MmWithUser,
    pid_namespace::PidNamespace,
    prelude::*,
    sync::aref::ARef,
    task::Task, //
};

/// The number of bytes that the name of a task has at most, with a 0 at its end.
pub(crate) const NAME_LEN: usize = bindings::TASK_COMM_LEN as usize;

/// The credentials of the current task.
pub(crate) fn current_credentials() -> ARef<Credential> {
    // SAFETY: The function returns the credentials, which are never null, with a reference, which is
    // passed on.
    unsafe {
        let credentials = helpers::rfutex_get_current_cred();
        ARef::from_raw(NonNull::new_unchecked(credentials.cast_mut().cast()))
    }
}

/// Whether somebody with these `credentials` may see what reveals something about the memory of
/// `task`.
///
/// This is what the kernel decides with `PTRACE_MODE_READ_FSCREDS`. But security modules are not
/// asked, because modules cannot ask them, and a denial is not recorded.
///
/// # Context
///
/// Process context. Does not sleep.
pub(crate) fn may_inspect(credentials: &Credential, task: &Task) -> bool {
    // SAFETY: Both are valid while they are borrowed.
    unsafe { helpers::rfutex_may_inspect(credentials.as_ptr(), task.as_ptr()) }
}

/// Whether somebody with these `credentials` may see what reveals something about the memory of any
/// task, also of those that have ended.
///
/// # Context
///
/// As [`may_inspect`].
pub(crate) fn may_inspect_all(credentials: &Credential) -> bool {
    // SAFETY: The credentials are valid while they are borrowed.
    unsafe { helpers::rfutex_may_inspect_all(credentials.as_ptr()) }
}

/// The number of the mm of the task; `None` if there is no mm any more, or if it has none yet.
///
/// Whoever has found before that he may inspect the task, has found that of the mm that this
/// returns, or of an earlier one.
///
/// # Context
///
/// Process context. Does not sleep.
pub(crate) fn mm_number(task: &Task) -> Option<Number> {
    // SAFETY: The task is valid while it is borrowed.
    Number::of_field(unsafe { helpers::rfutex_task_mm_id(task.as_ptr()) })
}

/// The name of the task, filled up with zeros.
pub(crate) fn name(task: &Task) -> [u8; NAME_LEN] {
    let mut name = [0; NAME_LEN];
    // SAFETY: The task is valid while it is borrowed. The function writes as many bytes as the array
    // has.
    unsafe { helpers::rfutex_get_task_comm(name.as_mut_ptr(), task.as_ptr()) };
    name
}

/// The numbers of the thread and of its process in the pid namespace `ns`; `None` if they have none
/// there, or no longer, because the thread has ended.
pub(crate) fn numbers(task: &Task, ns: &PidNamespace) -> Option<(u32, u32)> {
    let number = |kind| {
        // SAFETY: The task is valid while it is borrowed, and the namespace too.
        match unsafe { bindings::__task_pid_nr_ns(task.as_ptr(), kind, ns.as_ptr()) } {
            0 => None,
            number => Some(number as u32),
        }
    };
    Some((
        number(bindings::pid_type_PIDTYPE_PID)?,
        number(bindings::pid_type_PIDTYPE_TGID)?,
    ))
}

/// The file that is mapped at the address `addr` of the process of `task`. `None` if no file is, or
/// if the mm of the process is not the one with the number `mm`.
///
/// # Errors
///
/// `EINTR`: the current task was killed while it waited.
///
/// # Context
///
/// Process context, no locks held. May sleep, and takes the mmap_lock of the process.
pub(crate) fn file_at(task: &Task, mm: Option<Number>, addr: usize) -> Result<Option<UserFile>> {
    // SAFETY: The task is valid while it is borrowed.
    let Some(raw) = NonNull::new(unsafe { bindings::get_task_mm(task.as_ptr()) }) else {
        return Ok(None);
    };
    // SAFETY: The function has returned an mm with a reference.
    let number = unsafe { version::mm_number(raw) };
    // SAFETY: The function has returned an mm with a reference on its users, which is passed on.
    let theirs: ARef<MmWithUser> = unsafe { ARef::from_raw(raw.cast()) };
    if number.is_none() || number != mm {
        return Ok(None);
    }
    vma::file_of(&theirs, addr)
}
