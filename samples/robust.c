// SPDX-License-Identifier: GPL-2.0
/*
 * A lock that is given up when its owner dies. It is a word of 64 bits in the
 * memory of a table that only these two processes have.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/rfutex.h>

/* What lies where in the memory. */
enum { LOCK = 0, READY = 64, SIZE = 4096 };

static int table;
static uint64_t *lock;
static uint32_t *ready;

static void check(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		_exit(1);
	}
}

static int replace(uint64_t now, uint64_t new)
{
	return __atomic_compare_exchange_n(lock, &now, new, 0,
					   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* Have the kernel look after the words of this thread. Returns its id. */
static uint64_t join(void)
{
	struct rfutex_owner_id id;

	check(ioctl(table, RFUTEX_JOIN, 0) == 0, "RFUTEX_JOIN");
	check(ioctl(table, RFUTEX_OWNER_ID, &id) == 0, "RFUTEX_OWNER_ID");
	return id.thread_id;
}

/* Returns whether an owner has died with the lock. */
static int take(uint64_t id)
{
	struct rfutex_wait wait = {
		.word = { .addr = LOCK, .size = 8, .flags = RFUTEX_WORD_ARENA },
		.mask = RFUTEX_MASK_ANY,
	};
	uint64_t waiters = 0;

	for (;;) {
		uint64_t now = __atomic_load_n(lock, __ATOMIC_RELAXED);

		if (now >> RFUTEX_ROBUST_SHIFT == 0) {
			uint64_t mine = now | id << RFUTEX_ROBUST_SHIFT | waiters;

			if (replace(now, mine))
				return (now & RFUTEX_ROBUST_DIED) != 0;
			continue;
		}
		wait.val = now | RFUTEX_ROBUST_WAITERS;
		if (now != wait.val && !replace(now, wait.val))
			continue;
		check(ioctl(table, RFUTEX_WAIT, &wait) == 0 ||
		      errno == EAGAIN || errno == EINTR, "RFUTEX_WAIT");
		/* Others may be waiting still. */
		waiters = RFUTEX_ROBUST_WAITERS;
	}
}

/* What the lock protects is as it should be. */
static void give_up(void)
{
	uint64_t before = __atomic_exchange_n(lock, 0, __ATOMIC_RELEASE);

	if (before & RFUTEX_ROBUST_WAITERS)
		check(ioctl(table, RFUTEX_WAKE_ONE_ARENA, LOCK) >= 0,
		      "RFUTEX_WAKE_ONE_ARENA");
}

/* Takes the lock, says so, and is killed with it. */
static void die(void)
{
	take(join());
	__atomic_store_n(ready, 1, __ATOMIC_RELEASE);
	check(ioctl(table, RFUTEX_WAKE_ALL_ARENA, READY) >= 0,
	      "RFUTEX_WAKE_ALL_ARENA");
	raise(SIGKILL);
}

int main(void)
{
	struct rfutex_table_create create = {
		.flags = RFUTEX_TABLE_CLOEXEC,
		.arena_size = SIZE,
		.robust_size = 8,	/* the lock */
	};
	struct rfutex_wait wait = {
		.word = { .addr = READY, .size = 4, .flags = RFUTEX_WORD_ARENA },
		.val = 0,
		.mask = RFUTEX_MASK_ANY,
		.flags = RFUTEX_OWNER_PROCESS,
	};
	int dev = open("/dev/rfutex", O_RDWR | O_CLOEXEC), died;
	pid_t child;
	char *memory;

	check(dev >= 0, "/dev/rfutex");
	table = ioctl(dev, RFUTEX_TABLE_CREATE, &create);
	check(table >= 0, "RFUTEX_TABLE_CREATE");
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, table, 0);
	check(memory != MAP_FAILED, "mmap");
	lock = (uint64_t *)(memory + LOCK);
	ready = (uint32_t *)(memory + READY);

	child = fork();
	check(child >= 0, "fork");
	if (child == 0)
		die();
	/* The wait would also end if the child died before it was ready. */
	wait.owner = child;
	while (!__atomic_load_n(ready, __ATOMIC_ACQUIRE))
		check(ioctl(table, RFUTEX_WAIT, &wait) == 0 ||
		      errno == EAGAIN || errno == EINTR, "the child");
	died = take(join());
	give_up();
	check(waitpid(child, NULL, 0) == child, "waitpid");
	puts(died ? "the lock of the dead was taken over" : "nobody had it");
	return !died;
}
