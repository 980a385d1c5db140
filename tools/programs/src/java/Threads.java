// SPDX-License-Identifier: GPL-2.0

import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.LongStream;

/** Threads that meet on what the language and its library have for that. */
public class Threads {
    static final int THREADS = 8;
    static final int ROUNDS = 2000;

    interface Work {
        void run(int number) throws Exception;
    }

    static void all(Work work) throws Exception {
        Thread[] threads = new Thread[THREADS];
        Exception[] failed = new Exception[1];
        for (int i = 0; i < THREADS; i++) {
            int number = i;
            threads[i] = new Thread(() -> {
                try {
                    work.run(number);
                } catch (Exception e) {
                    failed[0] = e;
                }
            });
            threads[i].start();
        }
        for (Thread thread : threads)
            thread.join();
        if (failed[0] != null)
            throw failed[0];
    }

    /** A monitor, and garbage for the collector. */
    static long monitor() throws Exception {
        long[] total = new long[1];
        all(number -> {
            for (int i = 0; i < ROUNDS; i++) {
                byte[] garbage = new byte[4096];
                synchronized (total) {
                    total[0] += 1 + garbage[i];
                }
            }
        });
        return total[0];
    }

    static long turns() throws Exception {
        ReentrantLock lock = new ReentrantLock();
        Condition changed = lock.newCondition();
        int[] turn = new int[1];
        all(number -> {
            for (int i = 0; i < ROUNDS / 20; i++) {
                lock.lock();
                try {
                    while (turn[0] % THREADS != number)
                        changed.await();
                    turn[0]++;
                    changed.signalAll();
                } finally {
                    lock.unlock();
                }
            }
        });
        return turn[0];
    }

    static long channel() throws Exception {
        ArrayBlockingQueue<Integer> jobs = new ArrayBlockingQueue<>(4);
        long[] sums = new long[THREADS];
        all(number -> {
            for (int i = 0; i < ROUNDS / 4; i++)
                if (number % 2 == 0)
                    jobs.put(i);
                else
                    sums[number] += jobs.take();
        });
        return LongStream.of(sums).sum();
    }

    static long barrier() throws Exception {
        CyclicBarrier meet = new CyclicBarrier(THREADS);
        CountDownLatch done = new CountDownLatch(THREADS);
        int[] steps = new int[THREADS];
        all(number -> {
            for (int i = 0; i < ROUNDS / 40; i++) {
                steps[number]++;
                meet.await();
                for (int other : steps)
                    if (other < i + 1)
                        throw new IllegalStateException("somebody was not there");
                meet.await();
            }
            done.countDown();
        });
        done.await();
        return steps[0];
    }

    static long pool() throws Exception {
        CompletableFuture<Long> half = CompletableFuture.supplyAsync(
            () -> LongStream.range(0, 20000).parallel().map(i -> i * i % 7).sum());
        return half.thenCombineAsync(CompletableFuture.supplyAsync(() -> 1000000L), Long::sum).get();
    }

    public static void main(String[] arguments) throws Exception {
        System.out.println("result: " + monitor() + " " + turns() + " " + channel() + " "
            + barrier() + " " + pool());
    }
}
