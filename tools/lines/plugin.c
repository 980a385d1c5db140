// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin for QEMU's TCG that counts how often cache lines move between the
 * emulated processors, while the guest does what it wants to have counted.
 *
 * The guest speaks to it by a marker: an instruction that no compiler writes, and
 * that reads a byte. Where in its page this byte is, is what the guest says (enum
 * word, below). What is counted between the words for the beginning and the end of a
 * window goes to the file that the argument out= names, one line each:
 *
 *   S                       a section begins, in which nobody has any line
 *   W PLACE ACCESSES LINES UPGRADES
 *                           a window of that place: how many accesses; how many lines
 *                           moved; and how many times others gave up copies of a line
 *                           that was there already
 *   M LINE PC ADDRESS LINES UPGRADES TOUCHES
 *                           in all windows of the section that has ended: how often the
 *                           instruction had that line move, had others give up their
 *                           copies, and found it in place
 *   E                       the guest has said all that it will
 *
 * LINE is the number of a line of physical memory, and ADDRESS one of the virtual ones
 * that it was accessed by; these and PC are hexadecimal. Lines are left out that never
 * moved.
 * The accesses of all processors change who has which line. Only those of the
 * processor that began the window, and of those in its group, are counted.
 *
 * QEMU calls this from the one thread that emulates all processors (-accel
 * tcg,thread=single, which -icount implies). With a thread for each, the order
 * of accesses would be a matter of luck, and so would be the figures: the plugin
 * gives up.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "qemu-plugin.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

/* mov (%rax), %al, with three prefixes that change nothing. */
static const uint8_t marker[] = { 0x3e, 0x3e, 0x3e, 0x8a, 0x00 };

/* What the guest says; the low byte is an argument. */
enum word {
	/* Nobody has any line, and accesses change that from now on. */
	WORD_SECTION = 0x000,
	/* The window ends. */
	WORD_END = 0x100,
	/* A window of the place in the argument begins. */
	WORD_BEGIN = 0x200,
	/* This processor belongs to the group in the argument. */
	WORD_GROUP = 0x300,
	/* There will be no more windows. */
	WORD_OVER = 0x400,
};

#define WORD_MASK 0xf00
#define ARGUMENT_MASK 0x0ff

/* Physical addresses are below this. */
#define MEMORY_BYTES (UINT64_C(8) << 30)

#define PAGE_SHIFT 12

/* So many pairs of a line and an instruction there may be in a section, a power of two. */
#define NR_PLACES (1 << 20)

/* An instruction at a line, and what came of it in all windows of a section. */
struct place {
	uint64_t line;
	uint64_t pc;
	uint64_t vaddr;
	uint64_t moves;
	uint64_t upgrades;
	uint64_t touches;
};

static struct {
	bool open;
	unsigned int place;
	unsigned int group;
	uint64_t accesses;
	uint64_t moves;
	uint64_t upgrades;
} window;

/* A hash table: who is in it has been there for an access or more. */
static struct place places[NR_PLACES];
static unsigned int nr_places;

static struct directory directory;
/* The lines that have moved in a window of this section have a holder here. */
static struct directory moved;
static bool tracking;
static unsigned int group_of[MAX_CPUS];
static FILE *out;
static pthread_t emulator;

static _Noreturn void give_up(const char *why)
{
	fprintf(stderr, "lines: %s\n", why);
	exit(1);
}

static bool is_used(const struct place *place)
{
	return place->moves || place->upgrades || place->touches;
}

static struct place *place_of(uint64_t line, uint64_t pc)
{
	uint64_t at = (line * UINT64_C(0x9e3779b97f4a7c15) ^ pc * UINT64_C(0xff51afd7ed558ccd)) >> 40;
	struct place *place;

	for (;; at++) {
		place = &places[at % NR_PLACES];
		if (!is_used(place) || (place->line == line && place->pc == pc))
			return place;
	}
}

static void note(enum outcome outcome, uint64_t line, uint64_t pc, uint64_t vaddr)
{
	struct place *place;

	if (outcome == OUTCOME_HIT && !moved.lines[line])
		return;
	place = place_of(line, pc);
	if (!is_used(place)) {
		if (++nr_places > NR_PLACES / 2)
			give_up("too much happens in a section");
		place->line = line;
		place->pc = pc;
		place->vaddr = vaddr;
	}
	switch (outcome) {
	case OUTCOME_HIT:
		place->touches++;
		return;
	case OUTCOME_UPGRADE:
		place->upgrades++;
		window.upgrades++;
		break;
	case OUTCOME_READ:
	case OUTCOME_WRITE:
		place->moves++;
		window.moves++;
		break;
	}
	moved.lines[line] = 1;
}

/* Writes what came of the instructions, and forgets it. */
static void end_section(void)
{
	size_t i;

	for (i = 0; i < NR_PLACES; i++) {
		const struct place *place = &places[i];

		if (is_used(place))
			fprintf(out, "M %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIu64 " %" PRIu64
				" %" PRIu64 "\n", place->line, place->pc, place->vaddr,
				place->moves, place->upgrades, place->touches);
	}
	memset(places, 0, sizeof(places));
	nr_places = 0;
	directory_clear(&moved);
}

/*
 * The data of a callback is the address of an instruction, which is the extension
 * of a number of 48 bits with its sign, and whether it is locked.
 */
static void *pack(uint64_t pc, bool locked)
{
	return (void *)(uintptr_t)(pc << 1 | locked);
}

