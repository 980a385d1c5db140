// SPDX-License-Identifier: GPL-2.0
/*
 * Processes with several threads each that write to and read from one map of LMDB. The
 * lock of its writers is robust and shared: a process that dies with it is followed by
 * the next. One does.
 */

#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 3, THREADS = 3, ROUNDS = 1500 };

#define CHECK(call) check(call, #call)

static MDB_env *env;
static MDB_dbi dbi;
static pthread_barrier_t together;

static void check(int error, const char *call)
{
	if (!error)
		return;
	fprintf(stderr, "%s: %s\n", call, mdb_strerror(error));
	_exit(1);
}

static void open_map(const char *path)
{
	CHECK(mdb_env_create(&env));
	CHECK(mdb_env_set_mapsize(env, 64 << 20));
	CHECK(mdb_env_open(env, path, MDB_NOSYNC, 0600));
}

static long count(MDB_txn *txn)
{
	MDB_val key = { 5, "count" }, value;
	long nr = 0;
	int error = mdb_get(txn, dbi, &key, &value);

	if (error == MDB_NOTFOUND)
		return 0;
	check(error, "mdb_get");
	memcpy(&nr, value.mv_data, sizeof(nr));
	return nr;
}

/* Adds one in a transaction. With `dies`, the process ends in the middle of it. */
static void add(int dies)
{
	MDB_txn *txn;
	MDB_val key = { 5, "count" }, value;
	long nr;

	CHECK(mdb_txn_begin(env, NULL, 0, &txn));
	nr = count(txn) + 1;
	value.mv_size = sizeof(nr);
	value.mv_data = &nr;
	CHECK(mdb_put(txn, dbi, &key, &value, 0));
	if (dies)
		kill(getpid(), SIGKILL);
	CHECK(mdb_txn_commit(txn));
}

static void *work(void *unused)
{
	MDB_txn *txn;
	long last = 0, now;

	for (int i = 0; i < ROUNDS; i++) {
		/* All threads of the process try at once. */
		pthread_barrier_wait(&together);
		add(0);
		CHECK(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
		now = count(txn);
		mdb_txn_abort(txn);
		if (now <= last)
			_exit(2);
		last = now;
	}
	return unused;
}

static void open_table(const char *path)
{
	MDB_txn *txn;

	open_map(path);
	CHECK(mdb_txn_begin(env, NULL, 0, &txn));
	CHECK(mdb_dbi_open(txn, NULL, 0, &dbi));
	CHECK(mdb_txn_commit(txn));
}

static void child(const char *path)
{
	pthread_t threads[THREADS];

	open_table(path);
	CHECK(pthread_barrier_init(&together, NULL, THREADS));
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, work, NULL));
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL));
	mdb_env_close(env);
	/* exit, not _exit: as a program ends. */
	exit(0);
}

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : ".";
	int good = 0, killed = 0, status;
	MDB_txn *txn;

	for (int i = 0; i < PROCESSES; i++)
		if (fork() == 0)
			child(path);
	if (fork() == 0) {
		open_table(path);
		add(1);
	}
	while (wait(&status) > 0) {
		good += WIFEXITED(status) && WEXITSTATUS(status) == 0;
		killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	}
	open_table(path);
	CHECK(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
	printf("result: %ld transactions, %d processes ended well, %d was killed\n",
	       count(txn), good, killed);
	mdb_txn_abort(txn);
	mdb_env_close(env);
	return 0;
}
