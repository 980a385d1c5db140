// SPDX-License-Identifier: GPL-2.0
/* Ends of threads and processes, which the kernel tells; and children. */
#include "pthreads.h"

#include <spawn.h>
#include <sys/wait.h>

/* The kernel wakes who joins, when the thread has ended. */
static void *joins(void *other)
{
	must(pthread_join(*(pthread_t *)other, NULL));
	return NULL;
}

void join_waits(void)
{
	struct thread waited_for, joiner;
	sem_t semaphore;

	must(sem_init(&semaphore, 0, 0));
	start(&waited_for, wait_once, &semaphore);
	until_thread_asleep(&waited_for);
	start(&joiner, joins, &waited_for.handle);
	until_thread_asleep(&joiner);
	must(sem_post(&semaphore));
	join(&joiner);
}

/* A process that dies with a robust lock: the kernel wakes who waits for it. */
void robust(void)
{
	struct {
		pthread_mutex_t lock;
		atomic_int state;
	} *shared = shared_memory(sizeof(*shared));
	pthread_mutexattr_t attributes;
	pid_t owner, waiter;

	must(pthread_mutexattr_init(&attributes));
	must(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED));
	must(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
	must(pthread_mutex_init(&shared->lock, &attributes));
	owner = fork();
	if (owner == 0) {
		must(pthread_mutex_lock(&shared->lock));
		shared->state = 1;
		for (;;)
			pause();
	}
	while (shared->state != 1)
		yield_a_while();
	waiter = fork();
	if (waiter == 0) {
		assert(pthread_mutex_lock(&shared->lock) == EOWNERDEAD);
		must(pthread_mutex_consistent(&shared->lock));
		must(pthread_mutex_unlock(&shared->lock));
		_exit(0);
	}
	until_asleep(waiter, waiter);
	must(kill(owner, SIGKILL));
	ends_well(waiter);
	assert(waitpid(owner, NULL, 0) == owner);
}

/* A lock of this kind, which a thread sleeps on until it is unlocked. */
static void unlock_for_another(const pthread_mutexattr_t *attributes)
{
	pthread_mutex_t lock;
	struct thread thread;

	must(pthread_mutex_init(&lock, attributes));
	must(pthread_mutex_lock(&lock));
	start(&thread, lock_and_unlock, &lock);
	until_thread_asleep(&thread);
	must(pthread_mutex_unlock(&lock));
	join(&thread);
}

/* A robust lock that is unlocked: the wake finds on the kernel's side who waits there. */
void robust_unlock(void)
{
	pthread_mutexattr_t attributes;

	must(pthread_mutexattr_init(&attributes));
	must(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
	unlock_for_another(&attributes);
}

void priority_inheritance(void)
{
	pthread_mutexattr_t attributes;

	must(pthread_mutexattr_init(&attributes));
	must(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT));
	unlock_for_another(&attributes);
}

/*
 * Waits for a value that is the number of a thread here, and of nothing there: a process whose
 * wait goes to the kernel, and one that wakes it without ever having waited.
 */
void looks_like_a_thread(void)
{
	_Atomic uint32_t *word = shared_memory(4096);
	pid_t child = fork();

	if (child == 0) {
		uint32_t tid = gettid();

		*word = tid;
		while (*word == tid)
			syscall(SYS_futex, word, FUTEX_WAIT, tid, NULL, NULL, 0);
		_exit(0);
	}
	while (!*word)
		yield_a_while();
	until_asleep(child, child);
	*word = 0;
	assert(syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0) == 1);
	ends_well(child);
}

void forked(void)
{
	struct {
		sem_t there, back;
	} *shared = shared_memory(sizeof(*shared));
	pid_t child;

	must(sem_init(&shared->there, 1, 0));
	must(sem_init(&shared->back, 1, 0));
	child = fork();
	if (child == 0) {
		for (int round = 0; round < ROUNDS; round++) {
			must(sem_wait(&shared->there));
			must(sem_post(&shared->back));
		}
		/* The locks of a child are its own. */
		mutex();
		condvar();
		_exit(0);
	}
	for (int round = 0; round < ROUNDS; round++) {
		must(sem_post(&shared->there));
		must(sem_wait(&shared->back));
	}
	ends_well(child);
}

/* Programs that are started: this one, in which the library is, and one that is static. */
void spawned(void)
{
	char *const own[] = { "/proc/self/exe", "mutex", NULL };
	char *const other[] = { getenv("STATIC_PROGRAM"), "true", NULL };
	pid_t child;

	must(posix_spawn(&child, own[0], NULL, NULL, own, environ));
	ends_well(child);
	must(posix_spawn(&child, other[0], NULL, NULL, other, environ));
	ends_well(child);
}
