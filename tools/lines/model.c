// SPDX-License-Identifier: GPL-2.0
/*
 * The directory of lines, and what has to be known of instructions. Nothing here
 * is QEMU's, so that it can be tested without it.
 */

#include <string.h>
#include <sys/mman.h>

#include "model.h"

static size_t directory_bytes(const struct directory *directory)
{
	return directory->nr * sizeof(*directory->lines);
}

bool directory_init(struct directory *directory, uint64_t bytes)
{
	void *lines;

	directory->nr = bytes >> LINE_SHIFT;
	/* Most of it is never touched, and takes no memory. */
	lines = mmap(NULL, directory_bytes(directory), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (lines == MAP_FAILED)
		return false;
	directory->lines = lines;
	return true;
}

void directory_clear(struct directory *directory)
{
	/* Anonymous memory that was given back is zero when it is touched again. */
	if (madvise(directory->lines, directory_bytes(directory), MADV_DONTNEED))
		memset(directory->lines, 0, directory_bytes(directory));
}

enum outcome directory_access(struct directory *directory, uint64_t line,
			      unsigned int cpu, bool write)
{
	uint64_t self = UINT64_C(1) << cpu, before = directory->lines[line];
	uint64_t others = before & ~self;

	directory->lines[line] = write ? self : before | self;
	if (!others || (!write && (before & self)))
		return OUTCOME_HIT;
	if (before & self)
		return OUTCOME_UPGRADE;
	return write ? OUTCOME_WRITE : OUTCOME_READ;
}

static bool is_prefix(uint8_t byte)
{
	switch (byte) {
	/* Segments. */
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
	case 0x64:
	case 0x65:
	/* Sizes of operands and addresses; lock, repne and rep. */
	case 0x66:
	case 0x67:
	case 0xf0:
	case 0xf2:
	case 0xf3:
		return true;
	default:
		return false;
	}
}

bool is_locked(const uint8_t *bytes, size_t size)
{
	size_t at;

	for (at = 0; at < size && is_prefix(bytes[at]); at++) {
		if (bytes[at] == 0xf0)
			return true;
	}
	/* REX */
	if (at < size && (bytes[at] & 0xf0) == 0x40)
		at++;
	/* An exchange with memory is locked without the prefix. */
	return at + 1 < size && (bytes[at] == 0x86 || bytes[at] == 0x87) &&
	       bytes[at + 1] < 0xc0;
}
