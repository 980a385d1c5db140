/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RFUTEX_COVERAGE_H
#define RFUTEX_COVERAGE_H

#include <linux/types.h>

/* Where the flags begin and end: flags.lds says so. */
extern u8 __start___sancov_bools[] __attribute__((visibility("hidden")));
extern u8 __stop___sancov_bools[] __attribute__((visibility("hidden")));

/* The flags of the module that is being loaded are from @start to @stop. */
void rfutex_coverage_begin(u8 *start, u8 *stop);

#endif
