// SPDX-License-Identifier: GPL-2.0

//! Process ids: which thread or process a number stands for, and when it ends.
//!
//! C headers: [`include/linux/pid.h`](srctree/include/linux/pid.h),
//! [`include/linux/wait.h`](srctree/include/linux/wait.h). What counts as the end of a process is
//! what `pidfd_poll()` takes for it (`fs/pidfs.c`).

#[cfg(RFUTEX_KUNIT)]
mod tests;

use crate::{
    bindings as helpers,
    lab::{
        self,
        Point, //
    },
    mm::arch, //
};
use core::{
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    container_of,
    pid_namespace::PidNamespace,
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        rcu, //
    },
    task::Task,
    types::Opaque, //
};

/// A process id: what a number of a thread or process stands for. It is never used for another one,
/// even if the number is. If a thread executes a program, it gets the id of its process's main
/// thread, which has ended then.
#[repr(transparent)]
pub(crate) struct Pid(Opaque<bindings::pid>);

// SAFETY: A `struct pid` is made to be used by any task.
unsafe impl Send for Pid {}

// SAFETY: A `struct pid` is made to be used by any task.
unsafe impl Sync for Pid {}

// SAFETY: A `struct pid` is reference-counted, and valid while there is a reference.
unsafe impl AlwaysRefCounted for Pid {
    fn inc_ref(&self) {
        // SAFETY: The reference shows that the count is not zero.
        unsafe { helpers::rfutex_get_pid(self.0.get()) };
    }

    unsafe fn dec_ref(pid: NonNull<Self>) {
        // SAFETY: By the function's requirements, the caller gives up a reference.
        unsafe { bindings::put_pid(pid.as_ptr().cast()) };
    }
}

/// What an id is looked up as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Thread,
    Process,
}

/// A thread that has not ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thread {
    /// How many programs it has executed: a number that another program does not have.
    pub(crate) exec_id: u64,
    /// Whether its id is that of its process too. So it is the main thread, or is about to be: it
    /// executes a program, and the main thread has ended.
    pub(crate) leads: bool,
}

impl Pid {
    /// The thread or process that has this `number` in the caller's pid namespace; `None` if there
    /// is none.
    ///
    /// # Context
    ///
    /// Any context in which RCU can be used. Does not sleep.
    pub(crate) fn find(number: i32) -> Option<ARef<Self>> {
        // SAFETY: The function takes any number. The current task has a pid namespace.
        let pid = unsafe { bindings::find_get_pid(number) };
        // SAFETY: The function returns null, or a pointer with a reference, which is passed on.
        NonNull::new(pid.cast()).map(|pid| unsafe { ARef::from_raw(pid) })
    }

    /// The current thread.
    pub(crate) fn current_thread() -> ARef<Self> {
        Self::of_current(bindings::pid_type_PIDTYPE_PID)
    }

    /// The current process.
    pub(crate) fn current_process() -> ARef<Self> {
        Self::of_current(bindings::pid_type_PIDTYPE_TGID)
    }

    fn of_current(kind: bindings::pid_type) -> ARef<Self> {
        // SAFETY: The current task is valid. It has not ended, so that it has ids of these kinds.
        // The function returns one with a reference, which is passed on.
        unsafe {
            let pid = bindings::get_task_pid(arch::current(), kind);
            ARef::from_raw(NonNull::new_unchecked(pid.cast()))
        }
    }

    /// How many references there are on the id.
    #[cfg(RFUTEX_KUNIT)]
    pub(crate) fn references(&self) -> i32 {
        // SAFETY: The pid is valid while it is borrowed. Others may change the counter at the same
        // time, hence the volatile read.
        unsafe { (&raw const (*self.0.get()).count.refs.counter).read_volatile() }
    }

    /// Whether this is the id of the current thread.
    #[inline]
    pub(crate) fn is_current_thread(&self) -> bool {
        // SAFETY: The function only compares the pointer.
        unsafe { helpers::rfutex_is_current_thread(self.0.get()) }
    }

    /// Whether this is the id of the current process.
    #[inline]
    pub(crate) fn is_current_process(&self) -> bool {
        // SAFETY: The function only compares the pointer.
        unsafe { helpers::rfutex_is_current_process(self.0.get()) }
    }

    /// The thread `task`, which has not ended.
    pub(crate) fn of_thread(task: &Task) -> ARef<Self> {
        // SAFETY: The task is valid. It has not ended, so that it has an id. The function returns it
        // with a reference, which is passed on.
        unsafe {
            let pid = bindings::get_task_pid(task.as_ptr(), bindings::pid_type_PIDTYPE_PID);
            ARef::from_raw(NonNull::new_unchecked(pid.cast()))
        }
    }

    /// The number of the thread or process in the pid namespace `ns`; `None` if it has none there.
    pub(crate) fn number_in(&self, ns: &PidNamespace) -> Option<u32> {
        // SAFETY: The pid is valid while it is borrowed, and the namespace too.
        match unsafe { bindings::pid_nr_ns(self.0.get(), ns.as_ptr()) } {
            0 => None,
            number => Some(number as u32),
        }
    }

