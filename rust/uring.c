// SPDX-License-Identifier: GPL-2.0
/*
 * The parts of io_uring that the kernel's bindings for Rust do not have: inline
 * functions, macros, and functions whose arguments are structs. The rest is in
 * uring.rs.
 */

#include <linux/fs.h>
#include <linux/io_uring/cmd.h>
#include <linux/string.h>

#include "bindings_helper.h"

/* What the module keeps in a command: the request in uring.rs that waits. */
struct rfutex_uring_pdu {
	void *request;
};

void *rfutex_uring_private_data(struct io_uring_cmd *cmd)
{
	return cmd->file->private_data;
}

void rfutex_uring_set_request(struct io_uring_cmd *cmd, void *request)
{
	io_uring_cmd_to_pdu(cmd, struct rfutex_uring_pdu)->request = request;
}

void *rfutex_uring_request(struct io_uring_cmd *cmd)
{
	return io_uring_cmd_to_pdu(cmd, struct rfutex_uring_pdu)->request;
}

u64 rfutex_uring_user_data(struct io_uring_cmd *cmd)
{
	return cmd_to_io_kiocb(cmd)->cqe.user_data;
}

void *rfutex_uring_ring(struct io_uring_cmd *cmd)
{
	return io_uring_cmd_ctx_handle(cmd);
}

void rfutex_uring_mark_cancelable(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	io_uring_cmd_mark_cancelable(cmd, issue_flags);
}

/*
 * io_uring tries to cancel what is marked until it is completed, without ever
 * sleeping. This is for a command that somebody else is going to complete. It is
 * called in the loop that cancels, which allows for it, under uring_lock.
 */
void rfutex_uring_unmark_cancelable(struct io_uring_cmd *cmd)
{
	cmd->flags &= ~IORING_URING_CMD_CANCELABLE;
	hlist_del_init(&cmd_to_io_kiocb(cmd)->hash_node);
}

void rfutex_uring_done(struct io_uring_cmd *cmd, int result, unsigned int issue_flags)
{
	io_uring_cmd_done(cmd, result, issue_flags);
}

static void rfutex_uring_end(struct io_tw_req tw_req, io_tw_token_t tw)
{
	struct io_uring_cmd *cmd = io_uring_cmd_from_tw(tw_req);

	io_uring_cmd_done(cmd, rfutex_request_end(cmd),
			  IO_URING_CMD_TASK_WORK_ISSUE_FLAGS);
}

void rfutex_uring_complete(struct io_uring_cmd *cmd)
{
	io_uring_cmd_complete_in_task(cmd, rfutex_uring_end);
}

/*
 * Whether all is zero that no command uses, so that it can get a meaning later.
 * io_uring itself does not look at these fields, because other files use them. In
 * an SQE of 128 bytes, the second half belongs to what is there for the file.
 */
static bool unused_is_zero(const struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	const struct io_uring_sqe *sqe = cmd->sqe;

	/* Neither fixed buffers nor multishot commands have a meaning here. */
	if (cmd->flags & IORING_URING_CMD_MASK)
		return false;
	if (READ_ONCE(sqe->addr) || READ_ONCE(sqe->len) ||
	    READ_ONCE(sqe->buf_index) || READ_ONCE(sqe->file_index) ||
	    READ_ONCE(io_uring_sqe_cmd(sqe, struct rfutex_uring_cmd)->pad))
		return false;
	return !(issue_flags & IO_URING_F_SQE128) || !memchr_inv(sqe + 1, 0, sizeof(*sqe));
}

static int issue(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	u64 arg = READ_ONCE(io_uring_sqe_cmd(cmd->sqe, struct rfutex_uring_cmd)->arg);
	int ret = rfutex_request_issue(cmd, cmd->cmd_op, arg, issue_flags);

	/* If this were returned, io_uring would issue the command once more. */
	if (ret == -EAGAIN) {
		io_uring_cmd_done(cmd, ret, issue_flags);
		ret = -EIOCBQUEUED;
	}
	return ret;
}

static void issue_in_task(struct io_tw_req tw_req, io_tw_token_t tw)
{
	struct io_uring_cmd *cmd = io_uring_cmd_from_tw(tw_req);
	unsigned int issue_flags = IO_URING_CMD_TASK_WORK_ISSUE_FLAGS;
	int ret = -ECANCELED;

	if (!tw.cancel)
		ret = issue(cmd, issue_flags);
	if (ret != -EIOCBQUEUED)
		io_uring_cmd_done(cmd, ret, issue_flags);
}

/*
 * The uring_cmd function of the device. All that follows from here runs under
 * the lock of the ring (uring_lock), so that a command is never issued, canceled
 * and completed at the same time.
 */
int rfutex_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	if (issue_flags & IO_URING_F_CANCEL) {
		rfutex_request_cancel(cmd, issue_flags);
		return 0;
	}
	/* Later, in the task, nobody knows how long the SQE is. */
	if (!unused_is_zero(cmd, issue_flags))
		return -EINVAL;
	if (issue_flags & IO_URING_F_UNLOCKED) {
		io_uring_cmd_complete_in_task(cmd, issue_in_task);
		return -EIOCBQUEUED;
	}
	return issue(cmd, issue_flags);
}
