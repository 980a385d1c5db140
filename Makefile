# SPDX-License-Identifier: GPL-2.0
#
# The front: what a user calls. The module itself is built by the kernel's
# kbuild, which reads Kbuild, not this file.

KDIR ?= /lib/modules/$(shell uname -r)/build
INSTALL_HDR_PATH ?= /usr/local
PREFIX ?= /usr/local

# A KDIR that the user named. Without one, what needs a VM builds a kernel.
NAMED_KDIR := $(if $(filter command environment,$(origin KDIR)),$(KDIR))
export NAMED_KDIR
export RFUTEX_LAB

# KERNEL=7.2: another version than the one that everything is tried with. Only on make's
# command line: the environment may have a variable of this name for something else.
export RFUTEX_KERNEL := $(if $(filter command,$(origin KERNEL)),$(KERNEL))
# ARCH=arm64: an emulated machine of that kind.
export RFUTEX_ARCH := $(if $(filter command,$(origin ARCH)),$(ARCH))

# A kernel built by clang wants its modules built by clang.
ifeq ($(origin LLVM),undefined)
ifneq ($(shell grep -s '^CONFIG_CC_IS_CLANG=y' $(KDIR)/include/config/auto.conf),)
LLVM := 1
endif
endif

# MO=DIR, as in kbuild: where the objects go, if not beside the source.
KBUILD = $(MAKE) -C $(KDIR) M=$(CURDIR) $(if $(MO),MO=$(abspath $(MO))) \
	$(if $(LLVM),LLVM=$(LLVM))

HELP = What to do: 'make demo' fetches and builds a kernel that will do and \
shows the module in a VM; or name the build directory of one with KDIR=DIR.

all: modules

modules: kernel-with-rust
	$(if $(MO),@mkdir -p $(MO))
	+$(KBUILD) modules

modules_install: kernel-with-rust
	+$(KBUILD) modules_install

headers_install:
	install -D -m 644 include/uapi/linux/rfutex.h \
		$(INSTALL_HDR_PATH)/include/linux/rfutex.h

# RELEASE=: another of Debian's kernels than the running one.
stock-install:
	@tools/stock-install.sh

install-tools:
	@DESTDIR=$(call quote,$(DESTDIR)) tools/install.sh $(call quote,$(PREFIX))

# Fails with one sentence where kbuild would with many.
kernel-with-rust:
	@[ -f $(KDIR)/include/config/auto.conf ] || { \
		echo "rfutex: $(KDIR) is not the build directory of a kernel. $(HELP)" >&2; exit 1; }
	@grep -q '^CONFIG_RUST=y' $(KDIR)/include/config/auto.conf || { \
		echo "rfutex: the kernel in $(KDIR) was built without Rust (CONFIG_RUST). $(HELP)" >&2; exit 1; }
	@[ -f $(KDIR)/rust/libkernel.rmeta ] || { \
		echo "rfutex: $(KDIR) lacks rust/libkernel.rmeta, which a module in Rust is built against" \
			"(kernel headers from a package often lack it). $(HELP)" >&2; exit 1; }

rust-analyzer: kernel-with-rust
	+$(KBUILD) rust-analyzer
	tools/rust-project.py rust-project.json $(CURDIR)/rust/bindings_generated.rs

clean:
	$(if $(wildcard $(KDIR)/Makefile),+$(KBUILD) clean)
	rm -rf build rust-project.json

# FLAVOUR=debug-rt, FLAVOUR=stock, KERNEL=7.2, ARCH=arm64: on that kernel. TESTS=part of a name: only these.
# BRIEF=1: what hardly depends on hold is tested once, and what is repeated to find a race is
# repeated less.
demo check check-harness:
	@tools/vm.sh $@ $(if $(TESTS),$(TESTS:%=--only %)) $(if $(BRIEF),--brief)

# AGAIN=1: run no test, but compare what the last run reached with the list of accepted lines.
coverage:
	@tools/vm.sh $@ $(if $(AGAIN),--again) $(if $(TESTS),$(TESTS:%=--only %))

# N=for how many seconds, or MINUTES=; SEED=a number; REPLAY=an input that was found, alone.
fuzz:
	@tools/vm.sh $@ $(if $(MINUTES),--seconds $$(($(MINUTES) * 60))) $(if $(N),--seconds $(N)) \
		$(if $(SEED),--seed $(SEED)) $(if $(REPLAY),--replay $(call quote,$(REPLAY)))

