// SPDX-License-Identifier: GPL-2.0
/* What threads of one process meet at. */
#include "pthreads.h"

/* A lock that is held while another thread asks for it. */
void *lock_and_unlock(void *lock)
{
	must(pthread_mutex_lock(lock));
	must(pthread_mutex_unlock(lock));
	return NULL;
}

void mutex(void)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct thread thread;

	must(pthread_mutex_lock(&lock));
	start(&thread, lock_and_unlock, &lock);
	until_thread_asleep(&thread);
	must(pthread_mutex_unlock(&lock));
	join(&thread);
}

/* Threads that take turns, each of which the one before wakes. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int turn;
} turns = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };

#define THREADS 4

static void *take_turns(void *argument)
{
	int mine = (int)(intptr_t)argument;

	for (int round = 0; round < ROUNDS; round++) {
		must(pthread_mutex_lock(&turns.lock));
		while (turns.turn % THREADS != mine)
			must(pthread_cond_wait(&turns.changed, &turns.lock));
		turns.turn++;
		must(pthread_cond_broadcast(&turns.changed));
		must(pthread_mutex_unlock(&turns.lock));
	}
	return NULL;
}

void condvar(void)
{
	struct thread threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		start(&threads[i], take_turns, (void *)(intptr_t)i);
	for (int i = 0; i < THREADS; i++)
		join(&threads[i]);
	assert(turns.turn == THREADS * ROUNDS);
}

void timed(void)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
	struct timespec end;

	must(clock_gettime(CLOCK_MONOTONIC, &end));
	end.tv_nsec += 20 * 1000 * 1000;
	if (end.tv_nsec >= 1000 * 1000 * 1000) {
		end.tv_nsec -= 1000 * 1000 * 1000;
		end.tv_sec++;
	}
	must(pthread_mutex_lock(&lock));
	assert(pthread_cond_clockwait(&changed, &lock, CLOCK_MONOTONIC, &end) == ETIMEDOUT);
	must(pthread_mutex_unlock(&lock));
}

static void *meet(void *barrier)
{
	for (int round = 0; round < ROUNDS; round++) {
		int result = pthread_barrier_wait(barrier);

		assert(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
	}
	return NULL;
}

void barrier(void)
{
	pthread_barrier_t barrier;
	struct thread threads[THREADS];

	must(pthread_barrier_init(&barrier, NULL, THREADS));
	for (int i = 0; i < THREADS; i++)
		start(&threads[i], meet, &barrier);
	for (int i = 0; i < THREADS; i++)
		join(&threads[i]);
}

void *wait_once(void *semaphore)
{
	must(sem_wait(semaphore));
	return NULL;
}

void semaphore(void)
{
	struct thread thread;
	sem_t semaphore;

	must(sem_init(&semaphore, 0, 0));
	start(&thread, wait_once, &semaphore);
	until_thread_asleep(&thread);
	must(sem_post(&semaphore));
	join(&thread);
}

static void *read_once(void *lock)
{
	must(pthread_rwlock_rdlock(lock));
	must(pthread_rwlock_unlock(lock));
	return NULL;
}

void rwlock(void)
{
	pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
	struct thread thread;

	must(pthread_rwlock_wrlock(&lock));
	start(&thread, read_once, &lock);
	until_thread_asleep(&thread);
	must(pthread_rwlock_unlock(&lock));
	join(&thread);
}
