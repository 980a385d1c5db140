// SPDX-License-Identifier: GPL-2.0

//! Slab caches: memory for many values of one type, none of which takes more than its size.
//!
//! [`KBox`] takes its memory from `kmalloc()`, which rounds sizes up.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use crate::bindings as helpers;
use core::{
    alloc::Layout,
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    alloc::{
        AllocError,
        Allocator,
        Flags,
        NumaNode, //
    },
    bindings,
    error::from_err_ptr,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

/// A box whose value lies in the cache of its type.
pub(crate) type SlabBox<T> = Box<T, Slab<T>>;

/// A type whose values have a cache.
///
/// # Safety
///
/// [`Self::cache`] must return the same cache each time, because what was allocated from a cache has
/// to be given back to it.
pub(crate) unsafe trait Cached: Sized + 'static {
    /// The name of the cache, as `/proc/slabinfo` shows it.
    const NAME: &'static CStr;

    /// The cache.
    fn cache() -> &'static Cache<Self>;
}

/// A cache for values of `T`, which has no memory before it was created.
///
/// # Invariants
///
/// `cache` is null, or points to a slab cache whose objects have the size of `T` and are aligned as
/// `T` is. It changes only in [`Created::new`], and when that is dropped.
pub(crate) struct Cache<T> {
    cache: Atomic<*mut bindings::kmem_cache>,
    _values: PhantomData<fn() -> T>,
}

impl<T> Cache<T> {
    /// One that was not created yet.
    pub(crate) const fn new() -> Self {
        // INVARIANT: The pointer is null.
        Self {
            cache: Atomic::new(ptr::null_mut()),
            _values: PhantomData,
        }
    }
}

/// Keeps the cache of `T`, which is destroyed when this is dropped.
///
/// # Invariants
///
/// The cache of `T` was created.
pub(crate) struct Created<T: Cached>(PhantomData<fn() -> T>);

impl<T: Cached> Created<T> {
    /// Creates the cache of `T`. What is allocated from it is charged to the memory cgroup of the
    /// task that allocates.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no memory.
    ///
    /// # Context
    ///
    /// Process context, no locks held. May sleep. Dropping the result may sleep as well.
    ///
    /// # Safety
    ///
    /// There must be no other `Created<T>`, and all boxes of the cache must be dropped before this
    /// is.
    pub(crate) unsafe fn new() -> Result<Self> {
        let mut args = bindings::kmem_cache_args {
            align: align_of::<T>() as u32,
            ..Default::default()
        };
        // SAFETY: The name is valid for as long as the module is loaded, and by the function's
        // requirements, the cache is destroyed before that. `args` is valid during the call.
        let cache = from_err_ptr(unsafe {
            bindings::__kmem_cache_create_args(
                T::NAME.as_char_ptr(),
                size_of::<T>() as u32,
                &raw mut args,
                helpers::RFUTEX_SLAB_FLAGS,
            )
        })?;
        if cache.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: The cache was just created, for this size and alignment.
        T::cache().cache.store(cache, Relaxed);
        Ok(Self(PhantomData))
    }
}

impl<T: Cached> Drop for Created<T> {
    fn drop(&mut self) {
        let cache = &T::cache().cache;
        let created = cache.load(Relaxed);
        // INVARIANT: The pointer is null.
        cache.store(ptr::null_mut(), Relaxed);
        // SAFETY: By the type invariants, the cache was created. Whoever has created it sees to it
        // that all its objects are freed before, and no longer uses it.
        unsafe { bindings::kmem_cache_destroy(created) };
    }
}

/// Allocates from the cache of `T`.
pub(crate) struct Slab<T>(PhantomData<fn() -> T>);

// SAFETY: An object of a slab cache is valid until it is freed, or passed to `realloc` below, and
// every function here takes pointers to such objects. What the functions guarantee is argued for
// below.
unsafe impl<T: Cached> Allocator for Slab<T> {
    const MIN_ALIGN: usize = align_of::<T>();

    /// There are only objects of the size of `T`, so that what is larger cannot be allocated. Nor
    /// can anything with other flags than those below, or on a certain node: the kernel crate does
    /// not tell others what a flag means.
    #[inline]
    unsafe fn realloc(
        ptr: Option<NonNull<u8>>,
        layout: Layout,
        old_layout: Layout,
        flags: Flags,
        nid: NumaNode,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() > size_of::<T>() || layout.align() > align_of::<T>() {
            return Err(AllocError);
        }
        let cache = T::cache().cache.load(Relaxed);
        // With a size of 0, there was no object before.
        let old = ptr.filter(|_| old_layout.size() != 0);
        let object = match old {
            _ if layout.size() == 0 => {
                if let Some(old) = old {
                    // SAFETY: By the function's requirements, `old` was allocated here, so that it
                    // is an object of the cache.
                    unsafe { bindings::kmem_cache_free(cache, old.as_ptr().cast()) };
                }
                NonNull::new(ptr::without_provenance_mut(layout.align())).ok_or(AllocError)?
            }
            // GUARANTEE: The object has room for every layout that comes so far.
            Some(old) => old,
            None if cache.is_null() || flags != GFP_KERNEL_ACCOUNT || nid != NumaNode::NO_NODE => {
                return Err(AllocError);
            }
            // GUARANTEE: The objects of the cache have the size and the alignment of `T`, which is
            // no less than that of `layout`.
            None => {
                // SAFETY: By the type invariants of `Cache`, this is a slab cache. Whoever has
                // created it sees to it that it is not destroyed while it is used.
                let object = unsafe {
                    bindings::kmem_cache_alloc_noprof(cache, bindings::GFP_KERNEL_ACCOUNT)
                };
                NonNull::new(object.cast()).ok_or(AllocError)?
            }
        };
        Ok(NonNull::slice_from_raw_parts(object, layout.size()))
    }
}
