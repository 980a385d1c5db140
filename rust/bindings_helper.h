/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The declarations from which bindgen generates the bindings for bindings.rs:
 * the user interface, constants that bindgen cannot evaluate by itself, the
 * C helpers, and the magic numbers of file systems, which the kernel's own
 * bindings have with some configurations only.
 */

#include <linux/compiler.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/magic.h>
#include <linux/mman.h>
#include <linux/spinlock_types.h>
#include <linux/types.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>
#include <linux/rfutex.h>
#include "rfutex_events.h"

struct address_space;
struct file;
struct file_operations;
struct folio;
struct hrtimer;
struct inode;
struct io_uring_cmd;
struct mm_struct;
struct page;
struct task_struct;
struct vm_area_struct;

/* Command numbers, because bindgen does not evaluate _IOW(). */
static const u32 RFUTEX_CMD_QUERY = RFUTEX_QUERY;
static const u32 RFUTEX_CMD_WAKE = RFUTEX_WAKE;
static const u32 RFUTEX_CMD_KEY_INFO = RFUTEX_KEY_INFO;
static const u32 RFUTEX_CMD_REQUEUE = RFUTEX_REQUEUE;
static const u32 RFUTEX_CMD_WAKE_OP = RFUTEX_WAKE_OP;
static const u32 RFUTEX_CMD_WAIT = RFUTEX_WAIT;
static const u32 RFUTEX_CMD_SWAP = RFUTEX_SWAP;
static const u32 RFUTEX_CMD_WAITV = RFUTEX_WAITV;
static const u32 RFUTEX_CMD_WAKEV = RFUTEX_WAKEV;
static const u32 RFUTEX_CMD_WATCHES_CREATE = RFUTEX_WATCHES_CREATE;
static const u32 RFUTEX_CMD_WATCH_ADD = RFUTEX_WATCH_ADD;
static const u32 RFUTEX_CMD_WATCH_REMOVE = RFUTEX_WATCH_REMOVE;
static const u32 RFUTEX_CMD_URING_CANCEL = RFUTEX_URING_CANCEL;
static const u32 RFUTEX_CMD_SET_RESOLVER = RFUTEX_SET_RESOLVER;
static const u32 RFUTEX_CMD_WAKE_ONE = RFUTEX_WAKE_ONE;
static const u32 RFUTEX_CMD_WAKE_ALL = RFUTEX_WAKE_ALL;
static const u32 RFUTEX_CMD_TABLE_CREATE = RFUTEX_TABLE_CREATE;
static const u32 RFUTEX_CMD_OWNER_ID = RFUTEX_OWNER_ID;
static const u32 RFUTEX_CMD_JOIN = RFUTEX_JOIN;
static const u32 RFUTEX_CMD_LIST = RFUTEX_LIST;
static const u32 RFUTEX_CMD_WAKE_ONE_ARENA = RFUTEX_WAKE_ONE_ARENA;
static const u32 RFUTEX_CMD_WAKE_ALL_ARENA = RFUTEX_WAKE_ALL_ARENA;
static const u32 RFUTEX_CMD_WAKE_ONE_PRIVATE = RFUTEX_WAKE_ONE_PRIVATE;
static const u32 RFUTEX_CMD_WAKE_ALL_PRIVATE = RFUTEX_WAKE_ALL_PRIVATE;

/* Flags, because bindgen does not evaluate BIT() either. */
static const unsigned long RFUTEX_SB_KERNMOUNT = SB_KERNMOUNT;
static const int RFUTEX_IOCB_NOWAIT = IOCB_NOWAIT;
static const slab_flags_t RFUTEX_SLAB_FLAGS = SLAB_ACCOUNT;
static const gfp_t RFUTEX_XA_FLAGS = XA_FLAGS_ALLOC | XA_FLAGS_ACCOUNT;

/* Module parameters (parameters.c). */
u32 rfutex_param_hold(void);
u32 rfutex_param_watches(void);
u32 rfutex_param_tables(void);
unsigned long rfutex_param_arena_pages(void);

