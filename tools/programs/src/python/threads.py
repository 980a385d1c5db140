# SPDX-License-Identifier: GPL-2.0
"""Threads and processes that meet on whatever Python's library has for that."""

import multiprocessing
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

THREADS = 8
ROUNDS = 1000

# Often enough that threads are interrupted in all places.
sys.setswitchinterval(0.0005)


def all_of(count, work):
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def lock():
    mutex, total = threading.Lock(), [0]

    def work(_):
        for _ in range(ROUNDS):
            with mutex:
                before = total[0]
                total[0] = before + 1

    all_of(THREADS, work)
    return total[0]


def turns():
    condition, turn = threading.Condition(), [0]

    def work(number):
        for _ in range(ROUNDS // 4):
            with condition:
                condition.wait_for(lambda: turn[0] % THREADS == number)
                turn[0] += 1
                condition.notify_all()

    all_of(THREADS, work)
    return turn[0]


def barrier():
    meet, arrived, early = threading.Barrier(THREADS), [0] * THREADS, [0]

    def work(number):
        for step in range(1, ROUNDS // 4):
            arrived[number] = step
            meet.wait()
            if min(arrived) < step:
                early[0] += 1
            meet.wait()

    all_of(THREADS, work)
    assert early[0] == 0
    return min(arrived)


def channel():
    jobs, done = queue.Queue(maxsize=4), queue.Queue()

    def work(number):
        if number % 2:
            for value in range(ROUNDS):
                jobs.put(value)
        else:
            done.put(sum(jobs.get() for _ in range(ROUNDS)))

    all_of(THREADS, work)
    return sum(done.get() for _ in range(THREADS // 2))


def pool():
    with ThreadPoolExecutor(THREADS) as executor:
        return sum(executor.map(lambda value: value * value, range(ROUNDS)))


def child(mutex, total):
    for _ in range(ROUNDS):
        with mutex:
            total.value += 1


def processes():
    # Its lock is a semaphore in memory that processes share.
    context = multiprocessing.get_context("fork")
    mutex, total = context.Lock(), context.Value("i", 0, lock=False)
    children = [context.Process(target=child, args=(mutex, total)) for _ in range(3)]
    for process in children:
        process.start()
    for process in children:
        process.join()
        assert process.exitcode == 0
    return total.value


print("result:", *(work() for work in (lock, turns, barrier, channel, pool, processes)))
