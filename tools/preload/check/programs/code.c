// SPDX-License-Identifier: GPL-2.0
/* Code that is opened later, code that is called by number, and what it costs. */
#include "pthreads.h"

#include <dlfcn.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

/* A library that is opened later, with a system call instruction of its own. */
void opened(void)
{
	for (int i = 0; i < 3; i++) {
		_Atomic uint32_t word = 1;
		long (*wait)(_Atomic uint32_t *word, uint32_t value);
		long (*wake)(_Atomic uint32_t *word);
		void *plugin = dlopen(getenv("PLUGIN"), RTLD_NOW | RTLD_LOCAL);

		assert(plugin);
		*(void **)&wait = dlsym(plugin, "plugin_wait");
		*(void **)&wake = dlsym(plugin, "plugin_wake");
		assert(wait && wake);
		assert(wait(&word, 2) == -EAGAIN);
		assert(wake(&word) == 0);
		must(dlclose(plugin));
	}
}

/* The C library's own syscall(), which another definition may come before. */
void by_number(void)
{
	uint32_t word = 1;
	long (*own)(long number, ...);

	*(void **)&own = dlsym(dlopen("libc.so.6", RTLD_NOW), "syscall");
	assert(own);
	assert(own(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 2, NULL) == -1 && errno == EAGAIN);
	assert(own(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1) == 0);
	assert(own(SYS_gettid) == gettid());
	assert(own(SYS_futex, &word, FUTEX_UNLOCK_PI) == -1 && errno == EPERM);
}

/* Every descriptor is closed while a thread sleeps, in a cancellation point or not, and before. */
void closed(void)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct thread locks, waits;
	sem_t semaphore;

	must(sem_init(&semaphore, 0, 0));
	for (int round = 0; round < 3; round++) {
		must(pthread_mutex_lock(&lock));
		start(&locks, lock_and_unlock, &lock);
		start(&waits, wait_once, &semaphore);
		until_thread_asleep(&locks);
		until_thread_asleep(&waits);
		must(close_range(3, ~0U, 0));
		/* The thread opens the device for its wait. */
		if (round == 1) {
			must(sem_post(&semaphore));
			join(&waits);
			must(close_range(3, ~0U, 0));
			start(&waits, wait_once, &semaphore);
			until_thread_asleep(&waits);
		}
		must(pthread_mutex_unlock(&lock));
		must(sem_post(&semaphore));
		join(&locks);
		join(&waits);
	}
}

/* All registers are as a system call leaves them. */
#define VECTORS 16

void registers(void)
{
	static uint8_t before[VECTORS][32], after[VECTORS][32];
	long (*make)(void *state);
	struct {
		uint64_t given[16], got[16];
		uint8_t (*before)[32], (*after)[32];
		uint32_t *word;
	} state = { .before = before, .after = after };
	uint32_t word = 1;
	void *plugin = dlopen(getenv("PLUGIN"), RTLD_NOW);

	assert(plugin);
	*(void **)&make = dlsym(plugin, "plugin_registers");
	assert(make);
	for (int i = 0; i < VECTORS; i++)
		memset(before[i], i + 1, sizeof(before[i]));
	state.word = &word;
	assert(make(&state) == -EAGAIN);
	assert(memcmp(before, after, sizeof(before)) == 0);
	/* rbx, rdx, rdi, rsi, r8, r9, r10, r12 to r15, what is below the stack, flags */
	assert(memcmp(state.given, state.got, sizeof(state.given)) == 0);
}

/* The calls whose instructions are counted, between the calls that are not. */
enum call { BEFORE, WAKE, REDIRECTED_WAKE, WAIT, REDIRECTED_WAIT, AFTER };

static struct {
	atomic_long call;
	long (*wake)(_Atomic uint32_t *word);
	_Atomic uint32_t word;
	sem_t semaphore;
} costly;

/*
 * A wake by way of syscall(), and by an instruction of a library; a wait whose time is over, by way
 * of syscall(), and by the C library as a cancellation point.
 */
static void make_calls(void)
{
	const struct timespec over = { .tv_sec = 1 };

	costly.call = WAKE;
	syscall(SYS_futex, &costly.word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	costly.call = REDIRECTED_WAKE;
	costly.wake(&costly.word);
	costly.call = WAIT;
	syscall(SYS_futex, &costly.word,
		FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME, 0, &over, NULL,
		FUTEX_BITSET_MATCH_ANY);
	costly.call = REDIRECTED_WAIT;
	sem_timedwait(&costly.semaphore, &over);
	costly.call = AFTER;
}

/* What redirecting costs: prints how many instructions each of the calls has in this process. */
void cost(void)
{
	long counts[AFTER + 1] = { 0 }, call;
	int status;
	pid_t child;

	*(void **)&costly.wake = dlsym(dlopen(getenv("PLUGIN"), RTLD_NOW), "plugin_wake");
	assert(costly.wake);
	must(sem_init(&costly.semaphore, 0, 0));
	/* What is done once only has been done then. */
	make_calls();
	costly.call = BEFORE;
	child = fork();
	if (child == 0) {
		must(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
		must(raise(SIGSTOP));
		make_calls();
		_exit(0);
	}
	assert(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
	for (;;) {
		call = ptrace(PTRACE_PEEKDATA, child, &costly.call, NULL);
		if (call == AFTER)
			break;
		counts[call]++;
		must(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL));
		assert(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
	}
	/* The flag that has it stop may be one that it has saved, and goes on to have. */
	must(kill(child, SIGKILL));
	assert(waitpid(child, &status, 0) == child);
	printf("wake: by-syscall %ld redirected %ld\n", counts[WAKE], counts[REDIRECTED_WAKE]);
	printf("wait: by-syscall %ld redirected %ld\n", counts[WAIT], counts[REDIRECTED_WAIT]);
}
