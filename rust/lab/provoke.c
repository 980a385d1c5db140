// SPDX-License-Identifier: GPL-2.0
/*
 * The splats of splat.rs that can only be provoked in C. Some of them leave the
 * kernel in a broken state, so that they should be used only in a VM that is
 * not needed any more.
 */

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/path.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/timer.h>

#include "bindings_helper.h"

/* Dereferences an RCU-protected pointer outside of a read-side critical section. */
void rfutex_provoke_suspicious_rcu(void)
{
	static int value;
	static int __rcu *pointer = RCU_INITIALIZER(&value);

	WRITE_ONCE(value, *rcu_dereference(pointer));
}

/* Shifts a value by more bits than it has. */
void rfutex_provoke_ubsan(void)
{
	static int one = 1;
	static int bits = 40;

	WRITE_ONCE(one, READ_ONCE(one) << READ_ONCE(bits));
}

/* Adds an entry to a list whose links are inconsistent. */
void rfutex_provoke_list(void)
{
	LIST_HEAD(head);
	LIST_HEAD(other);
	struct list_head new;

	head.next = &other;
	list_add(&new, &head);
}

/* Takes a reference on an object whose reference count is zero. */
void rfutex_provoke_refcount(void)
{
	refcount_t count = REFCOUNT_INIT(0);

	refcount_inc(&count);
}

static void rfutex_provoke_timer(struct timer_list *unused)
{
}

/* Initialises a timer that is running. */
void rfutex_provoke_odebug(void)
{
	static struct timer_list timer;

	timer_setup(&timer, rfutex_provoke_timer, 0);
	mod_timer(&timer, jiffies + HZ);
	timer_setup(&timer, rfutex_provoke_timer, 0);
	timer_delete_sync(&timer);
}

/* Frees a page that still belongs to a mapping. */
void rfutex_provoke_bad_page(void)
{
	struct page *page = alloc_page(GFP_KERNEL);

	if (!page)
		return;
	page->mapping = (struct address_space *)-8L;
	__free_page(page);
}

/* Destroys a slab cache in which an object is still allocated. */
void rfutex_provoke_slab(void)
{
	struct kmem_cache *cache;

	cache = kmem_cache_create("rfutex_lab_slab", 64, 0, SLAB_NO_MERGE, NULL);
	if (cache && kmem_cache_alloc(cache, GFP_KERNEL))
		kmem_cache_destroy(cache);
}

/*
 * Takes a reference on the inode of the caller's working directory, but not on
 * its superblock, and never puts it, so that the next umount warns.
 */
void rfutex_provoke_busy_inodes(void)
{
	struct path pwd;

	get_fs_pwd(current->fs, &pwd);
	ihold(d_inode(pwd.dentry));
	path_put(&pwd);
}

/* Writes to an address where nothing is mapped. */
void rfutex_provoke_oops(void)
{
	WRITE_ONCE(*(int *)8UL, 0);
}

static void rfutex_provoke_callback(struct rcu_head *head)
{
	kfree(head);
}

/* Makes RCU need a grace period. */
void rfutex_provoke_grace_period(void)
{
	struct rcu_head *head = kmalloc(sizeof(*head), GFP_ATOMIC);

	if (head)
		call_rcu(head, rfutex_provoke_callback);
}
