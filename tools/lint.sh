#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# All style checks; each must find nothing. They need the tree of a kernel with
# Rust: the one the user names with KDIR=, else the debug kernel.

. "$(dirname "$0")/kernel/setup.sh"

setup debug
cd "$TOP" || exit
# The kernel's source, where it was not built in that.
source_dir=$KDIR
[ ! -e "$KDIR/source" ] || source_dir=$KDIR/source
names=() pids=()

# lint NAME COMMAND...: begins one check. They run side by side: some use one
# processor only.
lint() {
	names+=("$1")
	mortal "${@:2}" >"$TOP/build/lint-$1.log" 2>&1 &
	pids+=($!)
}

# Shows what each check says if it objects. False if any does.
report() {
	local i failed=0
	for i in "${!pids[@]}"; do
		if wait "${pids[i]}"; then
			say "${names[i]}" "clean"
		else
			say "${names[i]}" "NOT CLEAN"
			cat "$TOP/build/lint-${names[i]}.log"
			failed=$((failed + 1))
		fi
	done
	[ "$failed" = 0 ] || die "lint: $failed checks are not clean"
}

files() { git ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do
	[ ! -f "$file" ] || printf '%s\n' "$file"
done; }

# Every file says its licence in its first lines.
licences() {
	local file bad=0
	while read -r file; do
		case $file in
		COPYING* | *.lock | *.json | *.md | LICENSE* | */LICENSE*) continue ;;
		esac
		[[ $(head -n 2 "$file") == *SPDX-License-Identifier* ]] || {
			echo "$file has no SPDX-License-Identifier in its first lines"
			bad=1
		}
	done < <(files)
	return "$bad"
}

# The kernel's style for what is built with it, cargo's for the rest.
kernel_rustfmt() {
	rustfmt --check --config-path "$source_dir/.rustfmt.toml" --edition 2021 rust/rfutex_main.rs
}
cargo_fmt() { cargo fmt --manifest-path tools/Cargo.toml --all -- --check; }

# clippy_module NAME [VARIABLE=VALUE...]
clippy_module() {
	local name=$1
	shift
	mkdir -p "$MODULES"
	# Clippy speaks only when it compiles.
	rm -rf "${MODULES:?}/$name"
	locked make --no-print-directory modules KDIR="$KDIR" MO="$MODULES/$name" CLIPPY=1 \
		KRUSTFLAGS="-Dwarnings -Dclippy::incompatible_msrv" KCFLAGS=-Werror "$@"
}

clippy_programs() {
	env --chdir=tools cargo clippy --workspace --all-targets --locked \
		--target x86_64-unknown-linux-gnu -- -D warnings
}

checkpatch() {
	local list
	list=$(files '*.c' '*.h')
	# shellcheck disable=SC2086 # one word a file
	"$source_dir/scripts/checkpatch.pl" --no-tree --no-summary --terse -f $list
}

shell_scripts() {
	local list
	list=$(files '*.sh' .ci/run)
	# shellcheck disable=SC2086 # one word a file
	shellcheck -x $list
}

lint licences licences
lint rustfmt kernel_rustfmt
lint cargo-fmt cargo_fmt
lint shellcheck shell_scripts
lint checkpatch checkpatch
lint clippy clippy_module clippy
lint clippy-lab clippy_module clippy-lab RFUTEX_LAB=y
lint cargo clippy_programs
report
