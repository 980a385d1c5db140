// SPDX-License-Identifier: MIT OR Apache-2.0
//! One open file for each thread.

use crate::{Error, Resolver, Rfutex};
use thread_local::ThreadLocal;

/// The device, opened once for each thread that uses it.
///
/// While threads share their descriptors, the kernel takes a reference on the
/// open file in each system call, and gives it back at the end. All threads
/// that use one [`Rfutex`] so change the same counter twice in each call, and
/// where they run on several processors, its cache line travels between these.
/// With a file for each thread it stays where it is. (A descriptor that `dup`
/// made is no help: it stands for the same open file.)
///
/// All files meet in one table, so it makes no difference to a program through
/// which of them a thread waits or wakes.
///
/// ```no_run
/// use rfutex::{Error, PerThread, Word};
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// static TURNS: AtomicU32 = AtomicU32::new(0);
///
/// fn main() -> Result<(), Error> {
///     let rfutex = PerThread::open()?;
///     std::thread::scope(|scope| {
///         for _ in 0..8 {
///             scope.spawn(|| {
///                 TURNS.fetch_add(1, Ordering::Release);
///                 // Through a file of this thread's own.
///                 rfutex.get().wake_all(Word::new(&TURNS).private())
///             });
///         }
///     });
///     assert_eq!(TURNS.load(Ordering::Relaxed), 8);
///     Ok(())
/// }
/// ```
///
/// # Descriptors
///
/// There are never more files than threads that used this at one time: when a
/// thread ends, the next new one takes over its file. All are closed when the
/// value is dropped. A thread for which no file can be opened (the limit of
/// descriptors is reached, or the process has given up the right) uses the
/// first one instead, which [`open`](Self::open) opened. So once that has
/// succeeded, [`get`](Self::get) always gives a usable handle, and a wake
/// cannot be lost for want of one.
///
/// A process that must not call open(2) later, since a filter of system calls
/// would kill it, should share one [`Rfutex`].
///
/// # fork(2)
///
/// The child has copies of all the descriptors. Its one thread goes on with the
/// file that it had, which it then shares with the thread of the parent that
/// made it. The other threads' files stay open in the child, unused, until it
/// ends or calls execve(2), which closes them.
#[derive(Debug)]
pub struct PerThread {
    resolver: Option<Resolver>,
    files: Files<Rfutex>,
}

impl PerThread {
    /// Opens the device. The calling thread uses this first file itself.
    ///
    /// # Errors
    ///
    /// Those of [`Rfutex::open`].
    pub fn open() -> Result<Self, Error> {
        Self::open_as(None)
    }

    /// Opens the device, and lets every thread use `resolver`.
    ///
    /// [`Rfutex::set_resolver`] on what [`get`](Self::get) returns would change
    /// it for the calling thread alone.
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

    /// The calling thread's own handle.
    ///
    /// The first call in a thread may open a file and allocate memory; later
    /// ones do neither.
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

/// The first file, and those of threads that have one of their own.
#[derive(Debug)]
struct Files<T: Send> {
    first: T,
    own: ThreadLocal<Option<T>>,
}

impl<T: Send> Files<T> {
    /// The first file is what the calling thread uses.
    fn new(first: T) -> Self {
        let own = ThreadLocal::new();
        own.get_or(|| None);
        Self { first, own }
    }

    /// The calling thread's, which is opened now if this is the first call. A
    /// thread for which that fails does not try again.
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
    fn who_opens_it_uses_the_first_file() {
        let files = Files::new(0);
        assert_eq!(*files.get(|| panic!("there is one")), 0);
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
                assert_eq!(*files.get(open), file, "it keeps the one that it has");
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
        assert_eq!(tries.into_inner(), 1, "it does not try again and again");
    }

    #[test]
    fn it_can_be_shared() {
        fn is_send_and_sync<T: Send + Sync>() {}
        is_send_and_sync::<PerThread>();
    }
}
