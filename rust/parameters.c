// SPDX-License-Identifier: GPL-2.0
/*
 * The module parameters that are shown in sysfs, and the one whose values are
 * words. The module! macro supports only numbers, and does not show them.
 */

#include <linux/moduleparam.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "bindings_helper.h"

static const char * const rfutex_hold_names[] = {
	[RFUTEX_HOLD_INODE - 1] = "inode",
	[RFUTEX_HOLD_NOTHING - 1] = "nothing",
};

static u32 hold = RFUTEX_HOLD_INODE;

static int rfutex_set_hold(const char *val, const struct kernel_param *kp)
{
	int index = sysfs_match_string(rfutex_hold_names, val);

	if (index < 0)
		return index;
	hold = index + 1;
	return 0;
}

static int rfutex_get_hold(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n", rfutex_hold_names[hold - 1]);
}

static const struct kernel_param_ops rfutex_hold_ops = {
	.set = rfutex_set_hold,
	.get = rfutex_get_hold,
};

module_param_cb(hold, &rfutex_hold_ops, NULL, 0444);
__MODULE_PARM_TYPE(hold, "inode|nothing");
MODULE_PARM_DESC(hold, "What a thread holds that sleeps on a word of a file: inode (default), which keeps its file system from being shut down, or nothing");

u32 rfutex_param_hold(void)
{
	return hold;
}

static unsigned int tables = 1024;
module_param(tables, uint, 0444);
MODULE_PARM_DESC(tables, "Number of tables of his own that a user can have");

u32 rfutex_param_tables(void)
{
	return tables;
}

static unsigned long arena_pages = 65536;
module_param(arena_pages, ulong, 0444);
MODULE_PARM_DESC(arena_pages, "Number of pages that all arenas of a user can have");

unsigned long rfutex_param_arena_pages(void)
{
	return arena_pages;
}

static unsigned int watches = 65536;
module_param(watches, uint, 0444);
MODULE_PARM_DESC(watches, "Number of watches that a user can have armed");

u32 rfutex_param_watches(void)
{
	return watches;
}
