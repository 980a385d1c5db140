#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# litmus.sh [PART]: runs the tests of tools/litmus (those with PART in their
# name) with herd7 and the kernel's own memory model. A line a test.
#
# A test is a C litmus test of the kernel's kind. Lines of its first comment
# that are read here:
#
#   Result: Never               what herd7 must say
#   Code: FILE: TEXT            FILE has TEXT in one line, below that of the Code
#                               before it, or the test is stale
#   Without WHAT: OLD => NEW    a test of its own, with OLD replaced by NEW, to
#       and: OLD => NEW         which herd7 must say Sometimes
#
# No text in that comment may have an opening parenthesis before an asterisk.

. "$(dirname "$0")/kernel/lib.sh"
. "$(dirname "$0")/kernel/debian.sh"

work=$TOP/build/litmus
passed=0 failed=0

# A newer suite's programs want that suite's C library: it comes along, and its
# own loader runs them.
unpack_herd() {
	local dir=$1 package loader
	say download "herd7, 40 MB, from Debian $HERD_SUITE"
	for package in herdtools7 libc6 libgmp10; do
		mkdir "$dir/$package"
		DEBIAN_SUITE=$HERD_SUITE package_fetch "$dir/$package" "$package" '*'
		unpack_deb "$dir/$package/$package.deb" "$dir/debian"
		rm "$dir/$package/$package.deb"
	done
	mkdir "$dir/bin"
	loader=$(cd "$dir" && echo debian/usr/lib/*/ld-linux-*.so.*)
	cat >"$dir/bin/herd7" <<-SCRIPT
	#!/bin/sh
	dir=\$(cd "\$(dirname "\$0")/.." && pwd)
	exec "\$dir/$loader" --library-path "\$dir/${loader%/*}" "\$dir/debian/usr/bin/herd7" \
		-set-libdir "\$dir/debian/usr/share/herdtools7/herd" "\$@"
	SCRIPT
	chmod +x "$dir/bin/herd7"
	entry_finish "$dir" bin/herd7 "$loader" debian/usr/bin/herd7 \
		debian/usr/share/herdtools7/herd/stdlib.cat
}

# The system's own wins where it is new enough for the kernel's model.
find_herd() {
	local version dir
	version=$(herd7 -version 2>/dev/null | grep -oE '^[0-9.]+' || true)
	if [ -n "$version" ] && at_least "$version" "$HERD_VERSION"; then
		command -v herd7
	else
		dir=$(make_entry "herd7-$HERD_VERSION" unpack_herd)
		printf '%s/bin/herd7\n' "$dir"
	fi
}

# verdict NAME WANT GOT: the line of one test.
verdict() {
	if [ "$2" = "$3" ]; then
		printf 'ok    %-9s %s\n' "$3" "$1"
		passed=$((passed + 1))
	else
		printf 'FAIL  %-9s %s (should be: %s)\n' "$3" "$1" "$2"
		failed=$((failed + 1))
	fi
}

# observe FILE: what herd7 says of it. A broken test says nothing.
observe() {
	local said
	said=$(cd "$work/memory-model" && "$herd" -conf linux-kernel.cfg "$1" 2>&1) || true
	case $said in
	*'Flag data-race'*) [ "${2:-}" ] || { echo Racy; return; } ;;
	esac
	said=$(printf '%s\n' "$said" | awk '/^Observation / { print $3 }')
	echo "${said:-Error}"
}

# replace TEXT OLD NEW: TEXT with OLD, which it must have once, replaced.
replace() {
	local rest=${1#*"$2"}
	if [ "$rest" = "$1" ] || [ "${rest#*"$2"}" != "$rest" ]; then
		printf 'not once in the test: %s\n' "$2" >&2
		return 1
	fi
	printf '%s%s%s' "${1%%"$2"*}" "$3" "$rest"
}

# find_code FILE FROM TEXT: prints the number of the first line at FROM or below
# that has TEXT, and not as the end of a longer word.
find_code() {
	FROM=$2 TEXT=$3 awk '
		BEGIN { text = ENVIRON["TEXT"]; is_word = text ~ /^[[:alnum:]_]/ }
		NR >= ENVIRON["FROM"] {
			before = ""
			rest = $0
			while (at = index(rest, text)) {
				before = before substr(rest, 1, at - 1)
				if (!is_word || before !~ /[[:alnum:]_]$/) {
					print NR
					exit
				}
				before = before substr(rest, at, 1)
				rest = substr(rest, at + 1)
			}
		}' "$1"
}

# check_code NAME HEAD: says which code that the test is about is not there, or
# no longer in that order.
check_code() {
	local file text line
	local -A next=()
	while IFS= read -r text; do
		file=${text%%: *}
		text=${text#*: }
		line=$(find_code "$TOP/$file" "${next[$file]:-1}" "$text")
		if [ -n "$line" ]; then
			next[$file]=$((line + 1))
		else
			verdict "$1: $file" "$text" Stale
		fi
	done < <(sed -n 's/^ \* Code: //p' <<<"$2")
}

# run_without NAME BODY WHAT EDIT...: one weakened version of a test.
run_without() {
	local name="$1 without $3" body=$2 file=$work/$1-${3//[^a-zA-Z]/-}.litmus edit
	for edit in "${@:4}"; do
		# What is left of a line's end is the empty text.
		edit="$edit "
		body=$(replace "$body" "${edit%% => *}" "${edit#* => }") || { verdict "$name" Sometimes Error; return; }
	done
	printf '%s\n' "$body" >"$file"
	verdict "$name" Sometimes "$(observe "$file" racy)"
}

run_test() {
	local file=$1 name head body line what='' edits=()
	name=$(basename "$file" .litmus)
	head=$(sed '/^ \*)$/q' "$file")
	# The comment goes: it has the same words.
	body=$(printf 'C %s\n' "$name" && sed '1,/^ \*)$/d' "$file")
	check_code "$name" "$head"
	verdict "$name" "$(sed -n 's/^ \* Result: //p' <<<"$head")" "$(observe "$file")"
	while IFS= read -r line; do
		case $line in
		' * Without '*)
			[ -z "$what" ] || run_without "$name" "$body" "$what" "${edits[@]}"
			line=${line#' * Without '}
			what=${line%%: *} edits=("${line#*: }") ;;
		' *     and: '*) edits+=("${line#*and: }") ;;
		esac
	done <<<"$head"
	[ -z "$what" ] || run_without "$name" "$body" "$what" "${edits[@]}"
}

herd=$(find_herd)
source_dir=$("$TOOLS_KERNEL/source.sh")
rm -rf "$work"
mkdir -p "$work"
cp -r "$source_dir/tools/memory-model" "$work/memory-model"
for file in "$TOP"/tools/litmus/*"${1:-}"*.litmus; do
	[ -e "$file" ] || die "no litmus test is called *${1:-}*"
	run_test "$file"
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
