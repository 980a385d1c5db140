// SPDX-License-Identifier: GPL-2.0
/* Waits that are interrupted: by cancellation, and by signals. */
#include "pthreads.h"

#include <sched.h>
#include <stdbool.h>

static bool cleaned_up;

static void clean_up(void *lock)
{
	cleaned_up = true;
	must(pthread_mutex_unlock(lock));
}

static void *wait_to_be_cancelled(void *argument)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t never = PTHREAD_COND_INITIALIZER;

	must(pthread_mutex_lock(&lock));
	pthread_cleanup_push(clean_up, &lock);
	for (;;)
		must(pthread_cond_wait(&never, &lock));
	pthread_cleanup_pop(1);
	return argument;
}

static void cancelled(struct thread *thread)
{
	void *result;

	until_thread_asleep(thread);
	must(pthread_cancel(thread->handle));
	must(pthread_join(thread->handle, &result));
	assert(result == PTHREAD_CANCELED);
	assert(cleaned_up);
}

void cancel_condvar(void)
{
	struct thread thread;

	start(&thread, wait_to_be_cancelled, NULL);
	cancelled(&thread);
}

static void note(void *unused)
{
	(void)unused;
	cleaned_up = true;
}

static void *sem_to_be_cancelled(void *semaphore)
{
	pthread_cleanup_push(note, NULL);
	sem_wait(semaphore);
	pthread_cleanup_pop(0);
	return NULL;
}

void cancel_semaphore(void)
{
	struct thread thread;
	sem_t semaphore;

	must(sem_init(&semaphore, 0, 0));
	start(&thread, sem_to_be_cancelled, &semaphore);
	cancelled(&thread);
}

/* Cancelled wherever it is: here in a wait that is no cancellation point. */
static void *lock_to_be_cancelled(void *lock)
{
	must(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL));
	pthread_cleanup_push(note, NULL);
	pthread_mutex_lock(lock);
	pthread_cleanup_pop(0);
	return NULL;
}

void cancel_asynchronously(void)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct thread thread;

	must(pthread_mutex_lock(&lock));
	start(&thread, lock_to_be_cancelled, &lock);
	cancelled(&thread);
}

/* And in any instruction of the way there and back: of a wake, of nothing, of a wait. */
static void *wake_for_ever(void *semaphore)
{
	must(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL));
	for (;;)
		syscall(SYS_futex, semaphore, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	return NULL;
}

static void *call_for_ever(void *barrier)
{
	/* With a value that is not there: it returns at once. */
	must(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL));
	for (;;)
		pthread_barrier_wait(barrier);
	return NULL;
}

static void *wait_in_the_past(void *semaphore)
{
	static const struct timespec past = { 0, 0 };

	must(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL));
	for (;;)
		sem_clockwait(semaphore, CLOCK_MONOTONIC, &past);
	return NULL;
}

void cancel_anywhere(void)
{
	static uint32_t word;

	for (int i = 0; i < 150; i++) {
		struct thread thread;
		pthread_barrier_t barrier;
		sem_t semaphore;
		const struct {
			void *(*work)(void *argument);
			void *argument;
		} kinds[] = {
			{ wake_for_ever, &word },
			{ call_for_ever, &barrier },
			{ wait_in_the_past, &semaphore },
		};

		must(pthread_barrier_init(&barrier, NULL, 1));
		must(sem_init(&semaphore, 0, 0));
		start(&thread, kinds[i % 3].work, kinds[i % 3].argument);
		while (!thread.tid)
			sched_yield();
		must(pthread_cancel(thread.handle));
		join(&thread);
	}
}

static sem_t from_handler;

static void post(int number)
{
	(void)number;
	must(sem_post(&from_handler));
}

static void *wait_through_signals(void *argument)
{
	while (sem_wait(&from_handler) != 0)
		assert(errno == EINTR);
	return argument;
}

static atomic_int handled;

static void count(int number)
{
	(void)number;
	handled++;
}

/* A handler that wakes the wait which it interrupts; and one after which the wait goes on. */
void signals(void)
{
	struct sigaction action = { .sa_handler = post };
	struct sigaction restarts = { .sa_handler = count, .sa_flags = SA_RESTART };
	struct thread thread;
	sem_t semaphore;

	must(sem_init(&from_handler, 0, 0));
	must(sigaction(SIGUSR1, &action, NULL));
	start(&thread, wait_through_signals, NULL);
	until_thread_asleep(&thread);
	must(pthread_kill(thread.handle, SIGUSR1));
	join(&thread);

	must(sem_init(&semaphore, 0, 0));
	must(sigaction(SIGUSR2, &restarts, NULL));
	start(&thread, wait_once, &semaphore);
	for (int i = 1; i <= 3; i++) {
		until_thread_asleep(&thread);
		must(pthread_kill(thread.handle, SIGUSR2));
		while (handled < i)
			yield_a_while();
	}
	until_thread_asleep(&thread);
	must(sem_post(&semaphore));
	join(&thread);
}