static uint64_t pc_of(void *data)
{
	return (uint64_t)((int64_t)(uintptr_t)data >> 1);
}

static bool locked_of(void *data)
{
	return (uintptr_t)data & 1;
}

/* The physical address of what is accessed; false if that is not memory. */
static bool physical(uint32_t access, uint64_t vaddr, uint64_t *address)
{
	struct qemu_plugin_hwaddr *hwaddr = qemu_plugin_get_hwaddr(access, vaddr);

	if (!hwaddr || qemu_plugin_hwaddr_is_io(hwaddr))
		return false;
	*address = qemu_plugin_hwaddr_phys_addr(hwaddr);
	return *address < MEMORY_BYTES;
}

static void on_access(unsigned int cpu, uint32_t access, uint64_t vaddr, void *data)
{
	bool store, write, counted;
	uint64_t address, last, at;

	if (!tracking)
		return;
	store = qemu_plugin_mem_is_store(access);
	/*
	 * A locked instruction asks for its line to write to it, before it reads. It
	 * is one access, and QEMU shows one or, where no other processor can come
	 * between, two: the load and the store.
	 */
	write = store || locked_of(data);
	counted = window.open && group_of[cpu] == window.group;
	last = vaddr + (UINT64_C(1) << qemu_plugin_mem_size_shift(access)) - 1;
	if (!physical(access, vaddr, &address))
		return;
	for (at = vaddr;;) {
		uint64_t line = address >> LINE_SHIFT;
		enum outcome outcome = directory_access(&directory, line, cpu, write);

		if (counted) {
			window.accesses += store || !locked_of(data);
			note(outcome, line, pc_of(data), at);
		}
		if (at >> LINE_SHIFT == last >> LINE_SHIFT)
			break;
		at = last;
		/* The next line may be on another page, which is anywhere. */
		if (vaddr >> PAGE_SHIFT == last >> PAGE_SHIFT)
			address += last - vaddr;
		else if (!physical(access, last, &address))
			break;
	}
}

static void begin_window(unsigned int cpu, unsigned int place)
{
	if (!tracking || window.open)
		give_up("a window begins in another, or in no section");
	window.open = true;
	window.place = place;
	window.group = group_of[cpu];
	window.accesses = 0;
	window.moves = 0;
	window.upgrades = 0;
}

static void end_window(void)
{
	if (!window.open)
		give_up("a window ends that has not begun");
	window.open = false;
	fprintf(out, "W %u %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", window.place,
		window.accesses, window.moves, window.upgrades);
}

static void begin_section(void)
{
	unsigned int cpu;

	if (window.open)
		give_up("a section begins in a window");
	end_section();
	directory_clear(&directory);
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		group_of[cpu] = cpu;
	tracking = true;
	fputs("S\n", out);
}

static void over(void)
{
	end_section();
	tracking = false;
	fputs("E\n", out);
	fflush(out);
}

static void on_marker(unsigned int cpu, uint32_t access, uint64_t vaddr, void *data)
{
	unsigned int argument = vaddr & ARGUMENT_MASK;

	(void)access;
	(void)data;
	if (!emulator)
		emulator = pthread_self();
	else if (!pthread_equal(emulator, pthread_self()))
		give_up("more than one thread emulates processors");
	switch (vaddr & WORD_MASK) {
	case WORD_SECTION:
		begin_section();
		break;
	case WORD_BEGIN:
		begin_window(cpu, argument);
		break;
	case WORD_END:
		end_window();
		break;
	case WORD_GROUP:
		/* Not those that processors are in by themselves. */
		group_of[cpu] = MAX_CPUS + argument;
		break;
	case WORD_OVER:
		over();
		break;
	default:
		give_up("the guest says what nobody understands");
	}
}

static void on_translation(uint64_t id, struct qemu_plugin_tb *tb)
{
	size_t nr = qemu_plugin_tb_n_insns(tb), i;

	(void)id;
	for (i = 0; i < nr; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		const uint8_t *bytes = qemu_plugin_insn_data(insn);
		size_t size = qemu_plugin_insn_size(insn);
		bool marks = size == sizeof(marker) && !memcmp(bytes, marker, size);
		void *data = pack(qemu_plugin_insn_vaddr(insn), is_locked(bytes, size));

		qemu_plugin_register_vcpu_mem_cb(insn, marks ? on_marker : on_access,
						 QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW,
						 data);
	}
}

static void on_exit_of_qemu(uint64_t id, void *data)
{
	(void)id;
	(void)data;
	fclose(out);
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(uint64_t id, const struct qemu_plugin_info *info,
					   int argc, char **argv)
{
	static const char argument[] = "out=";

	if (!info->system_emulation || strcmp(info->target_name, "x86_64") ||
	    info->system.max_vcpus > MAX_CPUS) {
		fprintf(stderr, "lines: only for a machine of x86_64 with at most %d processors\n",
			MAX_CPUS);
		return 1;
	}
	if (argc != 1 || strncmp(argv[0], argument, strlen(argument))) {
		fprintf(stderr, "lines: wants out=FILE, and nothing else\n");
		return 1;
	}
	out = fopen(argv[0] + strlen(argument), "w");
	if (!out || !directory_init(&directory, MEMORY_BYTES) ||
	    !directory_init(&moved, MEMORY_BYTES)) {
		perror("lines");
		return 1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
	return 0;
}
