#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# PostgreSQL with pgbench, which checks nothing itself: what the tables hold in the end has
# to be what it says it did.
. "$(dirname "$0")/lib.sh"

clients=8 each=250
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
# It refuses to be root.
as_user postgres

sql() { "${user[@]}" psql -h "$work" -d postgres -X -A -t -q -c "$1"; }
bench() { "${user[@]}" pgbench -h "$work" -n -c "$clients" -j 4 -t "$each" postgres; }

"${user[@]}" initdb -D "$work/data" -A trust --no-locale -E SQL_ASCII --no-sync >initdb.log
"${user[@]}" postgres -D "$work/data" -k "$work" -c listen_addresses= -c fsync=off \
	-c shared_buffers=32MB -c autovacuum=off -c log_min_messages=warning \
	-c max_parallel_workers_per_gather=2 -c jit=off &
server=$!
until_is "${user[@]}" pg_isready -q -h "$work"
"${user[@]}" pgbench -h "$work" -q -i -s 1 postgres >init.log 2>&1
measured bench | tee bench.log
grep -q "^number of failed transactions: 0 " bench.log
# Several processes for one query, over a queue in memory that they share.
parallel="set parallel_setup_cost = 0; set parallel_tuple_cost = 0;
	set min_parallel_table_scan_size = 0; select sum(aid) from pgbench_accounts"
echo "result: $(sed -n 's/^number of transactions actually processed: //p' bench.log) transactions," \
	"$(sql 'select count(*) from pgbench_history') in the history, balances differ by" \
	"$(sql 'select (select sum(abalance) from pgbench_accounts) - (select sum(delta) from pgbench_history)')," \
	"sum $(sql "$parallel")"
kill -INT "$server"
wait "$server"
