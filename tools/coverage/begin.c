// SPDX-License-Identifier: GPL-2.0
/*
 * A part of an instrumented module: tells rfutex_coverage.c where the flags are.
 *
 * The kernel calls constructors before the module's own init function. The compilers generate some
 * that do the same, but with relocations that the kernel does not know: flags.lds discards those.
 */

#include "coverage.h"

__attribute__((constructor)) static void begin(void)
{
	rfutex_coverage_begin(__start___sancov_bools, __stop___sancov_bools);
}
