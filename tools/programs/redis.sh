#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Redis, with threads for its connections, and its own benchmark; on a socket in the file system.
. "$(dirname "$0")/lib.sh"

requests=4000
cli() { redis-cli -s redis.sock "$@"; }
bench() {
	redis-benchmark -s redis.sock -n "$requests" -c 8 -P 4 --threads 2 -q \
		-t set,get,incr,lpush,lpop,sadd
	# What is thrown away here is so large that a thread of the server's does it.
	redis-benchmark -s redis.sock -n 500 -c 8 -q eval \
		"for i = 1, 100 do redis.call('rpush', KEYS[1], i) end
		redis.call('incr', 'thrown')
		return redis.call('unlink', KEYS[1])" 1 large
}

redis-server --port 0 --unixsocket "$work/redis.sock" --dir "$work" --save '' --appendonly yes \
	--appendfsync everysec --daemonize no --loglevel warning &
server=$!
until_is cli ping
measured bench | tr '\r' '\n' | grep -e 'requests per second' -e measured
echo "result: counter $(cli get counter:__rand_int__), set of $(cli scard myset)," \
	"$(cli get thrown) thrown away, $(cli exists large) left over"
cli shutdown nosave || true
wait "$server"