/* Memory. */
unsigned long rfutex_totalram_pages(void);

/* io_uring (uring.c), and what it calls (uring.rs). */
int rfutex_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags);
void *rfutex_uring_private_data(struct io_uring_cmd *cmd);
void rfutex_uring_set_request(struct io_uring_cmd *cmd, void *request);
void *rfutex_uring_request(struct io_uring_cmd *cmd);
u64 rfutex_uring_user_data(struct io_uring_cmd *cmd);
void *rfutex_uring_ring(struct io_uring_cmd *cmd);
void rfutex_uring_mark_cancelable(struct io_uring_cmd *cmd, unsigned int issue_flags);
void rfutex_uring_unmark_cancelable(struct io_uring_cmd *cmd);
void rfutex_uring_done(struct io_uring_cmd *cmd, int result, unsigned int issue_flags);
void rfutex_uring_complete(struct io_uring_cmd *cmd);
int rfutex_request_issue(struct io_uring_cmd *cmd, u32 op, u64 arg, unsigned int issue_flags);
void rfutex_request_cancel(struct io_uring_cmd *cmd, unsigned int issue_flags);
int rfutex_request_end(struct io_uring_cmd *cmd);

/* Files. */
struct file *rfutex_watches_getfile(const struct file_operations *fops, void *priv, int flags);
struct file *rfutex_table_getfile(const struct file_operations *fops, void *priv, int flags);
struct file *rfutex_list_getfile(const struct file_operations *fops, void *priv, int flags);

/* Threads and processes. */
void rfutex_get_pid(struct pid *pid);
bool rfutex_is_current_thread(struct pid *pid);
bool rfutex_is_current_process(struct pid *pid);
u64 rfutex_pid_ino(struct pid *pid);
bool rfutex_pid_is_no_process(struct pid *pid);
bool rfutex_is_last_and_ended(struct task_struct *task);
const struct cred *rfutex_get_current_cred(void);
bool rfutex_may_inspect(const struct cred *cred, struct task_struct *task);
bool rfutex_may_inspect_all(const struct cred *cred);
s64 rfutex_mm_id(struct mm_struct *mm);
s64 rfutex_task_mm_id(struct task_struct *task);
void rfutex_get_task_comm(u8 *comm, struct task_struct *task);

/* The memory of tables (arena.c), and what maps it (device/own.rs). */
int rfutex_arena_mmap(struct vm_area_struct *vma);
void *rfutex_arena_page(void *device, unsigned long index);
size_t rfutex_array_index_nospec(size_t index, size_t size);

/* Folios. */
struct folio *rfutex_page_folio(struct page *page);
void rfutex_folio_put(struct folio *folio);
unsigned long rfutex_page_pgoff(struct folio *folio, struct page *page);
unsigned long rfutex_folio_page_idx(struct folio *folio, struct page *page);
struct address_space *rfutex_folio_mapping(struct folio *folio);
unsigned int rfutex_folio_order(struct folio *folio);
int rfutex_folio_lock_killable(struct folio *folio);
bool rfutex_folio_test_swapcache(struct folio *folio);

/* User memory. */
bool rfutex_access_ok(unsigned long addr, unsigned long size);
int rfutex_get_user_u8(u8 *val, unsigned long addr);
int rfutex_get_user_u16(u16 *val, unsigned long addr);
int rfutex_get_user_u32(u32 *val, unsigned long addr);
int rfutex_get_user_u64(u64 *val, unsigned long addr);
int rfutex_get_user_inatomic_u8(u8 *val, unsigned long addr);
int rfutex_get_user_inatomic_u16(u16 *val, unsigned long addr);
int rfutex_get_user_inatomic_u32(u32 *val, unsigned long addr);
int rfutex_get_user_inatomic_u64(u64 *val, unsigned long addr);
int rfutex_copy_struct_from_user(void *dst, size_t ksize, unsigned long src, size_t usize);
int rfutex_copy_struct_to_user(unsigned long dst, size_t usize, const void *src, size_t ksize);
int rfutex_cmpxchg_user_u8(u8 *old, u8 new, unsigned long addr);
int rfutex_cmpxchg_user_u16(u16 *old, u16 new, unsigned long addr);
int rfutex_cmpxchg_user_u32(u32 *old, u32 new, unsigned long addr);
int rfutex_cmpxchg_user_u64(u64 *old, u64 new, unsigned long addr);
/* The sizes in bytes, or-ed, of those that work (helpers.c). */
#ifdef unsafe_try_cmpxchg_user
static const u32 RFUTEX_CMPXCHG_USER_SIZES = 1 | 2 | 4 | 8;
#else
static const u32 RFUTEX_CMPXCHG_USER_SIZES = 4;
#endif
void rfutex_pagefault_disable(void);
void rfutex_pagefault_enable(void);

