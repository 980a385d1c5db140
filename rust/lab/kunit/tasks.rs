// SPDX-License-Identifier: GPL-2.0

//! Tasks that run beside that of a test case, and what can happen to tasks.

use super::read;
use crate::bindings as helpers;
use core::pin::Pin;
use kernel::{
    bindings,
    current,
    error::{
        from_err_ptr,
        to_result, //
    },
    mm::MmWithUser,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
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

/// How long to wait for something that has to happen, before the test fails.
const PATIENCE: Delta = Delta::from_secs(20);

/// Waits until `condition` returns true.
///
/// # Errors
///
/// `ETIMEDOUT`: it has not returned true for a long time.
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

/// Runs `what`, during which the current task can be sent a fatal signal.
pub(crate) fn mortal<T>(what: impl FnOnce() -> T) -> T {
    // SAFETY: The threads of test cases are kernel threads, which may allow signals for themselves.
    // Nothing else uses their signals.
    unsafe { helpers::rfutex_allow_kill() };
    let result = what();
    // SAFETY: This kernel thread has allowed the signal above. So nobody but a test case can have
    // sent it, and the thread may remove it.
    unsafe { helpers::rfutex_disallow_kill() };
    result
}

/// Sends a fatal signal to the task.
///
/// The task must be in [`mortal`], else it ignores the signal.
pub(crate) fn kill(task: &Task) -> Result {
    // SAFETY: The task is valid for as long as it is borrowed.
    to_result(unsafe { helpers::rfutex_kill(task.as_ptr()) })
}

/// Runs `what` while a fatal signal is pending for the current task.
pub(crate) fn killed<T>(what: impl FnOnce() -> T) -> T {
    mortal(|| {
        let sent = kill(current!());
        debug_assert!(sent.is_ok());
        what()
    })
}

/// How urgent a task is.
#[derive(Clone, Copy)]
pub(crate) enum Urgency {
    /// A real-time task, with a priority in the middle of the range.
    Fifo,
    /// A real-time task, with the lowest priority.
    FifoLow,
    /// Not a real-time task. It has this nice value.
    Nice(i32),
}

impl Urgency {
    /// Makes the current task that urgent.
    fn apply(self) {
        let current = Task::current_raw();
        // SAFETY: The current task is valid, and a task may change its own scheduling policy.
        unsafe {
            match self {
                Urgency::Fifo => bindings::sched_set_fifo(current),
                Urgency::FifoLow => bindings::sched_set_fifo_low(current),
                Urgency::Nice(nice) => bindings::sched_set_normal(current, nice),
            }
        }
    }

    /// Runs `what` while the current task is that urgent.
    pub(crate) fn run<T>(self, what: impl FnOnce() -> T) -> T {
        self.apply();
        let result = what();
        Urgency::Nice(0).apply();
        result
    }
}

/// The number of references on the task.
pub(crate) fn usage(task: &Task) -> i32 {
    // SAFETY: The task is valid for as long as it is borrowed.
    unsafe { read(&raw const (*task.as_ptr()).usage.refs) }
}

/// The state of the task (`TASK_*`).
pub(crate) fn state(task: &Task) -> u32 {
    // SAFETY: The task is valid for as long as it is borrowed. Other tasks may change the field at
    // the same time, hence the volatile read.
    unsafe { (&raw const (*task.as_ptr()).__state).read_volatile() }
}

/// Whether the task sleeps, or is about to. This is false of a task that was woken, even if it does
/// not run yet.
pub(crate) fn is_asleep(task: &Task) -> bool {
    state(task) & bindings::TASK_NORMAL != 0
}

/// The work of a task that runs beside the test case, and its result.
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
    /// Does the work of `job`. This is the function of the thread.
    ///
    /// # Safety
    ///
    /// `job` must point to a `Job<F, T>` that exists until the thread that runs this has ended.
    unsafe extern "C" fn run(job: *mut c_void) -> c_int {
        // SAFETY: By the function's requirements, the pointer is to a `Job<F, T>`, which exists for
        // as long as this function runs. Its fields are protected by locks, or do not change.
        let job = unsafe { &*job.cast::<Self>() };
        // SAFETY: This is a kernel thread, which has no mm yet. The job has a reference on this
        // one, so that it has users for as long as the job exists.
        unsafe { bindings::kthread_use_mm(job.mm.as_raw()) };
        let work = job.work.lock().take();
        let result = work.map(|work| work());
        *job.result.lock() = result;
        // SAFETY: This thread has taken the mm with `kthread_use_mm()` above.
        unsafe { bindings::kthread_unuse_mm(job.mm.as_raw()) };
        job.done.complete_all();
        0
    }
}

/// A task that runs beside the test case, with the same mm. It has to be joined.
#[must_use = "has to be joined"]
pub(crate) struct Beside<F, T> {
    job: Pin<KBox<Job<F, T>>>,
    task: ARef<Task>,
}

/// Starts a task that does `work` with the mm of the current task.
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
    // SAFETY: `data` points to a `Job<F, T>`, as `run` requires. The job is freed only when
    // `Beside` is dropped, which waits for the end of the thread first.
    let raw = from_err_ptr(unsafe {
        bindings::kthread_create_on_node(
            Some(Job::<F, T>::run),
            data,
            bindings::NUMA_NO_NODE,
            c"rfutex_kunit".as_char_ptr(),
        )
    })?;
    // SAFETY: The thread does not run, and so does not end, before it is woken below, so the task
    // is valid. `Task` is a transparent wrapper of `task_struct`.
    let task = ARef::from(unsafe { &*raw.cast::<Task>() });
    task.wake_up();
    Ok(Beside { job, task })
}

impl<F, T: Unpin> Beside<F, T> {
    /// The task.
    pub(crate) fn task(&self) -> &ARef<Task> {
        &self.task
    }

    /// Waits until the work is done and the thread has ended. Returns the result of the work.
    ///
    /// # Errors
    ///
    /// `ECHILD`: there is no result, because the work was not completed.
    pub(crate) fn join(self) -> Result<T> {
        self.job.done.wait_for_completion();
        self.job.result.lock().take().ok_or(ECHILD)
    }
}

/// A task that does nothing and lives until this is dropped, or it is told to end.
pub(crate) struct Living<F> {
    // This is dropped after the task was told to end, and waits for that.
    task: Beside<F, ()>,
    end: Arc<Completion>,
}

/// Starts a task that lives until it is told to end.
pub(crate) fn living() -> Result<Living<impl FnOnce()>> {
    let end = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
    let told = end.clone();
    let task = beside(move || told.wait_for_completion())?;
    Ok(Living { task, end })
}

impl<F> Living<F> {
    /// The number of the thread, and of its process.
    pub(crate) fn number(&self) -> i32 {
        self.task.task.pid()
    }

    /// Tells the task to end. It may not have ended yet when this returns.
    pub(crate) fn end(&self) {
        self.end.complete_all();
    }
}

impl<F> Drop for Living<F> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<F, T> Drop for Beside<F, T> {
    fn drop(&mut self) {
        // A thread that is stopped before it has started would never run its function. So this
        // waits for the end of the work first.
        self.job.done.wait_for_completion();
        // SAFETY: `self` has a reference on the task, which is a kernel thread. The function
        // returns when the thread has ended.
        unsafe { bindings::kthread_stop(self.task.as_ptr()) };
    }
}