# TESTS=part of a name: only these. QUICK=1: count instructions, and no more. AGAIN=1: run nothing,
# but judge again what ran last.
check-programs:
	@tools/vm.sh programs $(if $(QUICK),--quick) $(if $(AGAIN),--again) $(if $(TESTS),$(TESTS:%=--only %))

check-peers:
	@tools/vm.sh peers $(if $(TESTS),$(TESTS:%=--only %))

# N=how many scenarios; SEED=what an earlier run printed: the same ones.
oracle:
	@tools/vm.sh run --no-terminal -- rfutex-selftests oracle $(if $(N),--scenarios $(N)) $(if $(SEED),--seed $(SEED))

# N=how many processes that use a robust lock are killed.
kill:
	@tools/vm.sh run --no-terminal -- rfutex-selftests robust kill $(if $(N),--kills $(N))

# QUICK=1: count instructions of operations, and no more. ROWS=part of a name, EXPERIMENT=hash,
# RESOLVER=page|vma|locked|none, HOLD=inode|nothing: only these. INLINE_HELPERS=n: with a kernel that
# does not inline what Rust calls.
bench:
	@tools/vm.sh bench $(if $(QUICK),--quick) $(ROWS:%=--only %) $(EXPERIMENT:%=--experiment %) \
		$(RESOLVER:%=--resolver %) $(HOLD:%=--hold %)

# BASE=a revision of git. ROWS=part of a name: only these. HOLD=nothing: with that.
bench-compare:
	@BASE='$(BASE)' tools/vm.sh bench-compare $(ROWS:%=--only %) $(HOLD:%=--hold %)

# ROW=wake-none, with MEMORY=private|shared|arena and SIDE=page|vma|locked|none|contender.
profile:
	@tools/vm.sh profile $(ROW) $(MEMORY:%=--words %) $(if $(SIDE),--resolver '$(SIDE)')

# N=how often.
boots:
	@tools/vm.sh boots $(N:%=--count %)

# A word for the shell, whatever is in it.
quote = '$(subst ','\'',$(1))'

# The machine that run and gdb boot: CPUS=how many, MEM=MiB, VIRTME=options of virtme-ng,
# QEMU=options of QEMU.
MACHINE = $(CPUS:%=--cpus %) $(MEM:%=--memory %) $(if $(VIRTME),--virtme=$(call quote,$(VIRTME))) \
	$(if $(QEMU),--qemu-opts=$(call quote,$(QEMU)))

# What is brought along: DIR=a directory, ROOT=host|host-writable.
BROUGHT = $(if $(DIR),--dir $(call quote,$(DIR))) $(ROOT:%=--root %)

# make run CMD=./mytest DIR=. or make run CMD='rfutex-selftests --list'; without CMD a shell.
run:
	@tools/vm.sh run $(MACHINE) $(BROUGHT) $(if $(CMD),-- $(CMD))

# Documentation/turns.svg, which README shows.
recording:
	@tools/vm.sh $@

# GDB=options of gdb. Without CMD the selftests smoke:: are debugged.
gdb:
	@tools/vm.sh gdb $(MACHINE) $(BROUGHT) $(if $(GDB),--gdb=$(call quote,$(GDB))) $(if $(CMD),-- $(CMD))

lint doc:
	@tools/$@.sh

