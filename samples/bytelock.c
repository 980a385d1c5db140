// SPDX-License-Identifier: GPL-2.0
/*
 * A mutex of one byte, for the processes that share its memory.
 *
 * A lock on futex(2) has at least four bytes, because it compares 32 bits at an
 * address that is a multiple of 4. With smaller locks, a thread would have to
 * sleep on all four locks that lie there: each change of another one ends its
 * sleep, and each wake may go to somebody who waits for another one.
 *
 * Here four processes use four locks that lie side by side in such a place.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/rfutex.h>

enum { FREE, TAKEN, CONTENDED };	/* contended: somebody may sleep */
enum { PROCESSES = 4, LOCKS = 4, ROUNDS = 500 };

struct shared { __u8 locks[LOCKS]; __u32 counts[LOCKS]; };

static void lock(int dev, __u8 *byte)
{
	struct rfutex_wait wait = {
		.word = { .addr = (uintptr_t)byte, .size = 1 },
		.val = CONTENDED,
		.mask = RFUTEX_MASK_ANY,
	};
	__u8 seen = FREE;

	if (__atomic_compare_exchange_n(byte, &seen, TAKEN, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	while (__atomic_exchange_n(byte, CONTENDED, __ATOMIC_ACQUIRE) != FREE)
		if (ioctl(dev, RFUTEX_WAIT, &wait) && errno != EAGAIN && errno != EINTR)
			err(1, "RFUTEX_WAIT");
}

static void unlock(int dev, __u8 *byte)
{
	if (__atomic_exchange_n(byte, FREE, __ATOMIC_RELEASE) == CONTENDED &&
	    ioctl(dev, RFUTEX_WAKE_ONE, byte) < 0)
		err(1, "RFUTEX_WAKE_ONE");
}

int main(void)
{
	int i, count, status, failed = 0, dev = open("/dev/rfutex", O_RDWR | O_CLOEXEC);
	struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (i = 0; i < PROCESSES; i++) {
		if (fork() != 0)
			continue;
		alarm(60);	/* If a wake is lost, this ends the process. */
		for (i = 0; i < ROUNDS * LOCKS; i++) {
			lock(dev, &sh->locks[i % LOCKS]);
			count = sh->counts[i % LOCKS];
			sched_yield();	/* The others find the lock taken. */
			sh->counts[i % LOCKS] = count + 1;
			unlock(dev, &sh->locks[i % LOCKS]);
		}
		return 0;
	}
	while (wait(&status) > 0)
		failed |= status;
	for (i = 0; i < LOCKS; i++)
		failed |= sh->counts[i] != PROCESSES * ROUNDS;
	if (!failed)
		printf("%d byte locks, each taken %d times\n", LOCKS, PROCESSES * ROUNDS);
	return failed != 0;
}
