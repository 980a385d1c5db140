// SPDX-License-Identifier: GPL-2.0
/*
 * A process that waits for any of several others, and hears of it if one dies.
 * Each worker puts the numbers of its reports into a word of its own; the
 * supervisor sleeps on all the words at once, and takes what it finds there.
 *
 * futex_waitv(2) sleeps on several words, but nobody wakes it when a worker is
 * killed, and a thread cannot wait for a pidfd at the same time. Here each word
 * has an owner, and the wait also ends when one of the owners does.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/rfutex.h>

enum { WORKERS = 3, REPORTS = 100, KILLED = 1 };

/* Make reports. After each, sleep until it is taken or the supervisor ends. */
static int work(int dev, __u64 *word, pid_t supervisor, int killed)
{
	struct rfutex_wait wait = {
		.word = { .addr = (uintptr_t)word, .size = sizeof(*word) },
		.mask = RFUTEX_MASK_ANY, .flags = RFUTEX_OWNER_PROCESS, .owner = supervisor,
	};

	while (wait.val++ < REPORTS) {
		__atomic_store_n(word, wait.val, __ATOMIC_RELEASE);
		if (ioctl(dev, RFUTEX_WAKE_ONE, word) < 0)
			err(1, "RFUTEX_WAKE_ONE");
		while (__atomic_load_n(word, __ATOMIC_ACQUIRE))
			if (ioctl(dev, RFUTEX_WAIT, &wait) && errno != EAGAIN)
				err(1, "RFUTEX_WAIT");
		if (killed && wait.val == REPORTS / 2)
			raise(SIGKILL);
	}
	return 0;
}

int main(void)
{
	int i, n, alive = WORKERS, made[WORKERS] = { 0 };
	int me = getpid(), dev = open("/dev/rfutex", O_RDWR | O_CLOEXEC);
	__u64 *words = mmap(NULL, WORKERS * sizeof(*words), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct rfutex_waitv_entry entries[WORKERS];
	struct rfutex_waitv waitv = { (uintptr_t)entries, WORKERS, sizeof(*entries), 0, 0, 0 };

	for (i = 0; i < WORKERS; i++) {
		entries[i] = (struct rfutex_waitv_entry) {
			.word = { .addr = (uintptr_t)&words[i], .size = sizeof(*words) },
			.mask = RFUTEX_MASK_ANY, .flags = RFUTEX_OWNER_PROCESS, .owner = fork(),
		};
		if (entries[i].owner == 0)
			return work(dev, &words[i], me, i == KILLED);
	}
	alarm(60);	/* If a wake or an end is missed, this ends the program. */
	while (alive) {
		n = ioctl(dev, RFUTEX_WAITV, &waitv);
		if (n < 0 && errno != EAGAIN)
			err(1, "RFUTEX_WAITV");
		for (i = 0; i < WORKERS; i++)
			if (__atomic_exchange_n(&words[i], 0, __ATOMIC_ACQ_REL)) {
				made[i]++;
				ioctl(dev, RFUTEX_WAKE_ONE, &words[i]);
			}
		if (n >= 0 && n & RFUTEX_WAITV_OWNERDEAD) {
			n -= RFUTEX_WAITV_OWNERDEAD;
			entries[n].flags = entries[n].owner = 0;
			alive--;
			if (made[n] < REPORTS)
				printf("worker %d was killed\n", n);
		}
	}
	printf("they made %d, %d and %d reports\n", made[0], made[1], made[2]);
	return made[0] != REPORTS || made[1] != REPORTS / 2 || made[2] != REPORTS;
}
