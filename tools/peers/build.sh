# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Builds what `make check-peers` runs: the preloaded library and its own tests, here; and
# into the cache, from the kernel's source, its futex selftests and perf, and from glibc's,
# its tests of threads. Prints the options that name them to rfutex-vm,
# one word a line. Sourced, after setup, by vm.sh.

# The system's headers are older than the tests: they get the kernel's own.
# With gcc, since clang refuses the _Atomic types of one test. Nothing is
# written into the source.
build_kernel_selftests() {
	local source=$1 dir=$2
	with_spinner headers "$dir/headers.log" env -u LLVM -u ARCH \
		make -C "$source" O="$dir/headers" INSTALL_HDR_PATH="$dir/usr" headers_install
	with_spinner selftests "$dir/selftests.log" env -u LLVM -u ARCH \
		make -C "$source/tools/testing/selftests" TARGETS=futex O="$dir/objects" \
		KHDR_INCLUDES="-isystem $dir/usr/include" FORCE_TARGETS=1
	mkdir "$dir/selftests"
	find "$dir/objects/kselftest/futex/functional" -type f -perm -u+x ! -name '*.sh' \
		-exec cp -t "$dir/selftests" {} +
}

# With nothing in it but the benchmarks that need no library. It is built in a
# copy of those parts of the source that perf names itself.
build_perf() {
	local source=$1 dir=$2 without variable
	mkdir "$dir/perf-source" "$dir/perf-objects"
	# shellcheck disable=SC2046 # one word a file; some are patterns
	(cd "$source" && tar -cf - $(grep -v '^#' tools/perf/MANIFEST)) |
		tar -C "$dir/perf-source" -xf -
	without='BUILD_BPF_SKEL=0'
	for variable in BABELTRACE2 CAPSTONE DEMANGLE JEVENTS JVMTI LIBBPF LIBDEBUGINFOD LIBDW \
		LIBELF LIBLLVM LIBNUMA LIBPERL LIBPFM4 LIBPYTHON LIBTRACEEVENT LIBUNWIND \
		LIBZSTD LZMA RUST SDT SHELLCHECK SLANG ZLIB; do
		without="$without NO_$variable=1"
	done
	# shellcheck disable=SC2086 # one word a variable
	with_spinner perf "$dir/perf.log" env -u LLVM -u ARCH \
		make -C "$dir/perf-source/tools/perf" -j"$(nproc)" O="$dir/perf-objects" \
		WERROR=0 $without
	cp "$dir/perf-objects/perf" "$dir/perf"
}

build_kernel_peers() {
	local source=$1 dir=$2
	build_kernel_selftests "$source" "$dir"
	build_perf "$source" "$dir"
	(cd "$dir" && rm -rf headers objects usr perf-source perf-objects)
	(cd "$dir" && entry_finish "$dir" perf selftests/*)
}

# kernel_peers: prints the cache entry of what is built from the kernel's source.
kernel_peers() {
	local source hash
	source=$("$TOOLS_KERNEL/source.sh")
	hash=$( (
		cat "$TOP/tools/peers/build.sh"
		gcc --version
		cd "$source" || exit
		cat Makefile tools/perf/MANIFEST
		find tools/testing/selftests/futex tools/testing/selftests/lib.mk \
			tools/testing/selftests/kselftest_harness.h tools/perf/bench \
			-type f -exec sha256sum {} + | sort
	) | sha256sum | cut -c 1-12)
	make_entry "peers-$hash" build_kernel_peers "$source"
}

# shellcheck source=tools/peers/glibc.sh
. "$TOP/tools/peers/glibc.sh"
# shellcheck source=tools/preload/build.sh
. "$TOP/tools/preload/build.sh"

# peers_options TARGET: builds everything and prints the options that name it to
# rfutex-vm, one a line. TARGET is what cargo calls the host.
peers_options() {
	local kernel glibc preload=$TOP/build/preload/$1
	kernel=$(kernel_peers)
	glibc=$(glibc_tests)
	build_preload "$1"
	build_preload_tests "$1"
	printf -- '--%s\n' "selftests=$kernel/selftests" "perf=$kernel/perf" "nptl=$glibc" \
		"preload=$preload/preload/librfutex_preload.so" \
		"preload-tracer=$preload/preload/librfutex_preload_tracer.so" \
		"preload-check=$preload/release/rfutex-preload-check" \
		"preload-programs=$preload/programs"
}
