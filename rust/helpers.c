// SPDX-License-Identifier: GPL-2.0
/*
 * Wrappers of inline functions and macros, which Rust cannot call. There is no
 * other logic here, but for what has to be next to such a macro.
 */

#include <linux/anon_inodes.h>
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/nospec.h>
#include <linux/pagemap.h>
#include <linux/pid.h>
#include <linux/rcupdate.h>
#include <linux/sched/exec_state.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/siphash.h>
#include <linux/time_namespace.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>
#include <asm/futex.h>

#include "bindings_helper.h"

/*
 * If the kernel inlines its own helpers into Rust, those of the module are
 * inlined as well. See Kbuild.
 */
#ifdef CONFIG_RUST_INLINE_HELPERS
#define __rfutex_helper __always_inline
#else
#define __rfutex_helper
#endif

__rfutex_helper unsigned long rfutex_totalram_pages(void)
{
	return totalram_pages();
}

__rfutex_helper struct file *rfutex_watches_getfile(const struct file_operations *fops,
						    void *priv, int flags)
{
	/* Reads never sleep with IOCB_NOWAIT, and there are no positions. */
	return anon_inode_getfile_fmode("[rfutex-watches]", fops, priv, flags,
					FMODE_NOWAIT | FMODE_STREAM);
}

__rfutex_helper struct file *rfutex_table_getfile(const struct file_operations *fops,
						  void *priv, int flags)
{
	return anon_inode_getfile("[rfutex]", fops, priv, flags);
}

__rfutex_helper struct file *rfutex_list_getfile(const struct file_operations *fops,
						 void *priv, int flags)
{
	return anon_inode_getfile("[rfutex-list]", fops, priv, flags);
}

__rfutex_helper const struct cred *rfutex_get_current_cred(void)
{
	return get_current_cred();
}

/*
 * Whether CAP_SYS_PTRACE is in effect for these credentials. file_ns_capable()
 * would have each waiter that is left out recorded as a denied access.
 */
static bool rfutex_has_ptrace_cap(const struct cred *cred, struct user_namespace *ns)
{
	bool capable = false;

	scoped_with_creds(cred)
		capable = ns_capable_noaudit(ns, CAP_SYS_PTRACE);
	return capable;
}

__rfutex_helper bool rfutex_may_inspect_all(const struct cred *cred)
{
	return rfutex_has_ptrace_cap(cred, &init_user_ns);
}

/*
 * What ptrace_may_access() with PTRACE_MODE_READ_FSCREDS and PTRACE_MODE_NOAUDIT
 * tells a task with these credentials, but for security modules: neither that
 * function nor theirs is exported.
 */
__rfutex_helper bool rfutex_may_inspect(const struct cred *cred, struct task_struct *task)
{
	struct task_exec_state *exec_state;
	const struct cred *other;

	guard(rcu)();
	other = __task_cred(task);
	if (!(uid_eq(cred->fsuid, other->euid) &&
	      uid_eq(cred->fsuid, other->suid) &&
	      uid_eq(cred->fsuid, other->uid) &&
	      gid_eq(cred->fsgid, other->egid) &&
	      gid_eq(cred->fsgid, other->sgid) &&
	      gid_eq(cred->fsgid, other->gid)) &&
	    !rfutex_has_ptrace_cap(cred, other->user_ns))
		return false;
	/* As in __ptrace_may_access(): pairs with a barrier in commit_creds(). */
	smp_rmb();
	exec_state = rcu_dereference(task->exec_state);
	return exec_state && (READ_ONCE(exec_state->dumpable) == TASK_DUMPABLE_OWNER ||
			      rfutex_has_ptrace_cap(cred, exec_state->user_ns));
}

/*
 * The number of an mm, or 0 if it has none yet. Linux 7.2 has no field for one:
 * see mm/version.rs. Numbers have 62 bits. In the address of an object of the
 * kernel the others are all set.
 */
__rfutex_helper s64 rfutex_mm_id(struct mm_struct *mm)
{
#ifdef RFUTEX_LINUX_7_2
	return (unsigned long)mm & (BIT(62) - 1);
#else
	return atomic64_read(&mm->futex.unique_id);
#endif
}

__rfutex_helper s64 rfutex_task_mm_id(struct task_struct *task)
{
	guard(task_lock)(task);
	return task->mm ? rfutex_mm_id(task->mm) : 0;
}

__rfutex_helper void rfutex_get_task_comm(u8 *comm, struct task_struct *task)
{
	char name[TASK_COMM_LEN];

	memcpy(comm, get_task_comm(name, task), TASK_COMM_LEN);
}

__rfutex_helper void rfutex_get_pid(struct pid *pid)
{
	get_pid(pid);
}

__rfutex_helper bool rfutex_is_current_thread(struct pid *pid)
{
	return pid == task_pid(current);
}

