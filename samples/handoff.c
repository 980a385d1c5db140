// SPDX-License-Identifier: GPL-2.0
/*
 * A parent and a child hand a token back and forth through one word of shared
 * memory. Each sleeps in /dev/rfutex while the other has the token.
 *
 * This needs include/uapi/linux/rfutex.h and nothing else; see the Makefile here.
 * The argument is the number of rounds, by default 1000. The exit status is 0 if
 * each side had the token that many times, in turn.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/rfutex.h>

#define NSEC_PER_SEC	1000000000LL
/* Neither side waits longer than this for the other. */
#define PATIENCE	(60 * NSEC_PER_SEC)

enum side { PARENT, CHILD };

/* The page that both processes have mapped. */
struct shared {
	__u32 token;		/* the side that has it: enum side */
	__u32 turns;		/* only the side with the token uses it */
	__u32 sleeps[2];	/* each side writes its own */
};

static void die(const char *what)
{
	fprintf(stderr, "handoff: %s: %s\n", what, strerror(errno));
	_exit(EXIT_FAILURE);
}

static __s64 now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* Sleep until @me has the token. */
static void take(int dev, struct shared *sh, enum side me)
{
	const __u32 other = !me;
	struct rfutex_wait wait = {
		.word = {
			.addr = (uintptr_t)&sh->token,
			.size = sizeof(sh->token),
		},
		.val = other,
		.mask = RFUTEX_MASK_ANY,
		.clock = RFUTEX_CLOCK_MONOTONIC,
		.deadline = now() + PATIENCE,
	};

	while (__atomic_load_n(&sh->token, __ATOMIC_ACQUIRE) == other) {
		if (ioctl(dev, RFUTEX_WAIT, &wait) == 0)
			sh->sleeps[me]++;
		else if (errno != EAGAIN && errno != EINTR)
			die("RFUTEX_WAIT");
	}
}

/* Give the token to the other side, and wake it if it sleeps. */
static void give(int dev, struct shared *sh, enum side me)
{
	__atomic_store_n(&sh->token, !me, __ATOMIC_RELEASE);
	if (ioctl(dev, RFUTEX_WAKE_ONE, &sh->token) < 0)
		die("RFUTEX_WAKE_ONE");
}

static void play(int dev, struct shared *sh, enum side me, __u32 rounds)
{
	__u32 i;

	for (i = 0; i < rounds; i++) {
		take(dev, sh, me);
		/* As the turns alternate, the number of this one is known. */
		if (sh->turns != 2 * i + me) {
			fprintf(stderr, "handoff: %s: turn %u, expected %u\n",
				me == CHILD ? "child" : "parent", sh->turns,
				2 * i + me);
			_exit(EXIT_FAILURE);
		}
		sh->turns++;
		give(dev, sh, me);
	}
}

int main(int argc, char **argv)
{
	const __u32 rounds = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000;
	struct shared *sh;
	int dev, status;
	__s64 start;
	pid_t child;

	dev = open("/dev/rfutex", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		die("/dev/rfutex");
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED)
		die("mmap");

	start = now();
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		play(dev, sh, CHILD, rounds);
		_exit(EXIT_SUCCESS);
	}
	play(dev, sh, PARENT, rounds);
	if (waitpid(child, &status, 0) != child)
		die("waitpid");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_SUCCESS)
		return EXIT_FAILURE;

	printf("%u turns between parent %d and child %d in %lld us\n",
	       sh->turns, getpid(), child,
	       (long long)(now() - start) / 1000);
	printf("the parent slept %u times, the child %u times\n",
	       sh->sleeps[PARENT], sh->sleeps[CHILD]);
	return sh->turns == 2 * rounds ? EXIT_SUCCESS : EXIT_FAILURE;
}
