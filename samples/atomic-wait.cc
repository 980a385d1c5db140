// SPDX-License-Identifier: GPL-2.0
/*
 * std::atomic<T>::wait() and notify_one() for a T of 8 bytes, as a C++ library
 * could have them.
 *
 * futex(2) compares 32 bits. So libc++ and libstdc++ cannot let a thread sleep on
 * an atomic of 8 bytes. Their threads sleep on counters of 32 bits in a table of
 * the process, in which many atomics share a counter: notify_one() has to wake all
 * who sleep there, and no other process can. Here they sleep on the atomic itself.
 *
 * Two threads take turns. Only the upper half of the atomic says whose turn it is:
 * the lower half, with which futex(2) would have to do, never changes.
 */
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <err.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/rfutex.h>

namespace {

const int dev = open("/dev/rfutex", O_RDWR | O_CLOEXEC);

/* Return when the atomic has another value than @old. */
void atomic_wait(const std::atomic<std::int64_t> &atomic, std::int64_t old)
{
	rfutex_wait wait = {};

	wait.word.addr = reinterpret_cast<std::uintptr_t>(&atomic);
	wait.word.size = sizeof(old);
	wait.val = static_cast<std::uint64_t>(old);
	wait.mask = RFUTEX_MASK_ANY;
	while (atomic.load(std::memory_order_acquire) == old)
		if (ioctl(dev, RFUTEX_WAIT, &wait) && errno != EAGAIN && errno != EINTR)
			err(1, "RFUTEX_WAIT");
}

void atomic_notify_one(const std::atomic<std::int64_t> &atomic)
{
	if (ioctl(dev, RFUTEX_WAKE_ONE, &atomic) < 0)
		err(1, "RFUTEX_WAKE_ONE");
}

constexpr int turns = 2000;
constexpr std::int64_t one_turn = std::int64_t{1} << 32;
std::atomic<std::int64_t> stamp{0};

/* Take every other turn, from @turn on. */
void play(int turn)
{
	for (; turn < turns; turn += 2) {
		atomic_wait(stamp, (turn - 1) * one_turn);
		if (stamp.exchange((turn + 1) * one_turn) != turn * one_turn)
			errx(1, "turn %d came too early", turn);
		atomic_notify_one(stamp);
	}
}

} // namespace

int main()
{
	alarm(60);	/* If a wake is lost, this ends the program. */
	std::thread other(play, 1);
	play(0);
	other.join();
	std::printf("%d turns of two threads\n", turns);
	return stamp != turns * one_turn;
}