__rfutex_helper bool rfutex_is_current_process(struct pid *pid)
{
	return pid == task_tgid(current);
}

__rfutex_helper u64 rfutex_pid_ino(struct pid *pid)
{
	return pid->ino;
}

__rfutex_helper bool rfutex_pid_is_no_process(struct pid *pid)
{
	if (likely(pid_has_task(pid, PIDTYPE_TGID)))
		return false;
	/* As in pidfd_prepare(): nobody stops being a process under this lock. */
	guard(spinlock_irq)(&pid->wait_pidfd.lock);
	return pid_has_task(pid, PIDTYPE_PID) && !pid_has_task(pid, PIDTYPE_TGID);
}

__rfutex_helper bool rfutex_is_last_and_ended(struct task_struct *task)
{
	struct signal_struct *signal = READ_ONCE(task->signal);
	/* A thread that the task has begun was counted before the task ended. */
	bool ended = smp_load_acquire(&task->exit_state) &&
		     (!signal || READ_ONCE(signal->nr_threads) <= 1);

	/* What the caller looks up next is no older. */
	smp_rmb();
	return ended;
}

__rfutex_helper size_t rfutex_array_index_nospec(size_t index, size_t size)
{
	return array_index_nospec(index, size);
}

__rfutex_helper struct folio *rfutex_page_folio(struct page *page)
{
	return page_folio(page);
}

__rfutex_helper void rfutex_folio_put(struct folio *folio)
{
	folio_put(folio);
}

__rfutex_helper unsigned long rfutex_page_pgoff(struct folio *folio, struct page *page)
{
	return page_pgoff(folio, page);
}

__rfutex_helper unsigned long rfutex_folio_page_idx(struct folio *folio, struct page *page)
{
	return folio_page_idx(folio, page);
}

__rfutex_helper struct address_space *rfutex_folio_mapping(struct folio *folio)
{
	return READ_ONCE(folio->mapping);
}

__rfutex_helper unsigned int rfutex_folio_order(struct folio *folio)
{
	return folio_order(folio);
}

__rfutex_helper int rfutex_folio_lock_killable(struct folio *folio)
{
	return folio_lock_killable(folio);
}

__rfutex_helper bool rfutex_folio_test_swapcache(struct folio *folio)
{
	return folio_test_swapcache(folio);
}

__rfutex_helper bool rfutex_access_ok(unsigned long addr, unsigned long size)
{
	return access_ok((void __user *)addr, size);
}

/*
 * For each size, there is also a function that does not fault the word in, so
 * that it can be called under a lock.
 */