    /// The task that has this id as a thread, or that has it as a process, which is the main thread;
    /// `None` if there is none.
    pub(crate) fn find_task(&self, kind: Kind) -> Option<ARef<Task>> {
        let kind = match kind {
            Kind::Thread => bindings::pid_type_PIDTYPE_PID,
            Kind::Process => bindings::pid_type_PIDTYPE_TGID,
        };
        // SAFETY: The pid is valid while it is borrowed.
        let task = unsafe { bindings::get_pid_task(self.0.get(), kind) };
        // SAFETY: The function returns null, or a task with a reference, which is passed on.
        NonNull::new(task.cast()).map(|task| unsafe { ARef::from_raw(task) })
    }

    /// The number of the thread or process in the caller's pid namespace; 0 if it has none there.
    pub(crate) fn number(&self) -> u32 {
        // SAFETY: The pid is valid while it is borrowed.
        unsafe { bindings::pid_vnr(self.0.get()) as u32 }
    }

    /// The number in the initial pid namespace. It keeps it when the thread or process has ended.
    #[cfg(CONFIG_TRACEPOINTS)]
    pub(crate) fn global_number(&self) -> u32 {
        // SAFETY: The pid is valid while it is borrowed, and the namespace always is.
        unsafe { bindings::pid_nr_ns(self.0.get(), &raw mut bindings::init_pid_ns) as u32 }
    }

    /// A number that no other thread or process has had since the machine was started.
    pub(crate) fn unique(&self) -> u64 {
        // SAFETY: The pid is valid while it is borrowed.
        unsafe { helpers::rfutex_pid_ino(self.0.get()) }
    }

    /// The thread that has this id; `None` if it has ended. Then it does not run its program any
    /// more, and cannot write to its memory.
    ///
    /// # Context
    ///
    /// As [`Self::find`].
    pub(crate) fn thread(&self) -> Option<Thread> {
        let rcu = rcu::read_lock();
        let task = NonNull::new(self.task(bindings::pid_type_PIDTYPE_PID, &rcu))?.as_ptr();
        // SAFETY: The task is valid in this read-side critical section. Others may change the
        // fields at the same time, hence the volatile reads.
        let exec_id = unsafe {
            if (&raw const (*task).exit_state).read_volatile() != 0 {
                return None;
            }
            (&raw const (*task).self_exec_id).read_volatile()
        };
        lab::pause(Point::ThreadFound);
        // Whether the task leads its process does not say it: a thread that executes a program gets
        // the id of the main thread before that.
        let leads = !self.task(bindings::pid_type_PIDTYPE_TGID, &rcu).is_null();
        Some(Thread { exec_id, leads })
    }

    /// Whether this is the id of a process, and the process has ended: no thread of it is left.
    /// Executing a program is no end.
    ///
    /// # Context
    ///
    /// As [`Self::find`].
    pub(crate) fn process_has_ended(&self) -> bool {
        let rcu = rcu::read_lock();
        let mut task = self.task(bindings::pid_type_PIDTYPE_TGID, &rcu);
        loop {
            lab::pause(Point::ProcessFound);
            // SAFETY: The task, if there is one, is valid in this read-side critical section.
            if !task.is_null() && !unsafe { helpers::rfutex_is_last_and_ended(task) } {
                return false;
            }
            // If one of the threads has executed a program, it is what the id stands for by now,
            // and the task above says nothing.
            let now = self.task(bindings::pid_type_PIDTYPE_TGID, &rcu);
            if now == task {
                return true;
            }
            task = now;
        }
    }

    /// Whether this is the id of a thread that is not its process's main thread.
    ///
    /// # Context
    ///
    /// Any but in an interrupt. Does not sleep.
    pub(crate) fn is_no_process(&self) -> bool {
        // SAFETY: The pid is valid while it is borrowed.
        unsafe { helpers::rfutex_pid_is_no_process(self.0.get()) }
    }

    /// Where those who wait for the end of the thread or process are.
    fn queue(&self) -> *mut bindings::wait_queue_head {
        // SAFETY: The pid is valid while it is borrowed. This only computes an address.
        unsafe { &raw mut (*self.0.get()).wait_pidfd }
    }

    /// The task with this id; null if there is none.
    fn task(&self, kind: bindings::pid_type, _rcu: &rcu::Guard) -> *mut bindings::task_struct {
        // SAFETY: The pid is valid while it is borrowed, and this is a read-side critical section.
        unsafe { bindings::pid_task(self.0.get(), kind) }
    }
}

/// The current task, which is woken when it is told.
pub(crate) struct Sleeper(NonNull<bindings::task_struct>);

// SAFETY: The pointer is only used to wake the task, which any task may do.
unsafe impl Send for Sleeper {}

// SAFETY: As above.
unsafe impl Sync for Sleeper {}

