/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of this program share. */
#ifndef PTHREADS_H
#define PTHREADS_H

#define _GNU_SOURCE
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define must(call) assert((call) == 0)

/* How often a part does what it does again and again. */
#define ROUNDS 200

/* A thread, and its number when it has one. */
struct thread {
	pthread_t handle;
	atomic_int tid;
	void *(*work)(void *argument);
	void *argument;
};

/* Sleeps a millisecond. */
void yield_a_while(void);

/* Returns when the task sleeps in a futex call, of the device or of the kernel. */
void until_asleep(pid_t process, pid_t tid);

/* Has a thread do some work. */
void start(struct thread *thread, void *(*work)(void *argument), void *argument);

/* Returns when it sleeps so. */
void until_thread_asleep(struct thread *thread);

/* Waits for its end. */
void join(struct thread *thread);

/* Memory that children of fork share. */
void *shared_memory(size_t size);

/* Waits for a child, which must exit with 0. */
void ends_well(pid_t child);

/* Work for threads: takes the lock, or a unit of the semaphore, once. */
void *lock_and_unlock(void *lock);
void *wait_once(void *semaphore);

/* The parts. */
void mutex(void);
void condvar(void);
void timed(void);
void barrier(void);
void semaphore(void);
void rwlock(void);
void join_waits(void);
void robust(void);
void robust_unlock(void);
void priority_inheritance(void);
void looks_like_a_thread(void);
void forked(void);
void spawned(void);
void cancel_condvar(void);
void cancel_semaphore(void);
void cancel_asynchronously(void);
void cancel_anywhere(void);
void cancel_pending(void);
void cancel_disabled(void);
void cancel_many(void);
void cancel_stepwise(void);
void unwound_stepwise(void);
void signals(void);
void opened(void);
void by_number(void);
void closed(void);
void many_threads(void);
void privileges(void);
void privileged(void);
void sandboxed(void);
void registers(void);
void cost(void);

#endif