#define DEFINE_GET_USER(bits)						\
__rfutex_helper int rfutex_get_user_u##bits(u##bits val[], unsigned long addr)		\
{									\
	return get_user(*val, (u##bits __user *)addr);			\
}									\
									\
__rfutex_helper int rfutex_get_user_inatomic_u##bits(u##bits val[], unsigned long addr)	\
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

static noinline int copy_struct_of_other_size(void *dst, size_t ksize,
					      const void __user *src, size_t usize)
{
	return copy_struct_from_user(dst, ksize, src, usize);
}

/*
 * The struct of the process nearly always has the size that the module knows.
 * Its words are then read one by one, because the general function copies any
 * number of bytes, and takes about 50 instructions more for such a small struct.
 */
__rfutex_helper int rfutex_copy_struct_from_user(void *dst, size_t ksize,
						 unsigned long src, size_t usize)
{
	const u64 __user *from = (const u64 __user *)src;
	u64 *to = dst;

	if (usize != ksize || ksize % sizeof(u64))
		return copy_struct_of_other_size(dst, ksize, from, usize);

	might_fault();
	scoped_user_read_access_size(from, ksize, efault) {
		for (size_t i = 0; i < ksize / sizeof(u64); i++)
			unsafe_get_user(to[i], from + i, efault);
	}
	return 0;

efault:
	return -EFAULT;
}

__rfutex_helper int rfutex_copy_struct_to_user(unsigned long dst, size_t usize,
					       const void *src, size_t ksize)
{
	return copy_struct_to_user((void __user *)dst, usize, src, ksize, NULL);
}

/*
 * These return 0 if the word was changed, 1 if its value was not *old, which is
 * then set to that value, or a negative error number.
 */
#ifdef unsafe_try_cmpxchg_user
__rfutex_helper int rfutex_cmpxchg_user_u8(u8 *old, u8 new, unsigned long addr)
{
	return __try_cmpxchg_user((u8 __user *)addr, old, new, efault);
}

__rfutex_helper int rfutex_cmpxchg_user_u16(u16 *old, u16 new, unsigned long addr)
{
	return __try_cmpxchg_user((u16 __user *)addr, old, new, efault);
}

__rfutex_helper int rfutex_cmpxchg_user_u32(u32 *old, u32 new, unsigned long addr)
{
	return __try_cmpxchg_user((u32 __user *)addr, old, new, efault);
}

__rfutex_helper int rfutex_cmpxchg_user_u64(u64 *old, u64 new, unsigned long addr)
{
	return __try_cmpxchg_user((u64 __user *)addr, old, new, efault);
}
#else
/* This architecture has only what futex(2) needs. */
__rfutex_helper int rfutex_cmpxchg_user_u8(u8 *old, u8 new, unsigned long addr)
{
	return -EINVAL;
}

__rfutex_helper int rfutex_cmpxchg_user_u16(u16 *old, u16 new, unsigned long addr)
{
	return -EINVAL;
}

__rfutex_helper int rfutex_cmpxchg_user_u32(u32 *old, u32 new, unsigned long addr)
{
	u32 want = *old;

	return futex_atomic_cmpxchg_inatomic(old, (u32 __user *)addr, want, new) ?: *old != want;
}

__rfutex_helper int rfutex_cmpxchg_user_u64(u64 *old, u64 new, unsigned long addr)
{
	return -EINVAL;
}
#endif

__rfutex_helper void rfutex_pagefault_disable(void)
{
	pagefault_disable();
}

__rfutex_helper void rfutex_pagefault_enable(void)
{
	pagefault_enable();
}

__rfutex_helper struct inode *rfutex_file_user_inode(struct file *file)
{
	return (struct inode *)file_user_inode(file);
}

__rfutex_helper void rfutex_set_current_state(unsigned int state)
{
	set_current_state(state);
}

__rfutex_helper void rfutex_set_current_running(void)
{
	__set_current_state(TASK_RUNNING);
}

__rfutex_helper void rfutex_cond_resched(void)
{
	cond_resched();
}

__rfutex_helper bool rfutex_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

__rfutex_helper bool rfutex_capable(int cap)
{
	return capable(cap);
}

__rfutex_helper ktime_t rfutex_timens_to_host(int clock, ktime_t time)
{
	return timens_ktime_to_host(clock, time);
}

__rfutex_helper void rfutex_hrtimer_set_expires_range_ns(struct hrtimer *timer,
							  ktime_t time, u64 delta)
{
	hrtimer_set_expires_range_ns(timer, time, delta);
}

__rfutex_helper void rfutex_destroy_hrtimer_on_stack(struct hrtimer *timer)
{
	destroy_hrtimer_on_stack(timer);
}

__rfutex_helper void rfutex_assert_rcu(void)
{
	RCU_LOCKDEP_WARN(!rcu_read_lock_held(), "a mapping's host is read");
}

__rfutex_helper bool rfutex_holds_a_lock(void)
{
	return debug_locks && lockdep_depth(current);
}

#ifndef RFUTEX_LINUX_7_2
__rfutex_helper atomic64_t *rfutex_mm_unique_id(struct mm_struct *mm)
{
	return &mm->futex.unique_id;
}
#endif

__rfutex_helper unsigned long rfutex_mm_start_stack(struct mm_struct *mm)
{
	return mm->start_stack;
}

__rfutex_helper unsigned long rfutex_vma_flags(struct vm_area_struct *vma)
{
	return READ_ONCE(vma->vm_flags);
}

__rfutex_helper unsigned long rfutex_vma_start(struct vm_area_struct *vma)
{
	return READ_ONCE(vma->vm_start);
}

__rfutex_helper int rfutex_mmap_read_lock_killable(struct mm_struct *mm)
{
	return mmap_read_lock_killable(mm);
}

__rfutex_helper bool rfutex_mmap_lock_speculate_try_begin(struct mm_struct *mm, unsigned int *seq)
{
	return mmap_lock_speculate_try_begin(mm, seq);
}

__rfutex_helper bool rfutex_mmap_lock_speculate_retry(struct mm_struct *mm, unsigned int seq)
{
	return mmap_lock_speculate_retry(mm, seq);
}

__rfutex_helper int rfutex_xa_alloc(struct xarray *xa, u32 *index, void *entry, u32 last)
{
	return xa_alloc(xa, index, entry, XA_LIMIT(0, last), GFP_KERNEL_ACCOUNT);
}

__rfutex_helper void rfutex_smp_mb__before_atomic(void)
{
	/* The caller, in wake_chain.rs, says what this barrier orders. */
	smp_mb__before_atomic();
}

__rfutex_helper u64 rfutex_siphash_1u64(u64 value, const u64 *key)
{
	const siphash_key_t siphash_key = { .key = { key[0], key[1] } };

	return siphash_1u64(value, &siphash_key);
}

__rfutex_helper void rfutex_spin_lock_nested(spinlock_t *lock)
{
	spin_lock_nested(lock, SINGLE_DEPTH_NESTING);
}
