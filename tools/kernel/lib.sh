# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared by the set-up scripts: where things are cached, how a step is
# announced, and how two runs at once stay out of each other's way.

set -euo pipefail
# What fails in a command substitution fails: functions print what they make.
shopt -s inherit_errexit

TOOLS_KERNEL=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOP=$(cd "$TOOLS_KERNEL/../.." && pwd)
export TOP
# shellcheck source=tools/kernel/versions.sh
. "$TOOLS_KERNEL/versions.sh"

[ -n "$KERNEL_VERSION" ] ||
	{ echo "rfutex: KERNEL=$KERNEL_SERIES is none of the kernels that are known here: $KERNELS" >&2; exit 1; }

CACHE=${RFUTEX_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rfutex}
mkdir -p "$CACHE"
CACHE=$(cd "$CACHE" && pwd)
export CACHE

say() { printf '  %-10s %s\n' "$1" "$2" >&2; }
die() { printf 'rfutex: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# at_least HAVE WANT: true when version HAVE is WANT or newer.
at_least() { printf '%s\n%s\n' "$2" "$1" | sort -V -C; }

# rust_llvm: the major version of the LLVM in rustc.
rust_llvm() { rustc -vV 2>/dev/null | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p'; }

# llvm_version: the major version of LLVM to build with. With rustc's own, the
# kernel can inline the C helpers that Rust calls (RUST_INLINE_HELPERS). All runs
# have to use the same one: where rustc's own was not to be had when the first run
# asked, that is noted in the cache.
llvm_version() {
	local own note
	own=$(rust_llvm)
	note=$CACHE/no-llvm-$own
	if [ -z "$own" ] || [ "$own" -lt "$LLVM_VERSION" ]; then
		printf '%s\n' "$LLVM_VERSION"
	elif [ -x "/usr/lib/llvm-$own/bin/clang" ] ||
		{ [ ! -e "$note" ] && apt_alone llvm_offered "$own"; }; then
		printf '%s\n' "$own"
	else
		touch "$note"
		printf '%s\n' "$LLVM_VERSION"
	fi
}

# llvm_offered VERSION: whether there is a package of that LLVM. apt may have no
# list of packages yet, or an old one. All of what apt-cache prints is read: an end
# before that would be taken for a failure of apt-cache.
llvm_offered() {
	have apt-get || return 1
	as_root apt-get update -q >"$CACHE/packages.log" 2>&1 || return 1
	apt-cache policy "clang-$1" 2>/dev/null |
		awk '/Candidate: [0-9]/ { found = 1 } END { exit !found }'
}

# make_options FLAVOUR: what make is told, to build that kernel or a module for it.
make_options() {
	case $1 in
	arm64 | *-arm64) echo "ARCH=arm64 LLVM=1" ;;
	um) echo "ARCH=um LLVM=" ;;
	gcc) echo LLVM= ;;
	*) echo LLVM=1 ;;
	esac
}

# kernel_image FLAVOUR: what boots, below its build directory.
kernel_image() {
	case $1 in
	*-arm64) echo arch/arm64/boot/Image ;;
	*) echo arch/x86/boot/bzImage ;;
	esac
}

# as_root COMMAND...: run as root, through sudo where we are not.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif have sudo; then
		sudo "$@"
	else
		die "needs root for: $* (run as root, or install sudo)"
	fi
}

# alone LOCK DOING COMMAND...: runs COMMAND while no other run holds the file
# LOCK; DOING is what such a run does, for the user who waits for it. COMMAND
# does not inherit the lock: a daemon that it leaves behind would keep it.
alone() (
	local lock=$1 doing=$2
	shift 2
	mkdir -p "${lock%/*}"
	exec 9>"$lock"
	# Who only looks whether all is there has it for a moment.
	if ! flock -w 1 9; then
		say wait "another run is $doing"
		flock 9
	fi
	"$@" 9>&-
)

# mortal COMMAND...: for what is run beside the shell, which has it ignore
# SIGINT: runs COMMAND so that a signal to all of this run ends it, and ends
# itself when COMMAND has.
mortal() {
	trap 'exit 1' INT TERM HUP
	"$@"
}

