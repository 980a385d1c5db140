#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# stress-ng's stressors that consist of threads and locks, each until it has done so much.
. "$(dirname "$0")/lib.sh"

declare -A least=([futex]=20000 [mutex]=5000 [pthread]=300)
# As one who may not have a thread run before all others: the first one of "mutex" would
# otherwise do everything before the next is there, which is then said to be a failure.
as_user nobody
stress() {
	local name options=()
	for name in "${!least[@]}"; do
		options+=("--$name" 2 "--$name-ops" "${least[$name]}")
	done
	"${user[@]}" stress-ng --temp-path "$work" --verify --metrics-brief --no-rand-seed "${options[@]}" 2>&1 | tee log
}
measured stress
grep -q 'successful run completed' log
for name in futex mutex pthread; do
	done=$(awk -v name="$name" '$4 == name && $5 ~ /^[0-9]+$/ { print $5 }' log)
	[ "$done" -ge "${least[$name]}" ] || { echo "$name has done $done" >&2; exit 1; }
done
echo "result: futex mutex pthread"
