# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the scripts share that run a program in the VM, beginning in an empty directory.
# Each prints a line "result: ...", which programs.toml has, and only what it has seen
# the program do is in it.

set -euo pipefail
# Where the other files of this directory are, and what was built for it.
# shellcheck disable=SC2034 # the scripts use it
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d /tmp/program.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"

processors=$(nproc)

# measured COMMAND...: runs it, and says how long it took and for how much of that a
# processor was busy, in hundredths of a second. On a machine that counts time in
# instructions, both are instructions, but for the time in which nothing was done.
measured() {
	local began idle_before ended idle_after elapsed
	read -r began idle_before </proc/uptime
	"$@"
	read -r ended idle_after </proc/uptime
	elapsed=$((10#${ended/./} - 10#${began/./}))
	echo "measured: elapsed $elapsed busy $((elapsed * processors - (10#${idle_after/./} - 10#${idle_before/./})))"
}

# as_user NAME: sets "user" to what runs a command as that user, to whom the directory belongs.
# The library keeps nothing in a directory of root's for him, so he has one of his own, which
# stays until the machine ends.
as_user() {
	local kept=/tmp/kept-$1
	[ -d "$kept" ] || install -d -m 700 -o "$1" "$kept"
	chown "$1" "$work"
	# shellcheck disable=SC2034 # the scripts use it
	user=(setpriv --reuid="$1" --regid="$(id -g "$1")" --clear-groups
		env HOME="$work" RFUTEX_PRELOAD_CACHE="$kept")
}

# until_is COMMAND...: waits until COMMAND succeeds. There is no limit but the harness's: on the
# machine that counts time in instructions, much time goes by while the host reads a file.
until_is() {
	until "$@" >/dev/null 2>&1; do
		sleep 0.1
	done
}
