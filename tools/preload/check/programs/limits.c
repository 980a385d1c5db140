// SPDX-License-Identifier: GPL-2.0
/* Very many threads, and processes that give up privileges or system calls. */
#include "pthreads.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>

#define MANY 10500

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int asleep, awake;
	bool go;
} crowd = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, false };

static void *wait_for_all(void *unused)
{
	must(pthread_mutex_lock(&crowd.lock));
	crowd.asleep++;
	while (!crowd.go)
		must(pthread_cond_wait(&crowd.changed, &crowd.lock));
	crowd.awake++;
	must(pthread_mutex_unlock(&crowd.lock));
	return unused;
}

/* All of them wait for one word, and are woken at once. */
void many_threads(void)
{
	static pthread_t threads[MANY];
	pthread_attr_t small;
	int asleep = 0;

	must(pthread_attr_init(&small));
	must(pthread_attr_setstacksize(&small, 64 * 1024));
	for (int i = 0; i < MANY; i++)
		must(pthread_create(&threads[i], &small, wait_for_all, NULL));
	while (asleep < MANY) {
		yield_a_while();
		must(pthread_mutex_lock(&crowd.lock));
		asleep = crowd.asleep;
		must(pthread_mutex_unlock(&crowd.lock));
	}
	/* Whoever has counted itself has unlocked by waiting. */
	must(pthread_mutex_lock(&crowd.lock));
	crowd.go = true;
	must(pthread_cond_broadcast(&crowd.changed));
	must(pthread_mutex_unlock(&crowd.lock));
	for (int i = 0; i < MANY; i++)
		must(pthread_join(threads[i], NULL));
	assert(crowd.awake == MANY);
}

/*
 * Becomes another user, as servers do, while a thread sleeps: the C library has each of its
 * threads make the system call, and waits for them. What is open stays open.
 */
void privileges(void)
{
	const uid_t nobody = 65534;
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct thread thread;

	must(pthread_mutex_lock(&lock));
	start(&thread, lock_and_unlock, &lock);
	until_thread_asleep(&thread);
	must(setgid(nobody));
	must(setuid(nobody));
	must(pthread_mutex_unlock(&lock));
	join(&thread);
	assert(getuid() == nobody && setuid(0) < 0);
	condvar();
}

/* Starts a program that gives its caller privileges: $PRIVILEGED_PROGRAM. */
void privileged(void)
{
	char *program = getenv("PRIVILEGED_PROGRAM");
	char *const arguments[] = { program, "mutex", NULL };
	pid_t child;

	assert(program);
	must(setgid(65534));
	must(setuid(65534));
	must(posix_spawn(&child, program, NULL, NULL, arguments, environ));
	ends_well(child);
	condvar();
}

/* What the library needs once it is in use; and the C library, for threads and their ends. */
static const int allowed[] = {
	SYS_ioctl, SYS_rt_sigprocmask, SYS_futex, SYS_clone3, SYS_clone, SYS_mmap, SYS_munmap,
	SYS_mprotect, SYS_madvise, SYS_rseq, SYS_set_robust_list, SYS_exit, SYS_exit_group,
	SYS_sched_yield, SYS_getpid, SYS_gettid, SYS_tgkill, SYS_write,
};

#define ALLOWED (sizeof(allowed) / sizeof(*allowed))

/*
 * From here on, everything else kills the process: openat, memfd_create and all that needs a
 * name among it.
 */
static void enter_sandbox(void)
{
	struct sock_filter filter[2 * ALLOWED + 2];
	struct sock_fprog program = { 0, filter };
	const struct sock_filter number =
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	const struct sock_filter kill = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);

	filter[program.len++] = number;
	for (size_t i = 0; i < ALLOWED; i++) {
		const struct sock_filter compare =
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], 0, 1);

		filter[program.len++] = compare;
		filter[program.len++] = allow;
	}
	filter[program.len++] = kill;
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0));
}

void sandboxed(void)
{
	/* The device is open from here on, if it is used. */
	mutex();
	enter_sandbox();
	condvar();
	barrier();
}
