// SPDX-License-Identifier: GPL-2.0
/*
 * C++ through a wait: a signal handler throws, and a thread is cancelled, while it sleeps in the
 * C library. What was constructed on the way is destroyed. Exits with 0, or aborts.
 */
#undef NDEBUG
#include <atomic>
#include <cassert>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>

#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void until_asleep(pid_t tid)
{
	auto path = "/proc/self/task/" + std::to_string(tid) + "/syscall";

	for (;;) {
		char text[64] = "";
		auto *file = std::fopen(path.c_str(), "r");

		assert(file && std::fgets(text, sizeof(text), file));
		std::fclose(file);
		auto number = std::strtol(text, nullptr, 10);
		if (std::strncmp(text, "running", 7) != 0 &&
		    (number == SYS_futex || number == SYS_ioctl))
			return;
		const timespec moment = { 0, 1000 * 1000 };
		nanosleep(&moment, nullptr);
	}
}

static std::atomic<int> destroyed;

struct Destroyed {
	~Destroyed() { destroyed++; }
};

struct Thrown {
};

static void raise_exception(int)
{
	throw Thrown();
}

/* With -fnon-call-exceptions, a handler of a signal may throw out of where it interrupted. */
static void thrown_through_a_wait()
{
	std::atomic<pid_t> tid{};
	bool caught = false;
	sem_t never;

	struct sigaction action = {};
	action.sa_handler = raise_exception;
	action.sa_flags = SA_NODEFER;
	assert(sigaction(SIGUSR1, &action, nullptr) == 0);
	destroyed = 0;
	assert(sem_init(&never, 0, 0) == 0);
	std::thread waiter([&] {
		Destroyed on_the_way;

		try {
			Destroyed inside;

			tid = gettid();
			sem_wait(&never);
		} catch (const Thrown &) {
			caught = true;
		}
	});
	while (!tid)
		std::this_thread::yield();
	until_asleep(tid);
	assert(pthread_kill(waiter.native_handle(), SIGUSR1) == 0);
	waiter.join();
	assert(caught && destroyed == 2);
}

static void *wait_for_ever(void *argument)
{
	auto &tid = *static_cast<std::atomic<pid_t> *>(argument);
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t never = PTHREAD_COND_INITIALIZER;
	Destroyed on_the_way;

	pthread_mutex_lock(&lock);
	tid = gettid();
	for (;;)
		pthread_cond_wait(&never, &lock);
}

static void cancelled_in_a_wait()
{
	std::atomic<pid_t> tid{};
	pthread_t thread;
	void *result;

	destroyed = 0;
	assert(pthread_create(&thread, nullptr, wait_for_ever, &tid) == 0);
	while (!tid)
		std::this_thread::yield();
	until_asleep(tid);
	assert(pthread_cancel(thread) == 0);
	assert(pthread_join(thread, &result) == 0);
	assert(result == PTHREAD_CANCELED);
	assert(destroyed == 1);
}

/* libstdc++'s own, which call the C library or syscall(). */
static void turns()
{
	std::mutex lock;
	std::condition_variable changed;
	std::atomic<int> turn{};
	int other = 0;

	std::thread thread([&] {
		for (int i = 0; i < 200; i++) {
			std::unique_lock<std::mutex> held(lock);

			changed.wait(held, [&] { return other == 2 * i + 1; });
			other++;
			changed.notify_one();
			turn++;
		}
	});
	for (int i = 0; i < 200; i++) {
		std::unique_lock<std::mutex> held(lock);

		other++;
		changed.notify_one();
		changed.wait(held, [&] { return other == 2 * i + 2; });
	}
	thread.join();
	assert(turn == 200);
}

int main()
{
	turns();
	cancelled_in_a_wait();
	thrown_through_a_wait();
	return 0;
}
