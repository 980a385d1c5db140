// SPDX-License-Identifier: MIT OR Apache-2.0
//! One open file for each thread.

use crate::{Error, Resolver, Rfutex};
use thread_local::ThreadLocal;

/// The device, opened once in each thread that uses it.
///
/// When the threads of a process share their descriptors, the kernel takes a
/// reference on the open file in each system call and gives it back at the end.
/// All threads that use one [`Rfutex`] change the same counter for this, and its
/// cache line moves between their processors with each call. With a file for each
/// thread, the line stays where it is. (It does not help to duplicate a
/// descriptor: the duplicate stands for the same open file.)
///
/// All files share one table of waiters, so a thread that waits through one of
/// them is woken through any other.
///
/// ```no_run
/// use rfutex::{Error, PerThread, Word};
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// /// A lock: 0 is free, 1 is taken, 2 is taken and somebody may be waiting.
/// struct Lock {
///     state: AtomicU32,
///     rfutex: PerThread,
/// }
///
/// impl Lock {
///     fn lock(&self) -> Result<(), Error> {
///         let take = (Ordering::Acquire, Ordering::Relaxed);
///         if self.state.compare_exchange(0, 1, take.0, take.1).is_ok() {
///             return Ok(());
///         }
///         while self.state.swap(2, Ordering::Acquire) != 0 {
///             let word = Word::new(&self.state).private();
///             match self.rfutex.get().wait(word, 2) {
///                 Ok(()) | Err(Error::Again | Error::Interrupted) => {}
///                 Err(error) => return Err(error),
///             }
///         }
///         Ok(())
///     }
///
///     fn unlock(&self) -> Result<(), Error> {
///         if self.state.swap(0, Ordering::Release) == 2 {
///             let word = Word::new(&self.state).private();
///             self.rfutex.get().wake_one(word)?;
///         }
///         Ok(())
///     }
/// }
///
/// fn main() -> Result<(), Error> {
///     let lock = Lock {
///         state: AtomicU32::new(0),
///         rfutex: PerThread::open()?,
///     };
///     lock.lock()?;
///     lock.unlock()
/// }
/// ```
///
/// # Descriptors
///
/// Each file costs a descriptor. When a thread ends, its file is kept for a later
/// thread, so there are never more files than the process had threads at one time.
/// All are closed when the value is dropped.
///
/// A thread for which no file can be opened, because the process has used up its
/// descriptors or has given up the right to open the device, uses the first file,
/// the one that [`open`](Self::open) opened. So once `open` has succeeded,
/// [`get`](Self::get) cannot fail, and no wake is lost for want of a handle.
///
/// If a process will be killed for calling open(2), as by a strict seccomp filter,
/// its threads must share one [`Rfutex`] instead, or call `get` before the filter
/// is set.
///
/// # fork(2)
///
/// The child of a fork has copies of all descriptors. Its only thread goes on with
/// the file of the thread that called fork(2), and shares it with that thread. The
/// files of the other threads stay open in the child, unused, until it ends or
/// calls execve(2), which closes them.
#[derive(Debug)]
pub struct PerThread {
    resolver: Option<Resolver>,
    files: Files<Rfutex>,
}

impl PerThread {
    /// Opens the device. The calling thread will use this first file.
    ///
    /// # Errors
    ///
    /// Those of [`Rfutex::open`].
    pub fn open() -> Result<Self, Error> {
        Self::open_as(None)
    }

    /// Opens the device, with `resolver` for all threads.
    ///
    /// (Calling [`Rfutex::set_resolver`] on the result of [`get`](Self::get) would
    /// change the resolver of the calling thread only.)
    ///
    /// # Errors
    ///
    /// Those of [`Rfutex::open`] and [`Rfutex::set_resolver`].
    pub fn open_with(resolver: Resolver) -> Result<Self, Error> {
        Self::open_as(Some(resolver))
    }

    fn open_as(resolver: Option<Resolver>) -> Result<Self, Error> {
        Ok(Self {
            resolver,
            files: Files::new(open(resolver)?),
        })
    }

    /// The handle of the calling thread.
    ///
    /// The first call in a thread may open a file and allocate memory; later calls
    /// do neither.
    pub fn get(&self) -> &Rfutex {
        self.files.get(|| open(self.resolver).ok())
    }
}

fn open(resolver: Option<Resolver>) -> Result<Rfutex, Error> {
    let rfutex = Rfutex::open()?;
    if let Some(resolver) = resolver {
        rfutex.set_resolver(resolver)?;
    }
    Ok(rfutex)
}

/// The first file, and the files of threads that have their own.
#[derive(Debug)]
struct Files<T: Send> {
    first: T,
    own: ThreadLocal<Option<T>>,
}

impl<T: Send> Files<T> {
    /// The calling thread will use the first file.
    fn new(first: T) -> Self {
        let own = ThreadLocal::new();
        own.get_or(|| None);
        Self { first, own }
    }

    /// The file of the calling thread, which is opened if this is its first call.
    /// If that fails, the thread does not try again.
    fn get(&self, open: impl FnOnce() -> Option<T>) -> &T {
        self.own.get_or(open).as_ref().unwrap_or(&self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    #[test]
    fn opener_uses_the_first_file() {
        let files = Files::new(0);
        assert_eq!(*files.get(|| panic!("it has one")), 0);
    }

    #[test]
    fn threads_have_files_of_their_own() {
        const THREADS: u32 = 4;
        let (files, opened) = (Files::new(0), AtomicU32::new(0));
        let open = || Some(opened.fetch_add(1, Ordering::Relaxed) + 1);
        // No thread ends before all have a file: none inherits another's.
        let all_have_one = Barrier::new(THREADS as usize);
        let mut used: Vec<u32> = thread::scope(|scope| {
            let work = || {
                let file = *files.get(open);
                all_have_one.wait();
                assert_eq!(*files.get(open), file, "a thread keeps its file");
                file
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, u32>| thread.join().unwrap();
            threads.into_iter().map(join).collect()
        });
        used.sort_unstable();
        assert!(used.into_iter().eq(1..=THREADS));
    }

    #[test]
    fn without_a_file_of_its_own_a_thread_uses_the_first() {
        let (files, tries) = (Files::new(7), AtomicU32::new(0));
        let fail = || {
            tries.fetch_add(1, Ordering::Relaxed);
            None
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(*files.get(fail), 7);
                assert_eq!(*files.get(fail), 7);
            });
        });
        assert_eq!(tries.into_inner(), 1, "it is not tried again");
    }

    #[test]
    fn it_can_be_shared() {
        fn is_send_and_sync<T: Send + Sync>() {}
        is_send_and_sync::<PerThread>();
    }
}
