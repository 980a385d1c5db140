// SPDX-License-Identifier: GPL-2.0
/*
 * What of an instrumented module (RFUTEX_COVERAGE=y) has been executed.
 *
 * The compilers gave each basic block of that module a flag, which is set when the block is
 * executed, in whatever context. A constructor, begin.c, tells us where the flags are. They go away with the module,
 * so that they are kept here when it has been unloaded, or could not be loaded. This is after the
 * last of its code has run.
 *
 * The file rfutex_coverage in debugfs has one byte for each block, in the order of the module's
 * section __sancov_pcs: 1 if the block was executed since the last write to the file. What is
 * written does not matter.
 */

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "coverage.h"

/* Protects all that follows. */
static DEFINE_MUTEX(lock);

/* The flags of the module that is loaded, or NULL. */
static u8 *flags;

/* Those of modules that were unloaded: as many as the last module had. */
static u8 *kept;
static size_t nr;

static struct dentry *file;

/* Adds the present flags to those that are kept. */
static void keep(void)
{
	size_t i;

	lockdep_assert_held(&lock);
	if (!flags)
		return;
	/* Eight at once, for whoever reads often; both begin at a multiple of eight. */
	for (i = 0; i + 8 <= nr; i += 8)
		*(u64 *)(kept + i) |= READ_ONCE(*(u64 *)(flags + i));
	for (; i < nr; i++)
		kept[i] |= READ_ONCE(flags[i]);
}

void rfutex_coverage_begin(u8 *start, u8 *stop)
{
	size_t count = stop - start;
	u8 *bytes;

	guard(mutex)(&lock);
	/* Another build of the module has other blocks. */
	if (count != nr) {
		bytes = kvzalloc(count, GFP_KERNEL);
		if (!bytes)
			return;
		kvfree(kept);
		kept = bytes;
		nr = count;
	}
	flags = start;
}
EXPORT_SYMBOL_GPL(rfutex_coverage_begin);

static int module_changed(struct notifier_block *block, unsigned long state, void *data)
{
	struct module *module = data;

	if (state != MODULE_STATE_GOING)
		return NOTIFY_DONE;
	guard(mutex)(&lock);
	if (flags && within_module((unsigned long)flags, module)) {
		keep();
		flags = NULL;
	}
	return NOTIFY_DONE;
}

static struct notifier_block notifier = { .notifier_call = module_changed };

static ssize_t coverage_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	guard(mutex)(&lock);
	keep();
	return simple_read_from_buffer(buf, len, pos, kept, nr);
}

static ssize_t coverage_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	guard(mutex)(&lock);
	if (nr)
		memset(kept, 0, nr);
	if (flags)
		memset(flags, 0, nr);
	return len;
}

static const struct file_operations coverage_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = coverage_read,
	.write = coverage_write,
	.llseek = default_llseek,
};

static int __init coverage_init(void)
{
	int error = register_module_notifier(&notifier);

	if (error)
		return error;
	file = debugfs_create_file("rfutex_coverage", 0600, NULL, NULL, &coverage_fops);
	return 0;
}

static void __exit coverage_exit(void)
{
	debugfs_remove(file);
	unregister_module_notifier(&notifier);
	kvfree(kept);
}

module_init(coverage_init);
module_exit(coverage_exit);

MODULE_AUTHOR("The rfutex authors");
MODULE_DESCRIPTION("Which blocks of an instrumented module have been executed");
MODULE_LICENSE("GPL");
