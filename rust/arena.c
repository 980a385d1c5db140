// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings of the memory of a table. The kernel's bindings for Rust give no
 * names to the fields of struct vm_fault.
 *
 * The pages are mapped by their numbers (VM_PFNMAP). So nobody can take a
 * reference on one (get_user_pages() refuses them), which would keep the memory
 * after the table and its charge are gone, and no resolver finds a key by the
 * address of a word here. The mapping keeps the file, and the file keeps the
 * memory.
 */

#include <linux/fs.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "bindings_helper.h"

static vm_fault_t fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	void *page = rfutex_arena_page(vma->vm_file->private_data, vmf->pgoff);

	if (!page)
		return VM_FAULT_SIGBUS;
	return vmf_insert_pfn(vma, vmf->address, vmalloc_to_pfn(page));
}

/* For a debugger, and for /proc/PID/mem: what others get by get_user_pages(). */
static int access(struct vm_area_struct *vma, unsigned long addr, void *buf,
		  int len, int write)
{
	unsigned long offset = addr - vma->vm_start + (vma->vm_pgoff << PAGE_SHIFT);
	void *page = rfutex_arena_page(vma->vm_file->private_data, offset >> PAGE_SHIFT);

	if (!page || (write && !(vma->vm_flags & VM_WRITE)))
		return -EFAULT;
	len = min_t(int, len, PAGE_SIZE - offset_in_page(offset));
	if (write)
		memcpy(page + offset_in_page(offset), buf, len);
	else
		memcpy(buf, page + offset_in_page(offset), len);
	return len;
}

static const struct vm_operations_struct vm_ops = {
	.fault = fault,
	.access = access,
};

int rfutex_arena_mmap(struct vm_area_struct *vma)
{
	/* A private mapping would have copies, which nobody else sees. */
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	/* The file system of anonymous inodes keeps it from being executable. */
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &vm_ops;
	return 0;
}
