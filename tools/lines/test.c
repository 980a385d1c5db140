// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of the model, without QEMU. What the plugin sees of programs in the machine is
 * tested there, by tools/bench/src/experiments/lines/known.rs.
 */

#include <stdio.h>
#include <stdlib.h>

#include "model.h"

static struct directory directory;

static void check(bool holds, const char *what, int line)
{
	if (holds)
		return;
	fprintf(stderr, "test.c:%d: not so: %s\n", line, what);
	exit(1);
}

#define CHECK(condition) check(condition, #condition, __LINE__)

#define READS(cpu, line) directory_access(&directory, line, cpu, false)
#define WRITES(cpu, line) directory_access(&directory, line, cpu, true)

/* Who is alone with a line never asks anybody. */
static void test_one_processor(void)
{
	directory_clear(&directory);
	CHECK(READS(0, 5) == OUTCOME_HIT);
	CHECK(WRITES(0, 5) == OUTCOME_HIT);
	CHECK(READS(0, 5) == OUTCOME_HIT);
}

static void test_writer_and_readers(void)
{
	unsigned int cpu;
	int round;

	directory_clear(&directory);
	CHECK(WRITES(0, 5) == OUTCOME_HIT);
	for (round = 0; round < 3; round++) {
		for (cpu = 1; cpu < MAX_CPUS; cpu++) {
			CHECK(READS(cpu, 5) == OUTCOME_READ);
			CHECK(READS(cpu, 5) == OUTCOME_HIT);
		}
		/* It still has its copy, and they lose theirs. */
		CHECK(WRITES(0, 5) == OUTCOME_UPGRADE);
		CHECK(WRITES(0, 5) == OUTCOME_HIT);
	}
}

static void test_writers(void)
{
	unsigned int cpu;

	directory_clear(&directory);
	CHECK(WRITES(0, 5) == OUTCOME_HIT);
	for (cpu = 1; cpu < MAX_CPUS; cpu++) {
		CHECK(WRITES(cpu, 5) == OUTCOME_WRITE);
		CHECK(READS(cpu, 5) == OUTCOME_HIT);
	}
	CHECK(READS(0, 5) == OUTCOME_READ);
	CHECK(WRITES(0, 5) == OUTCOME_UPGRADE);
}

static void test_lines_are_apart(void)
{
	directory_clear(&directory);
	CHECK(WRITES(0, 5) == OUTCOME_HIT);
	CHECK(WRITES(1, 6) == OUTCOME_HIT);
	CHECK(WRITES(1, 5) == OUTCOME_WRITE);
	directory_clear(&directory);
	CHECK(WRITES(0, 5) == OUTCOME_HIT);
}

static void test_locked(void)
{
	static const struct {
		uint8_t bytes[6];
		size_t size;
		bool locked;
	} instructions[] = {
		/* mov (%rax), %al; inc (%rax); xchg %rax, %rcx */
		{ { 0x8a, 0x00 }, 2, false },
		{ { 0xff, 0x00 }, 2, false },
		{ { 0x48, 0x87, 0xc8 }, 3, false },
		/* lock inc (%rax), with a segment before and after; lock xadd %ecx, (%rdi) */
		{ { 0xf0, 0xff, 0x00 }, 3, true },
		{ { 0x3e, 0xf0, 0xff, 0x00 }, 4, true },
		{ { 0xf0, 0x3e, 0xff, 0x00 }, 4, true },
		{ { 0xf0, 0x0f, 0xc1, 0x0f }, 4, true },
		/* xchg with memory: of bytes, of words of 16 bits and with a REX prefix */
		{ { 0x86, 0x08 }, 2, true },
		{ { 0x66, 0x87, 0x08 }, 3, true },
		{ { 0x48, 0x87, 0x48, 0x08 }, 4, true },
		/* mov $0xf0, %al; ret */
		{ { 0xb0, 0xf0 }, 2, false },
		{ { 0xc3 }, 1, false },
	};
	size_t i;

	for (i = 0; i < sizeof(instructions) / sizeof(*instructions); i++) {
		bool locked = is_locked(instructions[i].bytes, instructions[i].size);

		if (locked != instructions[i].locked)
			fprintf(stderr, "instruction %zu\n", i);
		CHECK(locked == instructions[i].locked);
	}
}

int main(void)
{
	CHECK(directory_init(&directory, 1 << 20));
	test_one_processor();
	test_writer_and_readers();
	test_writers();
	test_lines_are_apart();
	test_locked();
	return 0;
}
