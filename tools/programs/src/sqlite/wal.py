# SPDX-License-Identifier: GPL-2.0
"""Threads of several processes that write to and read from one database of SQLite."""

import multiprocessing
import sqlite3
import sys
import threading

PROCESSES, THREADS, ROWS = 3, 3, 600
PATH = sys.argv[1]


def connect():
    database = sqlite3.connect(PATH, timeout=300, isolation_level=None, check_same_thread=False)
    database.execute("pragma synchronous = off")
    return database


def write(database, mutex, who):
    for row in range(ROWS):
        with mutex:
            database.execute("begin immediate")
            (total,) = database.execute("select count(*) from rows").fetchone()
            database.execute("insert into rows values (?, ?, ?)", (who, row, total))
            database.execute("commit")


def child(process):
    # Half of a process's threads share one connection, whose own mutex is the library's.
    shared, mutex = connect(), threading.Lock()
    threads = []
    for number in range(THREADS):
        who = process * THREADS + number
        own = (connect(), threading.Lock()) if number == 0 else (shared, mutex)
        threads.append(threading.Thread(target=write, args=(*own, who)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


first = connect()
first.execute("pragma journal_mode = wal")
first.execute("create table rows (who, number, total unique)")
first.close()
context = multiprocessing.get_context("fork")
children = [context.Process(target=child, args=(number,)) for number in range(PROCESSES)]
for process in children:
    process.start()
for process in children:
    process.join()
    assert process.exitcode == 0
database = connect()
(check,) = database.execute("pragma integrity_check").fetchone()
count, most = database.execute("select count(*), max(total) from rows").fetchone()
print(f"result: {count} rows, the last had {most} before it, integrity {check}")
