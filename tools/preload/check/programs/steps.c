// SPDX-License-Identifier: GPL-2.0
/*
 * A wait, instruction by instruction: a thread has the processor stop it after each (TF in its
 * flags), and the handler of SIGTRAP does something there.
 */
#include "pthreads.h"

#include <stdbool.h>
#include <ucontext.h>
#include <unwind.h>

static struct {
	sem_t semaphore;
	/* How many instructions the thread has executed, and after which it is cancelled. */
	atomic_long done, at;
	/* It is there, and it has been. */
	atomic_bool asks, cancelled;
	/* The wait has returned. */
	atomic_bool returned;
	int type;
	bool unwinds;
} steps;

/* The flag. */
#define TRAP 0x100

static void *step_through(void *unused);

static _Unwind_Reason_Code look(struct _Unwind_Context *context, void *found)
{
	void *function = _Unwind_FindEnclosingFunction((void *)_Unwind_GetIP(context));

	if (function == (void *)step_through) {
		*(bool *)found = true;
		return _URC_NORMAL_STOP;
	}
	return _URC_NO_REASON;
}

static void stopped(int number, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)number;
	(void)info;
	steps.done++;
	if (steps.unwinds) {
		bool found = false;

		_Unwind_Backtrace(look, &found);
		assert(found);
	}
	if (steps.done == steps.at) {
		/* The signal that cancels is blocked here: it comes where this one has come. */
		steps.asks = true;
		while (!steps.cancelled)
			__builtin_ia32_pause();
		/* It does not end with every signal blocked and this one due. */
		registers[REG_EFL] &= ~TRAP;
	}
}

static void *step_through(void *unused)
{
	must(pthread_setcanceltype(steps.type, NULL));
	asm volatile("pushfq; orq %0, (%%rsp); popfq" ::"i"(TRAP) : "memory", "cc");
	sem_wait(&steps.semaphore);
	asm volatile("pushfq; andq %0, (%%rsp); popfq" ::"i"(~TRAP) : "memory", "cc");
	steps.returned = true;
	return unused;
}

static void begin_steps(struct thread *thread, long at)
{
	struct sigaction action = { .sa_sigaction = stopped, .sa_flags = SA_SIGINFO };

	memset(&action.sa_mask, 0xff, sizeof(action.sa_mask));
	must(sigaction(SIGTRAP, &action, NULL));
	must(sem_init(&steps.semaphore, 0, 0));
	steps.done = 0;
	steps.at = at;
	steps.asks = steps.cancelled = steps.returned = false;
	start(thread, step_through, NULL);
}

/* How many instructions there are until it sleeps, and until it has returned. */
static void count_steps(long *asleep, long *all)
{
	struct thread thread;

	begin_steps(&thread, -1);
	until_thread_asleep(&thread);
	*asleep = steps.done;
	must(sem_post(&steps.semaphore));
	join(&thread);
	*all = steps.done;
}

static bool sleeps(const struct thread *thread)
{
	char path[64], text[64];
	FILE *file;
	bool result;

	if (!thread->tid)
		return false;
	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", thread->tid);
	file = fopen(path, "r");
	result = file && fgets(text, sizeof(text), file) && strncmp(text, "running", 7) != 0;
	if (file)
		fclose(file);
	return result && (strtol(text, NULL, 10) == SYS_futex ||
			  strtol(text, NULL, 10) == SYS_ioctl);
}

/*
 * Cancels a thread after so many instructions of a wait: before it sleeps there, or, if it is woken
 * first, when it may have been. It is cancelled, or has taken what it was woken for, and never both
 * or neither.
 */
static void cancel_after(long at, bool woken)
{
	struct thread thread;
	void *result;
	int left;

	begin_steps(&thread, at);
	if (woken) {
		until_thread_asleep(&thread);
		must(sem_post(&steps.semaphore));
	}
	/* It may need fewer instructions than when they were counted. */
	while (!steps.asks && !steps.returned && (woken || !sleeps(&thread)))
		yield_a_while();
	must(pthread_cancel(thread.handle));
	steps.cancelled = true;
	must(pthread_join(thread.handle, &result));
	must(sem_getvalue(&steps.semaphore, &left));
	assert(steps.returned || result == PTHREAD_CANCELED);
	assert(woken || !steps.returned);
	assert(left + steps.returned == woken);
}

void unwound_stepwise(void)
{
	long asleep, all;

	steps.unwinds = true;
	count_steps(&asleep, &all);
	assert(asleep > 0 && asleep < all);
}

void cancel_stepwise(void)
{
	long asleep, all;

	/* What is done only once has been done then. */
	count_steps(&asleep, &all);
	count_steps(&asleep, &all);
	printf("%ld instructions, and %ld when it is woken\n", asleep, all - asleep);
	for (long at = 1; at <= asleep; at++)
		cancel_after(at, false);
	for (long at = asleep + 1; at <= all; at++)
		cancel_after(at, true);
	steps.type = PTHREAD_CANCEL_ASYNCHRONOUS;
	for (long at = 1; at <= asleep; at++)
		cancel_after(at, false);
}
