// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/rfutex.h>

int main(void)
{
	int dev = open("/dev/rfutex", O_RDWR);
	char *ready = mmap(NULL, 1, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct rfutex_wait wait = {
		.word = { .addr = (uintptr_t)ready, .size = 1 },
		.val = 0,		/* sleep while the word is 0 */
		.mask = RFUTEX_MASK_ANY,
	};
	pid_t child;

	if (dev < 0 || ready == MAP_FAILED)
		return 1;
	child = fork();
	if (child == 0) {
		__atomic_store_n(ready, 1, __ATOMIC_RELEASE);
		return ioctl(dev, RFUTEX_WAKE_ALL, ready) < 0;
	}
	while (child > 0 && !__atomic_load_n(ready, __ATOMIC_ACQUIRE))
		if (ioctl(dev, RFUTEX_WAIT, &wait) &&
		    errno != EAGAIN && errno != EINTR)
			return 1;
	return child < 0 || puts("the child is ready") < 0;
}