help:
	@echo 'Two commands that prepare everything themselves, in a cache outside the checkout:'
	@echo '  demo            - show in a VM what the module does'
	@echo '  check           - run all tests in a VM (TESTS=part of a name: only these;'
	@echo '                    FLAVOUR=debug-rt, KERNEL=7.2 or ARCH=arm64: on another kernel,'
	@echo '                    FLAVOUR=stock or stock-rt: on one of Debian'"'"'s own;'
	@echo '                    BRIEF=1: as CI runs them, some only once, or less often)'
	@echo
	@echo 'More of that kind:'
	@echo '  check-peers     - run the kernel'"'"'s futex selftests, perf bench futex and the C library'"'"'s'
	@echo '                    tests of threads on rfutex, too (TESTS=part of a name: only these)'
	@echo '  check-programs  - run PostgreSQL, Redis, Java, Python and others on rfutex, and compare'
	@echo '                    with futex(2) (TESTS=part of a name: only these;'
	@echo '                    QUICK=1: only count instructions; AGAIN=1: judge what ran last)'
	@echo '  coverage        - run the tests on an instrumented module, and tell which of its lines'
	@echo '                    none reaches (AGAIN=1: judge what the last run reached)'
	@echo '  fuzz            - look for inputs that reach what none has reached, and fail'
	@echo '                    (N=seconds or MINUTES=, SEED=number, REPLAY=file)'
	@echo '  oracle          - compare random scenarios with futex(2) (N=scenarios SEED=number)'
	@echo '  kill            - kill processes that use a robust lock (N=how many)'
	@echo '  bench           - measure rfutex and futex(2) (QUICK=1: only count instructions;'
	@echo '                    ROWS=part of a name, EXPERIMENT=hash, RESOLVER=page, HOLD=nothing:'
	@echo '                    only these; INLINE_HELPERS=n: with another kernel)'
	@echo '  bench-compare   - what costs more or less than with the module of BASE=revision'
	@echo '  profile         - the instructions of an operation (ROW=wake-none MEMORY=shared'
	@echo '                    SIDE=page, or SIDE=contender)'
	@echo '  run             - a shell in the VM with the module loaded (CMD=...: a command;'
	@echo '                    DIR=a directory to have there, ROOT=host: all of this system;'
	@echo '                    CPUS=how many, MEM=MiB, VIRTME=, QEMU=more options of these)'
	@echo '  gdb             - gdb on the VM, before the command begins (GDB=options of gdb)'
	@echo '  recording       - play the story in README in the VM, and make its picture anew'
	@echo '  boots           - boot the VM again and again (N=how often) and count how often that fails'
	@echo '  check-harness   - test what runs the tests: that each kind of kernel splat fails a'
	@echo '                    test, and that make run, gdb and install-tools work'
	@echo '  lint            - all style checks'
	@echo '  litmus          - check the memory ordering with herd7 (TESTS=part of a name)'
	@echo '  mutants         - break the module and see the tests fail (ONLY=names; takes hours)'
	@echo '  builds          - compile the module for kernels of other kinds (TESTS=part of a name)'
	@echo '  matrix          - all tests, or a build, on each of the kernels (takes hours)'
	@echo '  doc             - the documentation of the module and of the programs, in build/'
	@echo
	@echo 'The module, against the kernel in KDIR ($(KDIR)):'
	@echo '  modules         - build rfutex.ko (default); RFUTEX_LAB=y: with what tests need'
	@echo '  modules_install - install it'
	@echo '  headers_install - install linux/rfutex.h below INSTALL_HDR_PATH ($(INSTALL_HDR_PATH))'
	@echo '  stock-install   - build the module for the running kernel of Debian, install it and load it'
	@echo '  install-tools   - install rfutexctl, its man pages and completions below PREFIX ($(PREFIX))'
	@echo '  rust-analyzer   - make rust-project.json'
	@echo '  clean           - remove what was built here'
	@echo
	@echo 'KDIR=DIR names a built kernel, KSRC=DIR the source of one to build, LLVM=1 the compiler,'
	@echo 'MO=DIR where objects go, RFUTEX_CACHE=DIR where downloads and kernels are kept.'

# TESTS=part of a name: only these.
litmus:
	@tools/litmus.sh $(TESTS)

# TESTS=part of a name: only these kernels.
matrix:
	@tools/matrix.sh $(call quote,$(TESTS))

# TESTS=part of a name: only these.
builds:
	@tools/kernel/builds.sh $(TESTS)

# ONLY=names: only these; ALL=1: go on after the first test that fails; FRESH=1:
# forget what earlier runs found out.
mutants:
	@tools/mutants.sh $(ONLY:%=--only %) $(if $(ALL),--all) $(if $(FRESH),--fresh)

.PHONY: all modules modules_install headers_install stock-install install-tools kernel-with-rust \
	rust-analyzer clean demo check coverage fuzz check-peers check-programs oracle kill bench bench-compare profile boots check-harness run gdb recording lint doc \
	help litmus builds matrix mutants
