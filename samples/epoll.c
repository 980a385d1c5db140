// SPDX-License-Identifier: GPL-2.0
/*
 * A channel between two processes, each with an event loop. The parent sends
 * numbers, and the child answers each of them with its square.
 *
 * The channel is shared memory with two rings of numbers, one for each direction.
 * Each process waits with epoll for two things at once: that the other has changed
 * a word of the rings (a watch set), and that the other has ended (a socket).
 *
 * This needs include/uapi/linux/rfutex.h and nothing else; see the Makefile here.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/rfutex.h>

#define NUMBERS	2000
/* How many numbers a ring has room for. */
#define ROOM	16

/* One direction, with one sender and one receiver. */
struct ring {
	__u32 sent;		/* only the sender changes it */
	__u32 received;		/* only the receiver changes it */
	__u64 numbers[ROOM];
};

/* What both processes have mapped. */
struct shared {
	struct ring questions;
	struct ring answers;
};

/* What a process has for itself. */
struct side {
	int dev;
	int set;
	int epoll;
	int socket;
};

static void die(const char *what)
{
	fprintf(stderr, "epoll: %s: %s\n", what, strerror(errno));
	_exit(EXIT_FAILURE);
}

static __u32 load(__u32 *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* Change a word, and tell the other process if it watches it. */
static void tell(struct side *me, __u32 *word, __u32 value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	if (ioctl(me->dev, RFUTEX_WAKE_ONE, word) < 0)
		die("RFUTEX_WAKE_ONE");
}

/* Return false if there is no room. */
static int send_number(struct side *me, struct ring *ring, __u64 number)
{
	if (ring->sent - load(&ring->received) == ROOM)
		return 0;
	ring->numbers[ring->sent % ROOM] = number;
	tell(me, &ring->sent, ring->sent + 1);
	return 1;
}

/* Return false if there is none. */
static int receive_number(struct side *me, struct ring *ring, __u64 *number)
{
	if (load(&ring->sent) == ring->received)
		return 0;
	*number = ring->numbers[ring->received % ROOM];
	tell(me, &ring->received, ring->received + 1);
	return 1;
}

/* Have an event in the set whenever somebody wakes on @word from now on. */
static void watch(struct side *me, __u32 *word)
{
	struct rfutex_watch_add add = {
		.word = { .addr = (uintptr_t)word, .size = sizeof(*word) },
		.mask = RFUTEX_MASK_ANY,
		.flags = RFUTEX_WATCH_REPEAT,
	};
	int error;

	do {
		add.val = load(word);
		error = ioctl(me->set, RFUTEX_WATCH_ADD, &add);
	} while (error && errno == EAGAIN);
	if (error)
		die("RFUTEX_WATCH_ADD");
}

static void add_to_epoll(struct side *me, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(me->epoll, EPOLL_CTL_ADD, fd, &event))
		die("epoll_ctl");
}

static void set_up(struct side *me, int socket, __u32 *one, __u32 *other)
{
	struct rfutex_watches_create create = {
		.flags = RFUTEX_WATCHES_CLOEXEC | RFUTEX_WATCHES_NONBLOCK,
	};

	me->dev = open("/dev/rfutex", O_RDWR | O_CLOEXEC);
	if (me->dev < 0)
		die("/dev/rfutex");
	me->set = ioctl(me->dev, RFUTEX_WATCHES_CREATE, &create);
	if (me->set < 0)
		die("RFUTEX_WATCHES_CREATE");
	me->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (me->epoll < 0)
		die("epoll_create1");
	me->socket = socket;
	add_to_epoll(me, me->set);
	add_to_epoll(me, me->socket);
	watch(me, one);
	watch(me, other);
}

/* Wait for a wake. Return false if the other process has ended. */
static int next_event(struct side *me)
{
	struct rfutex_event events[4];
	struct epoll_event ready;

	while (epoll_wait(me->epoll, &ready, 1, -1) < 0)
		if (errno != EINTR)
			die("epoll_wait");
	if (ready.data.fd == me->socket)
		return 0;
	/* Which of the words it was makes no difference: look at both. */
	if (read(me->set, events, sizeof(events)) < 0 && errno != EAGAIN)
		die("read");
	return 1;
}

static int child(struct shared *sh, int socket)
{
	struct side me;
	int pending = 0;
	__u64 number;

	set_up(&me, socket, &sh->questions.sent, &sh->answers.received);
	do {
		for (;;) {
			if (!pending)
				pending = receive_number(&me, &sh->questions,
							 &number);
			if (!pending ||
			    !send_number(&me, &sh->answers, number * number))
				break;
			pending = 0;
		}
	} while (next_event(&me));
	return EXIT_SUCCESS;
}

static void parent(struct shared *sh, int socket)
{
	__u64 sent = 0, received = 0, answer;
	struct side me;

	set_up(&me, socket, &sh->questions.received, &sh->answers.sent);
	for (;;) {
		while (sent < NUMBERS && send_number(&me, &sh->questions, sent))
			sent++;
		while (receive_number(&me, &sh->answers, &answer)) {
			if (answer != received * received) {
				fprintf(stderr, "epoll: a wrong answer\n");
				_exit(EXIT_FAILURE);
			}
			received++;
		}
		if (received == NUMBERS)
			return;
		if (!next_event(&me)) {
			fprintf(stderr, "epoll: the child has ended\n");
			_exit(EXIT_FAILURE);
		}
	}
}

int main(void)
{
	struct shared *sh;
	int ends[2], status;
	pid_t pid;

	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED)
		die("mmap");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		die("socketpair");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		close(ends[0]);
		_exit(child(sh, ends[1]));
	}
	close(ends[1]);
	parent(sh, ends[0]);
	/* This ends the child. */
	close(ends[0]);
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	printf("%d numbers were sent and answered\n", NUMBERS);
	return EXIT_SUCCESS;
}
