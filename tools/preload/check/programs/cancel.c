// SPDX-License-Identifier: GPL-2.0
/* Cancellation that comes before a wait, or at the same time as a wake. */
#include "pthreads.h"

#include <sched.h>
#include <stdbool.h>

static void note(void *noted)
{
	*(bool *)noted = true;
}

/* Has been cancelled when it begins to wait. */
static struct {
	sem_t never;
	atomic_bool go;
	bool noted;
} pending;

static void *wait_when_cancelled(void *argument)
{
	while (!pending.go)
		sched_yield();
	pthread_cleanup_push(note, &pending.noted);
	sem_wait(&pending.never);
	pthread_cleanup_pop(0);
	return argument;
}

void cancel_pending(void)
{
	struct thread thread;
	void *result;

	must(sem_init(&pending.never, 0, 0));
	start(&thread, wait_when_cancelled, NULL);
	must(pthread_cancel(thread.handle));
	pending.go = true;
	must(pthread_join(thread.handle, &result));
	assert(result == PTHREAD_CANCELED && pending.noted);
}

/* Must not be cancelled as it waits, but is when it allows that again. */
static struct {
	sem_t posted;
	atomic_bool woken;
} disabled;

static void *wait_disabled(void *argument)
{
	must(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL));
	must(sem_wait(&disabled.posted));
	disabled.woken = true;
	must(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL));
	pthread_testcancel();
	return argument;
}

void cancel_disabled(void)
{
	struct thread thread;
	void *result;

	must(sem_init(&disabled.posted, 0, 0));
	start(&thread, wait_disabled, NULL);
	until_thread_asleep(&thread);
	must(pthread_cancel(thread.handle));
	until_thread_asleep(&thread);
	assert(!disabled.woken);
	must(sem_post(&disabled.posted));
	must(pthread_join(thread.handle, &result));
	assert(result == PTHREAD_CANCELED && disabled.woken);
}

/*
 * Threads of which every other one is cancelled while as many are woken. One that was woken and
 * cancelled must not take the wake with it. With glibc before 2.41 it might, on futex(2) as well.
 */
#define PAIRS 8

/* Cancels every other one of the threads. Returns how many of these were woken instead. */
static int cancel_half(struct thread *threads, void (*wake)(void))
{
	int woken = 0;

	for (int i = 0; i < 2 * PAIRS; i++)
		until_thread_asleep(&threads[i]);
	for (int i = 0; i < PAIRS; i++) {
		must(pthread_cancel(threads[2 * i].handle));
		wake();
	}
	for (int i = 0; i < PAIRS; i++) {
		void *result;

		must(pthread_join(threads[2 * i].handle, &result));
		woken += result != PTHREAD_CANCELED;
	}
	return woken;
}

/* The others: each of them has been woken, or is now. */
static void wake_others(struct thread *threads, int more, void (*wake)(void))
{
	for (int i = 0; i < more; i++)
		wake();
	for (int i = 0; i < PAIRS; i++)
		join(&threads[2 * i + 1]);
}

static sem_t units;

static void post_one(void)
{
	must(sem_post(&units));
}

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int units;
} pile = { PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP, PTHREAD_COND_INITIALIZER, 0 };

/* The lock is this thread's again, or that fails. */
static void unlock_pile(void *unused)
{
	(void)unused;
	must(pthread_mutex_unlock(&pile.lock));
}

static void *take_from_pile(void *argument)
{
	must(pthread_mutex_lock(&pile.lock));
	pthread_cleanup_push(unlock_pile, NULL);
	while (pile.units == 0)
		must(pthread_cond_wait(&pile.changed, &pile.lock));
	pile.units--;
	pthread_cleanup_pop(1);
	return argument;
}

static void add_to_pile(void)
{
	must(pthread_mutex_lock(&pile.lock));
	pile.units++;
	must(pthread_cond_signal(&pile.changed));
	must(pthread_mutex_unlock(&pile.lock));
}

void cancel_many(void)
{
	struct thread threads[2 * PAIRS];
	int left;

	must(sem_init(&units, 0, 0));
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 2 * PAIRS; i++)
			start(&threads[i], wait_once, &units);
		wake_others(threads, cancel_half(threads, post_one), post_one);
		must(sem_getvalue(&units, &left));
		assert(left == 0);
		for (int i = 0; i < 2 * PAIRS; i++)
			start(&threads[i], take_from_pile, NULL);
		wake_others(threads, cancel_half(threads, add_to_pile), add_to_pile);
		assert(pile.units == 0);
	}
}
