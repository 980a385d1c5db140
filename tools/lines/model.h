/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who has a copy of which cache line: a directory as those of coherence protocols,
 * without time and without anything that makes a cache lose a line but another
 * processor. A line with one holder is exclusive or modified, which is the same
 * here, because its holder may write to it without asking. One with several is
 * shared. One with none is in memory.
 */

#ifndef LINES_MODEL_H
#define LINES_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A line is so many bytes, as a power of two. */
#define LINE_SHIFT 6

/* So many processors there may be: a bit each. */
#define MAX_CPUS 64

/* What has to happen before an access can be carried out. */
enum outcome {
	/* Nothing: there is a copy that will do, or nobody has ever had the line. */
	OUTCOME_HIT,
	/* The line comes from another processor, to be read. */
	OUTCOME_READ,
	/* The line comes from another processor, to be written. */
	OUTCOME_WRITE,
	/* Others give up their copies of a line that is here to be read. */
	OUTCOME_UPGRADE,
};

struct directory {
	/* The holders of each line. */
	uint64_t *lines;
	size_t nr;
};

/* Makes a directory of a memory of @bytes. Returns false if there is no room. */
bool directory_init(struct directory *directory, uint64_t bytes);

/* Nobody has any line. */
void directory_clear(struct directory *directory);

/* The processor @cpu accesses @line, which is the number of one, and gets a copy. */
enum outcome directory_access(struct directory *directory, uint64_t line,
			      unsigned int cpu, bool write);

/* Whether the instruction of these bytes reads and writes its memory in one step. */
bool is_locked(const uint8_t *bytes, size_t size);

#endif
