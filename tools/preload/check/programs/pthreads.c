// SPDX-License-Identifier: GPL-2.0
/*
 * What the C library does with its own futex calls: each part waits where it has to wait, and
 * ends when it was woken. `pthreads PART` exits with 0, or aborts.
 *
 * A thread is known to wait when the kernel says that it sleeps in a system call.
 */
#include "pthreads.h"

static void nothing(void)
{
}

static const struct {
	const char *name;
	void (*play)(void);
} parts[] = {
	{ "mutex", mutex },
	{ "condvar", condvar },
	{ "timed", timed },
	{ "barrier", barrier },
	{ "semaphore", semaphore },
	{ "rwlock", rwlock },
	{ "join", join_waits },
	{ "robust", robust },
	{ "robust-unlock", robust_unlock },
	{ "priority-inheritance", priority_inheritance },
	{ "looks-like-a-thread", looks_like_a_thread },
	{ "fork", forked },
	{ "spawn", spawned },
	{ "cancel-condvar", cancel_condvar },
	{ "cancel-semaphore", cancel_semaphore },
	{ "cancel-asynchronously", cancel_asynchronously },
	{ "cancel-anywhere", cancel_anywhere },
	{ "cancel-pending", cancel_pending },
	{ "cancel-disabled", cancel_disabled },
	{ "cancel-many", cancel_many },
	{ "cancel-stepwise", cancel_stepwise },
	{ "unwound-stepwise", unwound_stepwise },
	{ "signals", signals },
	{ "dlopen", opened },
	{ "by-number", by_number },
	{ "closed", closed },
	{ "many-threads", many_threads },
	{ "privileges", privileges },
	{ "privileged", privileged },
	{ "sandboxed", sandboxed },
	{ "registers", registers },
	{ "cost", cost },
	{ "nothing", nothing },
	{ NULL, NULL },
};

int main(int count, char **arguments)
{
	assert(count == 2);
	for (int i = 0; parts[i].name; i++) {
		if (strcmp(parts[i].name, arguments[1]) == 0) {
			parts[i].play();
			return 0;
		}
	}
	fprintf(stderr, "there is no part %s\n", arguments[1]);
	return 2;
}
