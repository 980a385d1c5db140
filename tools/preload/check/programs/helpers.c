// SPDX-License-Identifier: GPL-2.0
/* Threads that are known to sleep, and children that must end well. */
#include "pthreads.h"

#include <sys/mman.h>
#include <sys/wait.h>

void yield_a_while(void)
{
	const struct timespec while_ = { .tv_nsec = 1000 * 1000 };

	nanosleep(&while_, NULL);
}

void until_asleep(pid_t process, pid_t tid)
{
	char path[64], text[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", process, tid);
	for (;;) {
		FILE *file = fopen(path, "r");
		long number;

		assert(file && fgets(text, sizeof(text), file));
		fclose(file);
		number = strtol(text, NULL, 10);
		if (strncmp(text, "running", 7) != 0 &&
		    (number == SYS_futex || number == SYS_ioctl))
			return;
		yield_a_while();
	}
}

static void *begin(void *argument)
{
	struct thread *thread = argument;

	thread->tid = gettid();
	return thread->work(thread->argument);
}

void start(struct thread *thread, void *(*work)(void *argument), void *argument)
{
	thread->tid = 0;
	thread->work = work;
	thread->argument = argument;
	must(pthread_create(&thread->handle, NULL, begin, thread));
}

void until_thread_asleep(struct thread *thread)
{
	while (!thread->tid)
		yield_a_while();
	until_asleep(getpid(), thread->tid);
}

void join(struct thread *thread)
{
	must(pthread_join(thread->handle, NULL));
}

void *shared_memory(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert(at != MAP_FAILED);
	return at;
}

void ends_well(pid_t child)
{
	int status;

	assert(waitpid(child, &status, 0) == child);
	assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
