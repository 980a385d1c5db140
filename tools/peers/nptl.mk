# SPDX-License-Identifier: GPL-2.0
#
# Read by make after glibc's own nptl/Makefile: builds its tests for the C library of the
# system, and writes down how each is run. What is run, and from what it is built, stays
# in glibc's makefiles.
#
# The compiler links as it would for anybody, with no startup files of glibc's build. These
# are variables that are expanded when a rule is carried out, so they count although the
# rules were read before. For those that count when a rule is read, see glibc.sh.

$(csu-objpfx)start.o: ;

# Libraries by their names alone, or a program would look for those without a name of their
# own where they are now.
to-link = -L$(objpfx) $(patsubst $(objpfx)%.so,-l:%.so,$(filter-out %/start.o,$^))

define +link-tests
$(CC) -o $@ $(LDFLAGS-$(@F)) -Wl,-rpath,'$$ORIGIN' $(to-link) $(LDLIBS-$(@F))
endef
+link-pie-tests = $(+link-tests)

define build-module
$(CC) -shared -o $@ $(LDFLAGS-$(@F)) $(to-link)
endef

# To build NAME.out is to run the test, with its output in the file, once all is there that
# it needs. Here the file becomes the script that runs it: in the directory in which it is,
# and by another command, if that has any arguments. It has no need of the functions of
# malloc that write down what is not freed, which another program would look at.
define make-test-out
echo 'cd "$${0%/*}" && exec env $(subst $(objpfx),./,\
$(filter-out LD_PRELOAD=% MALLOC_TRACE=%,$($*-ENV)) "$$@" $(host-test-program-cmd) $($*-ARGS))'
endef
evaluate-test = :

# Left out, each with the reason.
static = no library can be preloaded into them
debugger = a debugger attaches to them, and where one is, nothing is redirected
container = run in a container that is a whole installation of glibc
internal = call functions that the C library does not export
printers = are for what debuggers print
old = are linked as programs for glibc 2.0 were

left-out-static = $(filter $(tests-static) $(xtests-static),$(tests) $(xtests))
left-out-debugger = $(filter-out $(left-out-static),$(filter %-gdb-attach,$(tests) $(xtests)))
left-out-container = $(tests-container)
left-out-internal = $(tests-internal)
left-out-printers = $(tests-printers)
left-out-old = $(tests-2.0)
reasons = static debugger container internal printers old
left-out = $(foreach why,$(reasons),$(left-out-$(why)))

.PHONY: rfutex
rfutex: $(patsubst %,$(objpfx)%.out,$(filter-out $(left-out),$(tests) $(xtests)))
	printf '%s\n' $(foreach why,$(reasons),'$(words $(left-out-$(why))) $($(why)): $(strip $(left-out-$(why)))') \
		>$(objpfx)left-out
