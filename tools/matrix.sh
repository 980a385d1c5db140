#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# matrix.sh [PART]: runs the tests, or compiles the module, on every kernel that is known
# here, one after another, and prints a table with what became of each and when it was begun.
# With PART, it is the one of that name, or else those with PART in their names. With BRIEF=1,
# the tests are those of a brief run. Exits with 1 if one of them failed.

. "$(dirname "$0")/kernel/lib.sh"

part=${1:-}
# What chose among the kernels does not choose among the tests.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL TESTS
BRIEF=${BRIEF:-}
export -n BRIEF
log=$TOP/build/matrix
mkdir -p "$log"

# Name, what is done, and make's arguments.
rows=(
	"7.3|tests|check"
	"7.3 with PREEMPT_RT|tests|check FLAVOUR=debug-rt"
	"7.3 on arm64|tests, emulated|check ARCH=arm64"
	"7.2|tests|check KERNEL=7.2"
	"7.3 of Debian|tests|check FLAVOUR=stock"
	"7.3 of Debian with PREEMPT_RT|tests|check FLAVOUR=stock-rt"
)
for file in "$TOOLS_KERNEL"/config/builds/*.config; do
	name=$(basename "$file" .config)
	rows+=("7.3 $name|compiled|builds TESTS=$name")
done

# The name of one may be a part of the names of others.
exactly=
for row in "${rows[@]}"; do
	[ "${row%%|*}" != "$part" ] || exactly=y
done
# chosen NAME: whether that one is to run.
chosen() { if [ "$exactly" ]; then [ "$1" = "$part" ]; else [[ $1 = *"$part"* ]]; fi; }

# result LOG: the last line of the tests, or of what compiles.
result() { tail -n 400 "$1" | grep -Eo '[0-9]+ passed, [0-9]+ failed.*|the module builds|skip .*' | tail -n 1; }

failed=0 table=()
for row in "${rows[@]}"; do
	IFS='|' read -r name what arguments <<<"$row"
	chosen "$name" || continue
	[ "${arguments%% *}" != check ] || arguments+=${BRIEF:+ BRIEF=1}
	date=$(date +%F)
	file=$log/${name// /-}.log
	say matrix "$name: make $arguments (log: $file)"
	status=0
	# shellcheck disable=SC2086 # one word an argument
	make -C "$TOP" --no-print-directory $arguments >"$file" 2>&1 || status=$?
	outcome=$(result "$file" || true)
	[ "$status" = 0 ] || { failed=1 outcome="**failed**: ${outcome:-see the log}"; }
	table+=("| Linux $name | $what | \`make $arguments\` | $outcome | $date |")
done
[ "${#table[@]}" != 0 ] || die "no kernel has \"$part\" in its name"

printf '\nAt %s:\n\n' "$(git -C "$TOP" describe --always --dirty)"
printf '%s\n' '| Kernel | What | Command | Result | Date |' '|---|---|---|---|---|' "${table[@]}"
exit "$failed"