/* Files. */
struct inode *rfutex_file_user_inode(struct file *file);

/* The current task. */
void rfutex_set_current_state(unsigned int state);
void rfutex_set_current_running(void);
void rfutex_cond_resched(void);
bool rfutex_fatal_signal_pending(void);
bool rfutex_capable(int cap);
ktime_t rfutex_timens_to_host(int clock, ktime_t time);
void rfutex_hrtimer_set_expires_range_ns(struct hrtimer *timer, ktime_t time, u64 delta);
void rfutex_destroy_hrtimer_on_stack(struct hrtimer *timer);
bool rfutex_holds_a_lock(void);
void rfutex_assert_rcu(void);

/* Address spaces. */
atomic64_t *rfutex_mm_unique_id(struct mm_struct *mm);
unsigned long rfutex_mm_start_stack(struct mm_struct *mm);
unsigned long rfutex_vma_flags(struct vm_area_struct *vma);
unsigned long rfutex_vma_start(struct vm_area_struct *vma);

/* Arrays. */
int rfutex_xa_alloc(struct xarray *xa, u32 *index, void *entry, u32 last);

/* Hashes. */
u64 rfutex_siphash_1u64(u64 value, const u64 *key);

/* Locks and barriers. */
void rfutex_smp_mb__before_atomic(void);
int rfutex_mmap_read_lock_killable(struct mm_struct *mm);
bool rfutex_mmap_lock_speculate_try_begin(struct mm_struct *mm, unsigned int *seq);
bool rfutex_mmap_lock_speculate_retry(struct mm_struct *mm, unsigned int seq);
void rfutex_spin_lock_nested(spinlock_t *lock);

#ifdef RFUTEX_LAB
/* Splats on demand (lab/provoke.c). */
void rfutex_provoke_suspicious_rcu(void);
void rfutex_provoke_ubsan(void);
void rfutex_provoke_list(void);
void rfutex_provoke_refcount(void);
void rfutex_provoke_odebug(void);
void rfutex_provoke_bad_page(void);
void rfutex_provoke_slab(void);
void rfutex_provoke_busy_inodes(void);
void rfutex_provoke_oops(void);
void rfutex_provoke_grace_period(void);

/* For the KUnit suites (lab/kunit_helpers.c). */
struct vfsmount;
static const unsigned long RFUTEX_PROT_READ = PROT_READ;
static const unsigned long RFUTEX_PROT_WRITE = PROT_WRITE;
static const unsigned long RFUTEX_MAP_SHARED = MAP_SHARED;
static const unsigned long RFUTEX_MAP_PRIVATE = MAP_PRIVATE;
static const unsigned long RFUTEX_MAP_ANONYMOUS = MAP_ANONYMOUS;
int rfutex_folio_ref_count(struct folio *folio);
bool rfutex_in_task(void);
s64 rfutex_nr_inodes(struct vfsmount *mnt);
struct io_uring_cmd *rfutex_uring_make_up(void *ring, u64 user_data);
void rfutex_uring_free_made_up(struct io_uring_cmd *cmd);
void rfutex_allow_kill(void);
void rfutex_disallow_kill(void);
int rfutex_kill(struct task_struct *task);
void rfutex_tracepoint_synchronize(void);
#endif
