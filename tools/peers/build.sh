# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Builds what `make check-peers` runs: the preloaded library, its own tests and
# another library for them, here; and from the kernel's source, into the cache,
# its futex selftests and perf. Prints the options that name them to rfutex-vm,
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

# The library is dynamic, and so are its tests: not as cargo's configuration
# has it for what else runs in the VM.
build_preload() {
	local target=$1 cargo="env --chdir=$TOP/tools RUSTFLAGS=-Ctarget-feature=-crt-static cargo"
	local where="--locked --target $target --target-dir $TOP/build/preload" library
	for library in preload preload-tracer; do
		# shellcheck disable=SC2086 # words
		locked with_spinner preload "$TOP/build/$library.log" $cargo rustc $where \
			-p "rfutex-$library" --lib --crate-type cdylib --profile preload
	done
	# shellcheck disable=SC2086 # words
	locked with_spinner preload "$TOP/build/preload-check.log" $cargo build $where \
		-p rfutex-preload-check --release
}

# peers_options TARGET: builds everything and prints the options that name it to
# rfutex-vm, one a line. TARGET is what cargo calls the host.
peers_options() {
	local kernel preload=$TOP/build/preload/$1
	kernel=$(kernel_peers)
	build_preload "$1"
	printf -- '--%s\n' "selftests=$kernel/selftests" "perf=$kernel/perf" \
		"preload=$preload/preload/librfutex_preload.so" \
		"preload-tracer=$preload/preload/librfutex_preload_tracer.so" \
		"preload-check=$preload/release/rfutex-preload-check"
}