/// Calls `f`, and wakes the current task whenever the thread or process with the id `pid` may have
/// ended meanwhile. See [`Notice`].
///
/// # Context
///
/// Process context. Does not sleep, unless `f` does.
#[inline]
pub(crate) fn listening<R>(pid: &Pid, f: impl FnOnce() -> R) -> R {
    // SAFETY: The current task is valid, and so its address is not null.
    let sleeper = Sleeper(unsafe { NonNull::new_unchecked(arch::current()) });
    pin_init::stack_pin_init!(let notice = Notice::new(pid, sleeper));
    let result = f();
    // It is dropped here at the earliest.
    let _ = &notice;
    result
}

impl Hears for Sleeper {
    fn hear(&self) {
        // SAFETY: The task does not end before the notice that has this is dropped.
        unsafe { bindings::wake_up_process(self.0.as_ptr()) };
    }
}

/// Something that is told when a thread or a process may have ended.
pub(crate) trait Hears: Send + Sync + 'static {
    /// Is called when the thread or the process may have ended, perhaps more than once, and
    /// perhaps although it has not.
    ///
    /// # Context
    ///
    /// Interrupts are off, and the kernel holds `tasklist_lock` and the lock of the pid's queue.
    fn hear(&self);
}

/// A reference on a pid, which is counted or not.
///
/// # Safety
///
/// The pid must be valid as long as this exists, and be the same each time.
pub(crate) unsafe trait PidRef: Deref<Target = Pid> {}

// SAFETY: The pid is valid while there is a counted reference on it, which this is.
unsafe impl PidRef for ARef<Pid> {}

// SAFETY: What a reference leads to is valid as long as the reference is.
unsafe impl PidRef for &Pid {}

/// Has `hears` told when the thread or the process with an id may have ended, until this is
/// dropped.
///
/// Nobody is told when the main thread of a process ends and other threads go on, nor when a main
/// thread ends because another thread executes a program.
///
/// # Invariants
///
/// `entry` is in the queue of `pid`, and does not move.
#[pin_data(PinnedDrop)]
pub(crate) struct Notice<T: Hears, P: PidRef = ARef<Pid>> {
    #[pin]
    entry: Opaque<bindings::wait_queue_entry>,
    pid: P,
    hears: T,
}

// SAFETY: Any task may take the entry out of the queue. What hears is told by any task, and dropped
// by any, which its trait allows.
unsafe impl<T: Hears, P: PidRef + Send> Send for Notice<T, P> {}

// SAFETY: As above. A shared reference gives access to `hears` and to the pid alone.
unsafe impl<T: Hears, P: PidRef> Sync for Notice<T, P> {}

impl<T: Hears, P: PidRef> Notice<T, P> {
    /// An initialiser for a notice.
    ///
    /// Whoever looks at the thread or the process after this either sees that it has ended, or
    /// `hears` is told.
    ///
    /// # Context
    ///
    /// Any but in an interrupt. Does not sleep.
    #[inline]
    pub(crate) fn new(pid: P, hears: T) -> impl PinInit<Self> {
        let entry = bindings::wait_queue_entry {
            func: Some(hear::<T, P>),
            ..Default::default()
        };
        pin_init!(Self {
            entry: Opaque::new(entry),
            pid,
            hears,
        })
        .pin_chain(|notice| {
            let notice = notice.into_ref();
            // SAFETY: The queue exists as long as the pid, and so as long as `P`. The entry does not
            // move, and is taken out of the queue before its memory is used otherwise.
            unsafe { bindings::add_wait_queue(notice.pid.queue(), notice.entry.get()) };
            Ok(())
        })
    }
}

impl<T: Hears> Notice<T> {
    /// Whose end is told.
    pub(crate) fn pid(&self) -> &Pid {
        &self.pid
    }
}

impl<T: Hears> Deref for Notice<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.hears
    }
}

#[pinned_drop]
impl<T: Hears, P: PidRef> PinnedDrop for Notice<T, P> {
    fn drop(self: Pin<&mut Self>) {
        // After this, the function does not run for this entry, nor will it again: it runs under
        // the lock of the queue, which this takes.
        // SAFETY: By the type invariants, the entry is in the queue.
        unsafe { bindings::remove_wait_queue(self.pid.queue(), self.entry.get()) };
    }
}

/// Tells what a notice has to tell. Returns that nobody was woken who wants to be the only one.
///
/// # Safety
///
/// `entry` must be that of a [`Notice<T, P>`] that is in a queue.
unsafe extern "C" fn hear<T: Hears, P: PidRef>(
    entry: *mut bindings::wait_queue_entry,
    _mode: c_uint,
    _flags: c_int,
    _key: *mut c_void,
) -> c_int {
    let entry = Opaque::cast_from(entry);
    // SAFETY: By the function's requirements, this is the field of a notice. It exists while the
    // entry is in the queue.
    unsafe { (*container_of!(entry, Notice<T, P>, entry)).hears.hear() };
    0
}