# with_spinner LABEL LOG COMMAND...: run COMMAND with its output in LOG; show
# that it lives, and how far it is, while it runs: on one line of a terminal,
# elsewhere a line each half minute. Show the log's end when it fails. Progress
# is the number of lines in the log, which for a kernel build is the number of
# files built. A signal to all of this run ends COMMAND, too; the shell stays
# until it has ended, and so does the lock of what it builds.
with_spinner() {
	local label=$1 log=$2 pid status=0 start=$SECONDS shown=$SECONDS every=30 begin='' end='\n'
	shift 2
	if [ -t 2 ]; then
		every=1 begin='\r\033[K' end=''
	fi
	say "$label" "... (log: $log)"
	mortal "$@" >"$log" 2>&1 &
	pid=$!
	trap 'wait "$pid" || true; die "$label was interrupted, see $log"' INT TERM HUP
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		if [ $((SECONDS - shown)) -ge "$every" ]; then
			shown=$SECONDS
			printf "$begin  %-10s %3d:%02d, %d steps: %.50s$end" "$label" \
				$(((SECONDS - start) / 60)) $(((SECONDS - start) % 60)) \
				"$(wc -l <"$log")" \
				"$(tail -n 1 "$log" | tr -d '\r')" >&2
		fi
	done
	wait "$pid" || status=$?
	trap - INT TERM HUP
	# shellcheck disable=SC2059 # nothing but escapes
	printf "$begin" >&2
	if [ "$status" != 0 ]; then
		tail -n 40 "$log" >&2
		die "$label failed with status $status after $((SECONDS - start)) s, see $log"
	fi
	say "$label" "done in $((SECONDS - start)) s"
}

# apt_alone COMMAND...: runs COMMAND, which may call apt_install, while no other
# run installs: dpkg's own lock does not wait, but fails.
apt_alone() { alone "$CACHE/locks/apt.lock" "installing packages" "$@"; }

# installed PACKAGE: prints the version of Debian's package that is installed; false if none is.
installed() {
	local status
	# shellcheck disable=SC2016 # it is dpkg-query that expands them
	status=$(dpkg-query -W -f '${db:Status-Status} ${Version}' "$1" 2>/dev/null) || return
	[ "${status%% *}" = installed ] && printf '%s\n' "${status#* }"
}

# apt_install LOG PACKAGE...
apt_install() {
	with_spinner apt "$1" as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -q -y --no-install-recommends "${@:2}"
}

# A cache entry is a directory whose last written file is `.complete`: a list
# of checksums of the files that matter. An entry without it was interrupted,
# one that does not match it was damaged; both are built again.

# entry_ok DIR: true when DIR is a finished and undamaged cache entry.
entry_ok() {
	[ -s "$1/.complete" ] && (cd "$1" && sha256sum --status -c .complete) 2>/dev/null
}

# entry_finish DIR FILE...: declare DIR finished; FILEs (relative) prove it.
entry_finish() {
	local dir=$1
	shift
	(cd "$dir" && sha256sum -- "$@" >.complete.new && sync .complete.new && mv .complete.new .complete)
}

# make_entry NAME BUILDER...: make sure that the cache has a finished entry
# NAME, calling `BUILDER... DIR` in an empty DIR when it has not. Other runs
# wait meanwhile. BUILDER must end with entry_finish. Prints DIR.
make_entry() { alone "$CACHE/locks/$1.lock" "preparing $1" fill_entry "$@"; }

# fill_entry NAME BUILDER...: make_entry's work, under the entry's lock.
fill_entry() {
	local name=$1 dir=$CACHE/$1
	shift
	if ! entry_ok "$dir"; then
		[ ! -e "$dir" ] || say cache "$name is unfinished or damaged: made anew"
		rm -rf "$dir"
		mkdir -p "$dir"
		"$@" "$dir" >&2
		entry_ok "$dir" || die "$name did not come out whole"
	fi
	printf '%s\n' "$dir"
}
