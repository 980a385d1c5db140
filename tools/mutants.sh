#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# mutants.sh [OPTION...]: prepares the debug kernel and the programs, then runs
# rfutex-mutants, whose options these are (--only ID, --all, --fresh, --check).

. "$(dirname "$0")/kernel/setup.sh"

target=x86_64-unknown-linux-gnu
setup debug
mkdir -p "$MODULES"
with_spinner programs "$MODULES/programs-mutants.log" \
	env --chdir="$TOP/tools" cargo build --locked --target "$target" \
	-p rfutex-vm -p rfutex-guest -p rfutex-selftests -p rfutex-ctl -p rfutex-mutants
# shellcheck source=tools/preload/build.sh
. "$TOP/tools/preload/build.sh"
build_preload "$target"

programs=$TOP/build/target/$target/debug
exec "$programs/rfutex-mutants" --kdir "$KDIR" --top "$TOP" \
	--programs "$programs" --cache "$CACHE" "$@"
