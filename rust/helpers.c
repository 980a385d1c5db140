// SPDX-License-Identifier: GPL-2.0
/*
 * What Rust cannot call: static inlines and macros. No logic here.
 */

#include <linux/fault-inject-usercopy.h>
#include <linux/fs.h>
#include <linux/instrumented.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/nsproxy.h>
#include <linux/pagemap.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/time_namespace.h>
#include <linux/uaccess.h>
#include <asm/futex.h>

#include "bindings_helper.h"

unsigned long rfutex_totalram_pages(void)
{
	return totalram_pages();
}

struct folio *rfutex_page_folio(struct page *page)
{
	return page_folio(page);
}

void rfutex_folio_put(struct folio *folio)
{
	folio_put(folio);
}

unsigned long rfutex_page_pgoff(struct folio *folio, struct page *page)
{
	return page_pgoff(folio, page);
}

unsigned long rfutex_folio_page_idx(struct folio *folio, struct page *page)
{
	return folio_page_idx(folio, page);
}

unsigned int rfutex_folio_order(struct folio *folio)
{
	return folio_order(folio);
}

int rfutex_folio_lock_killable(struct folio *folio)
{
	return folio_lock_killable(folio);
}

bool rfutex_folio_test_swapcache(struct folio *folio)
{
	return folio_test_swapcache(folio);
}

bool rfutex_access_ok(unsigned long addr, unsigned long size)
{
	return access_ok((void __user *)addr, size);
}

/* Each also as it can be called under a lock: without faulting the word in. */
#define DEFINE_GET_USER(bits)						\
int rfutex_get_user_u##bits(u##bits val[], unsigned long addr)		\
{									\
	return get_user(*val, (u##bits __user *)addr);			\
}									\
									\
int rfutex_get_user_inatomic_u##bits(u##bits val[], unsigned long addr)	\
{									\
	int ret;							\
									\
	pagefault_disable();						\
	ret = get_user(*val, (u##bits __user *)addr);			\
	pagefault_enable();						\
	return ret;							\
}

DEFINE_GET_USER(8)
DEFINE_GET_USER(16)
DEFINE_GET_USER(32)
DEFINE_GET_USER(64)

/*
 * copy_from_user() for the sizes that the interface's structs have: a loop that
 * the compiler unrolls, where copy_from_user() is for any size.
 */
#define DEFINE_COPY_IN(size)						\
int rfutex_copy_in_##size(void *to, unsigned long addr)		\
{									\
	const u64 __user *from = (const u64 __user *)addr;		\
	u64 *words = to;						\
									\
	might_fault();							\
	if (should_fail_usercopy())					\
		return -EFAULT;						\
	instrument_copy_from_user_before(to, from, size);		\
	if (!user_read_access_begin(from, size))			\
		return -EFAULT;						\
	for (int i = 0; i < size / 8; i++)				\
		unsafe_get_user(words[i], from + i, efault);		\
	user_read_access_end();						\
	instrument_copy_from_user_after(to, from, size, 0);		\
	return 0;							\
efault:									\
	user_read_access_end();						\
	return -EFAULT;							\
}

DEFINE_COPY_IN(32)
DEFINE_COPY_IN(48)
DEFINE_COPY_IN(56)
DEFINE_COPY_IN(64)

/* 0: done. 1: the word was not *old, which now has its value. */
#ifdef unsafe_try_cmpxchg_user
int rfutex_cmpxchg_user_u8(u8 *old, u8 new, unsigned long addr)
{
	return __try_cmpxchg_user((u8 __user *)addr, old, new, efault);
}

int rfutex_cmpxchg_user_u16(u16 *old, u16 new, unsigned long addr)
{
	return __try_cmpxchg_user((u16 __user *)addr, old, new, efault);
}

int rfutex_cmpxchg_user_u32(u32 *old, u32 new, unsigned long addr)
{
	return __try_cmpxchg_user((u32 __user *)addr, old, new, efault);
}

int rfutex_cmpxchg_user_u64(u64 *old, u64 new, unsigned long addr)
{
	return __try_cmpxchg_user((u64 __user *)addr, old, new, efault);
}
#else
/* This architecture can only do what futex(2) needs. */
int rfutex_cmpxchg_user_u8(u8 *old, u8 new, unsigned long addr)
{
	return -EINVAL;
}

int rfutex_cmpxchg_user_u16(u16 *old, u16 new, unsigned long addr)
{
	return -EINVAL;
}

int rfutex_cmpxchg_user_u32(u32 *old, u32 new, unsigned long addr)
{
	u32 want = *old;

	return futex_atomic_cmpxchg_inatomic(old, (u32 __user *)addr, want, new) ?: *old != want;
}

int rfutex_cmpxchg_user_u64(u64 *old, u64 new, unsigned long addr)
{
	return -EINVAL;
}
#endif

void rfutex_pagefault_disable(void)
{
	pagefault_disable();
}

void rfutex_pagefault_enable(void)
{
	pagefault_enable();
}

struct inode *rfutex_file_user_inode(struct file *file)
{
	return (struct inode *)file_user_inode(file);
}

void rfutex_set_current_state(unsigned int state)
{
	set_current_state(state);
}

void rfutex_set_current_running(void)
{
	__set_current_state(TASK_RUNNING);
}

void rfutex_cond_resched(void)
{
	cond_resched();
}

bool rfutex_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

/* Not timens_ktime_to_host(): init_time_ns need not be exported. */
ktime_t rfutex_timens_to_host(int clock, ktime_t time)
{
	return do_timens_ktime_to_host(clock, time,
				       &current->nsproxy->time_ns->offsets);
}

void rfutex_assert_rcu(void)
{
	RCU_LOCKDEP_WARN(!rcu_read_lock_held(), "a mapping's host is read");
}

bool rfutex_holds_a_lock(void)
{
	return debug_locks && lockdep_depth(current);
}

int rfutex_mmap_read_lock_killable(struct mm_struct *mm)
{
	return mmap_read_lock_killable(mm);
}

bool rfutex_mmap_lock_speculate_try_begin(struct mm_struct *mm, unsigned int *seq)
{
	return mmap_lock_speculate_try_begin(mm, seq);
}

bool rfutex_mmap_lock_speculate_retry(struct mm_struct *mm, unsigned int seq)
{
	return mmap_lock_speculate_retry(mm, seq);
}

void rfutex_spin_lock_nested(spinlock_t *lock)
{
	spin_lock_nested(lock, SINGLE_DEPTH_NESTING);
}
