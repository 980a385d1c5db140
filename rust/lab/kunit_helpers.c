// SPDX-License-Identifier: GPL-2.0
/*
 * Wrappers of what the KUnit suites need (kunit.rs) and Rust cannot call.
 */

#include <linux/io_uring/cmd.h>
#include <linux/mm.h>
#include <linux/mount.h>
#include <linux/preempt.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/statfs.h>
#include <linux/tracepoint.h>

#include "bindings_helper.h"

int rfutex_folio_ref_count(struct folio *folio)
{
	return folio_ref_count(folio);
}

bool rfutex_in_task(void)
{
	return in_task();
}

/* The number of inodes of the file system, including that of its root. */
s64 rfutex_nr_inodes(struct vfsmount *mnt)
{
	struct path path = { .mnt = mnt, .dentry = mnt->mnt_root };
	struct kstatfs stat;
	int err = vfs_statfs(&path, &stat);

	return err ?: (s64)(stat.f_files - stat.f_ffree);
}

/*
 * The first of these allows a fatal signal for the current task, which must be a
 * kernel thread. The second removes it, and does not allow it any more.
 */
void rfutex_allow_kill(void)
{
	allow_signal(SIGKILL);
}

void rfutex_disallow_kill(void)
{
	flush_signals(current);
	disallow_signal(SIGKILL);
}

int rfutex_kill(struct task_struct *task)
{
	return send_sig(SIGKILL, task, 1);
}

void rfutex_tracepoint_synchronize(void)
{
	tracepoint_synchronize_unregister();
}

#ifdef CONFIG_IO_URING
/*
 * A command that no ring knows, to be compared by @ring and @user_data, and for
 * nothing else. NULL if there is no memory.
 */
struct io_uring_cmd *rfutex_uring_make_up(void *ring, u64 user_data)
{
	struct io_kiocb *req = kzalloc(sizeof(*req), GFP_KERNEL);

	if (!req)
		return NULL;
	req->ctx = ring;
	req->cqe.user_data = user_data;
	return io_kiocb_to_cmd(req, struct io_uring_cmd);
}

void rfutex_uring_free_made_up(struct io_uring_cmd *cmd)
{
	kfree(cmd_to_io_kiocb(cmd));
}
#endif
