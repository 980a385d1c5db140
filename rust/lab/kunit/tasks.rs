// SPDX-License-Identifier: GPL-2.0

//! Tasks beside a case's own, and what happens to tasks.

use super::read;
use crate::bindings as helpers;
use core::pin::Pin;
use kernel::{
    bindings,
    current,
    error::from_err_ptr,
    mm::MmWithUser,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Completion,
        Mutex, //
    },
    task::Task,
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    }, //
};

/// How long anything that has to happen may take.
const PATIENCE: Delta = Delta::from_secs(20);

/// Waits until `condition` holds.
///
/// # Errors
///
/// `ETIMEDOUT`: it does not come to hold.
pub(crate) fn until(mut condition: impl FnMut() -> bool) -> Result {
    let began = Instant::<Monotonic>::now();
    while !condition() {
        if began.elapsed() > PATIENCE {
            return Err(ETIMEDOUT);
        }
        fsleep(Delta::from_micros(200));
    }
    Ok(())
}

/// Runs `what` with a fatal signal pending.
pub(crate) fn killed<T>(what: impl FnOnce() -> T) -> T {
    // SAFETY: We are a kernel thread, whose signals are nobody else's business.
    unsafe { helpers::rfutex_kill_current() };
    let result = what();
    // SAFETY: As above.
    unsafe { helpers::rfutex_revive_current() };
    result
}

/// How urgent a task is.
#[derive(Clone, Copy)]
pub(crate) enum Urgency {
    /// Real-time, in the middle of the range.
    Fifo,
    /// Real-time, the lowest.
    FifoLow,
    /// Not real-time, with that nice value.
    Nice(i32),
}

impl Urgency {
    fn apply(self) {
        let current = Task::current_raw();
        // SAFETY: `current` is valid.
        unsafe {
            match self {
                Urgency::Fifo => bindings::sched_set_fifo(current),
                Urgency::FifoLow => bindings::sched_set_fifo_low(current),
                Urgency::Nice(nice) => bindings::sched_set_normal(current, nice),
            }
        }
    }

    /// Runs `what` as a task that is that urgent.
    pub(crate) fn run<T>(self, what: impl FnOnce() -> T) -> T {
        self.apply();
        let result = what();
        Urgency::Nice(0).apply();
        result
    }
}

/// How many references there are on the task.
pub(crate) fn usage(task: &Task) -> i32 {
    // SAFETY: The task is alive for as long as the borrow.
    unsafe { read(&raw const (*task.as_ptr()).usage.refs) }
}

/// Whether the task is about to sleep, or sleeps. Not so who has been woken, and does not run yet.
pub(crate) fn is_asleep(task: &Task) -> bool {
    // SAFETY: The task is alive for as long as the borrow. Others change the field.
    let state = unsafe { (&raw const (*task.as_ptr()).__state).read_volatile() };
    state & bindings::TASK_NORMAL != 0
}

/// What a task beside ours does, and what came of it.
#[pin_data]
struct Job<F, T> {
    mm: ARef<MmWithUser>,
    #[pin]
    work: Mutex<Option<F>>,
    #[pin]
    result: Mutex<Option<T>>,
    #[pin]
    done: Completion,
}

impl<F: FnOnce() -> T + Unpin, T: Unpin> Job<F, T> {
    /// # Safety
    ///
    /// `job` must be a `Job<F, T>` that outlives the thread that runs this.
    unsafe extern "C" fn run(job: *mut c_void) -> c_int {
        // SAFETY: By the function's requirements.
        let job = unsafe { &*job.cast::<Self>() };
        // SAFETY: The mm has users for as long as the job lives. We are a kernel thread without one.
        unsafe { bindings::kthread_use_mm(job.mm.as_raw()) };
        let work = job.work.lock().take();
        let result = work.map(|work| work());
        *job.result.lock() = result;
        // SAFETY: Pairs with the one above.
        unsafe { bindings::kthread_unuse_mm(job.mm.as_raw()) };
        job.done.complete_all();
        0
    }
}

/// A task that runs beside ours, on the same mm. It has to be joined.
#[must_use = "has to be joined"]
pub(crate) struct Beside<F, T> {
    job: Pin<KBox<Job<F, T>>>,
    task: ARef<Task>,
}

/// Starts a task that does `work`.
pub(crate) fn beside<F, T>(work: F) -> Result<Beside<F, T>>
where
    F: FnOnce() -> T + Send + Unpin + 'static,
    T: Send + Unpin + 'static,
{
    let task = current!();
    let mm = task.mm().ok_or(EINVAL)?.into();
    let job = KBox::pin_init(
        pin_init!(Job {
            mm,
            work <- new_mutex!(Some(work)),
            result <- new_mutex!(None),
            done <- Completion::new(),
        }),
        GFP_KERNEL,
    )?;
    let data = core::ptr::from_ref(&*job).cast_mut().cast();
    // SAFETY: The job outlives the thread: dropping `Beside` waits for its end.
    let raw = from_err_ptr(unsafe {
        bindings::kthread_create_on_node(
            Some(Job::<F, T>::run),
            data,
            bindings::NUMA_NO_NODE,
            c"rfutex_kunit".as_char_ptr(),
        )
    })?;
    // SAFETY: The thread does not end before somebody wakes it. `Task` is a transparent wrapper of
    // `task_struct`.
    let task = ARef::from(unsafe { &*raw.cast::<Task>() });
    task.wake_up();
    Ok(Beside { job, task })
}

impl<F, T: Unpin> Beside<F, T> {
    /// The task.
    pub(crate) fn task(&self) -> &ARef<Task> {
        &self.task
    }

    /// Waits until the work is done, and the task is gone.
    ///
    /// # Errors
    ///
    /// `ECHILD`: the work did not come to an end.
    pub(crate) fn join(self) -> Result<T> {
        self.job.done.wait_for_completion();
        self.job.result.lock().take().ok_or(ECHILD)
    }
}

impl<F, T> Drop for Beside<F, T> {
    fn drop(&mut self) {
        // Not before: a thread that is stopped before it started does not start.
        self.job.done.wait_for_completion();
        // SAFETY: We have a reference on the thread. This returns when it has ended.
        unsafe { bindings::kthread_stop(self.task.as_ptr()) };
    }
}
