/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/rfutex: wait on, and wake, words of memory.
 *
 * This header is the only definition of the interface. Each command is
 * described in Documentation/ioctl.rst.
 *
 * Rules that hold for every struct:
 * - The layout is the same for 32-bit and 64-bit callers.
 * - Flag bits without a name, and padding, must be zero (EINVAL).
 * - The ioctl number carries the size of the struct. A shorter struct, from an
 *   older program, is taken as if extended with zeros; a longer one, from a
 *   newer program, is taken when what the module does not know is zero (E2BIG).
 *   Of an answer the caller gets as much as it has room for, then zeros.
 * - Structs grow at their ends only. So none contains another that may grow;
 *   struct rfutex_word and struct rfutex_event never do.
 */

#ifndef _UAPI_LINUX_RFUTEX_H
#define _UAPI_LINUX_RFUTEX_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Grows with each release that adds to the interface. */
#define RFUTEX_VERSION		4

/*
 * struct rfutex_word - where a word is
 * @addr: its address, or with RFUTEX_WORD_ARENA its offset; a multiple of @size
 * @size: its size in bytes: 1, 2, 4 or 8. No part of what identifies the word.
 * @flags: RFUTEX_WORD_*, one at most
 */
struct rfutex_word {
	__u64 addr;
	__u32 size;
	__u32 flags;
};

/* Only threads of this process meet here: cheaper, whatever the memory is. */
#define RFUTEX_WORD_PRIVATE	(1U << 0)
/* In the arena of this file's table (RFUTEX_TABLE_CREATE), at an offset. */
#define RFUTEX_WORD_ARENA	(1U << 1)

/* Every bit: meets every waiter. */
#define RFUTEX_MASK_ANY		(~0ULL)

/*
 * struct rfutex_query - what this module can do
 * @version: out: RFUTEX_VERSION
 * @resolver: out: which resolver this open file uses, RFUTEX_RESOLVER_*
 * @features: out: RFUTEX_FEATURE_*
 * @sizes: out: the word sizes in bytes, or-ed: 1 | 2 | 4 | 8
 * @nr_buckets: out: number of buckets in this open file's table
 * @hold: out: what a thread that sleeps on a word of a file holds,
 *	RFUTEX_HOLD_*
 * @max_watches: out: how many watches a user can have at a time; 0 without
 *	RFUTEX_FEATURE_WATCHES
 * @arena_size: out: the size of this open file's arena in bytes; 0 without one
 * @max_arena_pages: out: how many pages all arenas of a user can have
 * @max_tables: out: how many tables of his own a user can have; 0 without
 *	RFUTEX_FEATURE_TABLES
 * @robust_size: out: the size of the robust part of this open file's arena
 */
struct rfutex_query {
	__u32 version;
	__u32 resolver;
	__u64 features;
	__u32 sizes;
	__u32 nr_buckets;
	__u32 hold;
	__u32 max_watches;
	__u64 arena_size;
	__u64 max_arena_pages;
	__u32 max_tables;
	__u32 robust_size;
};

#define RFUTEX_FEATURE_WAIT	(1ULL << 0)
#define RFUTEX_FEATURE_WAKE	(1ULL << 1)
#define RFUTEX_FEATURE_KEY_INFO	(1ULL << 2)
#define RFUTEX_FEATURE_REQUEUE	(1ULL << 3)
#define RFUTEX_FEATURE_WAKE_OP	(1ULL << 4)
#define RFUTEX_FEATURE_WAITV	(1ULL << 5)
#define RFUTEX_FEATURE_SWAP	(1ULL << 6)
#define RFUTEX_FEATURE_WATCHES	(1ULL << 7)
#define RFUTEX_FEATURE_WAKEV	(1ULL << 8)
#define RFUTEX_FEATURE_URING	(1ULL << 9)
#define RFUTEX_FEATURE_TABLES	(1ULL << 10)
#define RFUTEX_FEATURE_OWNERS	(1ULL << 11)
#define RFUTEX_FEATURE_ROBUST	(1ULL << 12)
#define RFUTEX_FEATURE_LIST	(1ULL << 13)
/* RFUTEX_WAKE_OP: also targets with addresses that have 8, 16 or 64 bits. */
#define RFUTEX_FEATURE_WAKE_OP_SIZES	(1ULL << 14)
/* Which resolvers there are (RFUTEX_SET_RESOLVER). */
#define RFUTEX_FEATURE_RESOLVER_PAGE	(1ULL << 16)
#define RFUTEX_FEATURE_RESOLVER_VMA	(1ULL << 17)
#define RFUTEX_FEATURE_RESOLVER_LOCKED	(1ULL << 18)
/* A lab build: slower, with ways to provoke every failure. Not for use. */
#define RFUTEX_FEATURE_LAB	(1ULL << 63)

/* How what identifies a word is found: */
#define RFUTEX_RESOLVER_PAGE	1	/* by its page, without a lock */
#define RFUTEX_RESOLVER_VMA	2	/* by what is mapped there */
#define RFUTEX_RESOLVER_LOCKED	3	/* by its page, locked (lab builds) */

/* What a thread holds while it sleeps on a word of a file: */
#define RFUTEX_HOLD_INODE	1	/* the file's inode and its file system */
#define RFUTEX_HOLD_NOTHING	2	/* nothing, as in futex(2) */

/*
 * struct rfutex_wait - sleep while the word has a value
 * @word: the word
 * @val: the value; bits above the word's size must be zero
 * @mask: a wake reaches this waiter if its mask and this one share a bit
 * @deadline: absolute time in nanoseconds on @clock; 0 with RFUTEX_CLOCK_NONE
 * @clock: RFUTEX_CLOCK_*
 * @flags: RFUTEX_OWNER_*
 * @cond: zero: the word must be equal to @val
 * @owner: the number, in the caller's pid namespace, of the thread or process
 *	whose end also ends the wait (EOWNERDEAD); zero with RFUTEX_OWNER_NONE.
 *	Somebody who has no number in this namespace passes for ended.
 * @owner_id: its id (RFUTEX_OWNER_ID); zero: any thread or process that has
 *	this number
 */
struct rfutex_wait {
	struct rfutex_word word;
	__u64 val;
	__u64 mask;
	__s64 deadline;
	__u32 clock;
	__u32 flags;
	__u32 cond;
	__u32 owner;
	__u64 owner_id;
};

#define RFUTEX_OWNER_NONE	0
#define RFUTEX_OWNER_THREAD	1	/* it ends with its program, too */
#define RFUTEX_OWNER_PROCESS	2	/* it ends with its last thread */

#define RFUTEX_CLOCK_NONE	0
#define RFUTEX_CLOCK_MONOTONIC	1
#define RFUTEX_CLOCK_REALTIME	2
#define RFUTEX_CLOCK_BOOTTIME	3

/*
 * struct rfutex_wake - wake waiters
 * @word: the word
 * @mask: which waiters
 * @nr: how many at most; 0 wakes nobody
 * @pad: zero
 */
struct rfutex_wake {
	struct rfutex_word word;
	__u64 mask;
	__u32 nr;
	__u32 pad;
};

/*
 * struct rfutex_requeue - wake some waiters, and move others to another word
 * @from: the word on which they wait
 * @to: the word to which they are moved
 * @val: the value that @from must have, with RFUTEX_REQUEUE_CMP; else zero
 * @nr_wake: how many to wake at most, whatever their masks
 * @nr_move: how many more to move at most
 * @flags: RFUTEX_REQUEUE_*
 * @pad: zero
 */
struct rfutex_requeue {
	struct rfutex_word from;
	struct rfutex_word to;
	__u64 val;
	__u32 nr_wake;
	__u32 nr_move;
	__u32 flags;
	__u32 pad;
};

/* Do nothing (EAGAIN) unless @from has the value @val. */
#define RFUTEX_REQUEUE_CMP	(1U << 0)

/*
 * struct rfutex_wake_op - change a word, and wake on two
 * @word: where to wake in any case
 * @target: the word that is changed, and where to wake if its old value
 *	compares
 * @operand: for @op; bits above @target's size must be zero
 * @comparand: for @cmp, likewise
 * @nr: how many to wake on @word at most
 * @nr_target: how many to wake on @target at most
 * @op: RFUTEX_OP_*
 * @cmp: RFUTEX_CMP_*
 */
struct rfutex_wake_op {
	struct rfutex_word word;
	struct rfutex_word target;
	__u64 operand;
	__u64 comparand;
	__u32 nr;
	__u32 nr_target;
	__u32 op;
	__u32 cmp;
};

/* What becomes of the word. */
#define RFUTEX_OP_SET		0	/* operand */
#define RFUTEX_OP_ADD		1	/* old + operand, without carry */
#define RFUTEX_OP_OR		2	/* old | operand */
#define RFUTEX_OP_ANDN		3	/* old & ~operand */
#define RFUTEX_OP_XOR		4	/* old ^ operand */

/* How the old value and the comparand are compared, both taken as signed. */
#define RFUTEX_CMP_EQ		0
#define RFUTEX_CMP_NE		1
#define RFUTEX_CMP_LT		2	/* old < comparand */
#define RFUTEX_CMP_LE		3
#define RFUTEX_CMP_GT		4
#define RFUTEX_CMP_GE		5

/*
 * struct rfutex_waitv_entry - one of the words of an RFUTEX_WAITV
 * @word: the word
 * @val: the value, as in struct rfutex_wait
 * @mask: likewise
 * @flags: RFUTEX_OWNER_*, likewise
 * @cond: zero, as in struct rfutex_wait
 * @owner_id: likewise
 * @owner: likewise
 * @pad: zero
 */
struct rfutex_waitv_entry {
	struct rfutex_word word;
	__u64 val;
	__u64 mask;
	__u32 flags;
	__u32 cond;
	__u64 owner_id;
	__u32 owner;
	__u32 pad;
};

/*
 * struct rfutex_waitv - sleep while all of several words have their values
 * @entries: address of an array of struct rfutex_waitv_entry
 * @nr: its length, 1 to RFUTEX_WAITV_MAX
 * @entry_size: the size of its elements in bytes
 * @deadline: as in struct rfutex_wait
 * @clock: likewise
 * @flags: zero
 */
struct rfutex_waitv {
	__u64 entries;
	__u32 nr;
	__u32 entry_size;
	__s64 deadline;
	__u32 clock;
	__u32 flags;
};

#define RFUTEX_WAITV_MAX	128
/* How many different owners the entries can have. */
#define RFUTEX_WAITV_OWNERS	8
/* The result is the index of an entry whose owner has ended. */
#define RFUTEX_WAITV_OWNERDEAD	(1U << 16)

/*
 * struct rfutex_swap - wake one waiter on one word, and sleep on another
 * @word: where to sleep; this and what follows as in struct rfutex_wait
 * @val: likewise
 * @mask: likewise
 * @deadline: likewise
 * @clock: likewise
 * @flags: likewise
 * @cond: likewise
 * @owner: likewise
 * @wake: where to wake one waiter
 * @owner_id: as in struct rfutex_wait
 */
struct rfutex_swap {
	struct rfutex_word word;
	__u64 val;
	__u64 mask;
	__s64 deadline;
	__u32 clock;
	__u32 flags;
	__u32 cond;
	__u32 owner;
	struct rfutex_word wake;
	__u64 owner_id;
};

/*
 * struct rfutex_owner_id - what the caller is as an owner
 * @thread_id: out: the id of this thread while it runs this program
 * @process_id: out: the id of this process
 * @thread: out: the number of this thread in its pid namespace
 * @process: out: likewise, the number of this process
 *
 * The ids are below 2^62 and not zero. No other thread or process gets the same
 * one until the machine is started again.
 */
struct rfutex_owner_id {
	__u64 thread_id;
	__u64 process_id;
	__u32 thread;
	__u32 process;
};

/*
 * struct rfutex_wakev_entry - one of the words of an RFUTEX_WAKEV
 * @word: the word
 * @mask: which waiters, as in struct rfutex_wake
 * @nr: how many at most, likewise
 * @flags: zero
 */
struct rfutex_wakev_entry {
	struct rfutex_word word;
	__u64 mask;
	__u32 nr;
	__u32 flags;
};

/*
 * struct rfutex_wakev - wake waiters on several words
 * @entries: address of an array of struct rfutex_wakev_entry
 * @results: address of an array of @nr __u32, which become the numbers of
 *	waiters that were woken on each word
 * @nr: the length of both arrays, 1 to RFUTEX_WAKEV_MAX
 * @entry_size: the size of the elements of @entries in bytes
 * @flags: zero
 * @pad: zero
 */
struct rfutex_wakev {
	__u64 entries;
	__u64 results;
	__u32 nr;
	__u32 entry_size;
	__u32 flags;
	__u32 pad;
};

#define RFUTEX_WAKEV_MAX	128

/*
 * struct rfutex_watches_create - open a watch set
 * @flags: RFUTEX_WATCHES_*
 * @pad: zero
 *
 * A watch waits on a word, as a thread does, but nobody sleeps meanwhile. When
 * a wake finds it, its set has an event, which read(2) gets as a struct
 * rfutex_event, and which poll(2), epoll(7) and io_uring(7) can wait for. The
 * words of the set are those of the device file on which it was opened.
 */
struct rfutex_watches_create {
	__u32 flags;
	__u32 pad;
};

#define RFUTEX_WATCHES_CLOEXEC	(1U << 0)	/* as O_CLOEXEC */
#define RFUTEX_WATCHES_NONBLOCK	(1U << 1)	/* as O_NONBLOCK */

/*
 * struct rfutex_watch_add - watch a word while it has a value
 * @word: the word
 * @val: the value, as in struct rfutex_wait
 * @mask: likewise
 * @cookie: any value: it comes back in the events
 * @id: out: the number by which RFUTEX_WATCH_REMOVE knows the watch; never
 *	zero. It is undefined after an error.
 * @flags: RFUTEX_WATCH_*
 * @cond: zero, as in struct rfutex_wait
 *
 * The struct must be long enough to have @id (EINVAL).
 */
struct rfutex_watch_add {
	struct rfutex_word word;
	__u64 val;
	__u64 mask;
	__u64 cookie;
	__u64 id;
	__u32 flags;
	__u32 cond;
};

/*
 * The watch stays when a wake has found it, behind the other waiters of its
 * word, and counts the wakes. Without this it is gone after the first.
 */
#define RFUTEX_WATCH_REPEAT	(1U << 0)

/*
 * struct rfutex_watch_remove - end a watch
 * @id: which, from struct rfutex_watch_add
 * @flags: zero
 * @pad: zero
 */
struct rfutex_watch_remove {
	__u64 id;
	__u32 flags;
	__u32 pad;
};

/*
 * struct rfutex_event - what read(2) gets from a watch set
 * @cookie: that of the watch
 * @id: likewise
 * @woken: how many wakes have counted it since its last event
 * @moved: how many requeues to another word have counted it as moved since
 *	then. Only a watch with RFUTEX_WATCH_REPEAT hears of them, because it
 *	stays where it is.
 * @what: RFUTEX_EVENT_*
 */
struct rfutex_event {
	__u64 cookie;
	__u64 id;
	__u64 woken;
	__u32 moved;
	__u32 what;
};

#define RFUTEX_EVENT_WOKEN	(1U << 0)	/* @woken is not zero */
#define RFUTEX_EVENT_MOVED	(1U << 1)	/* @moved is not zero */

/*
 * struct rfutex_table_create - open a device file with a table of its own
 * @flags: RFUTEX_TABLE_*
 * @resolver: RFUTEX_RESOLVER_*; 0: as the file on which this is called
 * @hold: RFUTEX_HOLD_*; 0: RFUTEX_HOLD_NOTHING. RFUTEX_HOLD_INODE takes
 *	CAP_SYS_ADMIN.
 * @nr_buckets: the number of hash buckets, rounded up to a power of two; 0: 64.
 *	At most RFUTEX_TABLE_BUCKETS without CAP_SYS_RESOURCE.
 * @arena_size: the size in bytes of the memory that the table has, a multiple
 *	of the page size; 0: none
 * @robust_size: the size in bytes of the part of the arena, from its beginning,
 *	that consists of robust words; a multiple of 8; 0: none. More than
 *	RFUTEX_ROBUST_SIZE takes CAP_SYS_RESOURCE.
 *
 * Nobody else meets those who have this file, whatever their words. All commands
 * work on it, except that RFUTEX_SET_RESOLVER is refused (EINVAL). Without a
 * name it can only be passed on: by dup(2), fork(2), or SCM_RIGHTS.
 *
 * The memory, an arena, is zero at first. Its words are named by their offsets,
 * with RFUTEX_WORD_ARENA. It can be mapped by mmap(2) with MAP_SHARED, but never
 * executable. By its address in a mapping, a word in it can only be used with
 * RFUTEX_WORD_PRIVATE (else EFAULT), and then is another word.
 */
struct rfutex_table_create {
	__u32 flags;
	__u32 resolver;
	__u32 hold;
	__u32 nr_buckets;
	__u64 arena_size;
	__u64 robust_size;
};

#define RFUTEX_TABLE_CLOEXEC	(1U << 0)	/* as O_CLOEXEC */

/*
 * A robust word has 64 bits. A thread that has joined (RFUTEX_JOIN) and takes
 * what the word stands for writes its id there (RFUTEX_OWNER_ID), shifted by
 * RFUTEX_ROBUST_SHIFT; bit 0 says that somebody waits. When the thread ends,
 * each word that carries its id keeps bit 0, gets bit 1, and loses the id, and
 * all who wait there are woken. The end of a thread also wakes one of those who
 * wait on a word without an id, or without bit 0.
 */
#define RFUTEX_ROBUST_WAITERS	(1ULL << 0)
#define RFUTEX_ROBUST_DIED	(1ULL << 1)
#define RFUTEX_ROBUST_SHIFT	2
#define RFUTEX_ROBUST_SIZE	(64 * 1024)

#define RFUTEX_TABLE_BUCKETS		4096
#define RFUTEX_TABLE_MAX_BUCKETS	(1U << 20)
/* The largest size of an arena in bytes. */
#define RFUTEX_ARENA_MAX		(1ULL << 30)

/*
 * struct rfutex_key_info - what identifies a word, and who waits there
 * @word: in: the word
 * @kind: out: RFUTEX_KEY_*
 * @resolver: out: RFUTEX_RESOLVER_*, the resolver that was used
 * @dev_major: out: for an inode key, the device, as in /proc/self/maps
 * @dev_minor: out: likewise
 * @ino: out: for an inode key, the inode number, as in /proc/self/maps
 * @index: out: for an inode key or an arena key, the page's index in the file
 *	or in the arena; else the page's number in the address space. Units of
 *	the page size.
 * @offset: out: byte offset in that page
 * @folio_order: out: the folio on which the word lay has 2^order pages; -1
 *	when the resolver looked at none, or the caller lacks CAP_SYS_ADMIN
 * @folio_index: out: the index of the word's page in that folio; 0 when
 *	@folio_order is -1
 * @nr_waiters: out: how many waiters are queued on the word now
 * @pad: out: zero
 * @object: out: the number of the file, the address space or the arena, which
 *	no other has as long as the module is loaded. It tells apart two files
 *	that have the same device and inode number, as overlayfs shows a file
 *	before and after it is copied up.
 */
struct rfutex_key_info {
	struct rfutex_word word;
	__u32 kind;
	__u32 resolver;
	__u32 dev_major;
	__u32 dev_minor;
	__u64 ino;
	__u64 index;
	__u32 offset;
	__s32 folio_order;
	__u64 folio_index;
	__u32 nr_waiters;
	__u32 pad;
	__u64 object;
};

/* By address in this process, as asked for with RFUTEX_WORD_PRIVATE. */
#define RFUTEX_KEY_PRIVATE	1
/* By address in this process, because the memory is anonymous. */
#define RFUTEX_KEY_MM		2
/* By inode and position in it. */
#define RFUTEX_KEY_INODE	3
/* By arena and position in it. */
#define RFUTEX_KEY_ARENA	4

/*
 * struct rfutex_list - open a listing of those who wait
 * @flags: RFUTEX_LIST_*
 * @entry_size: the size of struct rfutex_waiter in bytes, as the caller knows it
 *
 * A listing is a file from which read(2) gets a struct rfutex_waiter for each
 * waiter in the table of the device file: as many whole ones as fit, and 0
 * bytes at the end. lseek(2) to 0 starts again. A listing counts as 64 watches
 * of the user who opens it.
 *
 * What it shows depends on who has opened it, not on who reads. In the table
 * that all share, it shows the waiters of processes that have a number in his
 * pid namespace, and that he may inspect: as with PTRACE_MODE_READ in
 * ptrace(2). In a table of one's own it shows all waiters; but what reveals
 * something about the memory of a process, only if he may inspect it, or has
 * its address space.
 *
 * A waiter that waits as long as the listing is read is shown once. But one
 * that is requeued meanwhile may be missing, or be shown twice; and in a hash
 * bucket with more than 64 waiters, a repeated watch that is woken meanwhile may
 * be missing.
 */
struct rfutex_list {
	__u32 flags;
	__u32 entry_size;
};

#define RFUTEX_LIST_CLOEXEC	(1U << 0)	/* as O_CLOEXEC */

/*
 * struct rfutex_waiter - a waiter, as read(2) gets it from a listing
 * @what: RFUTEX_WAITER_THREAD or the like
 * @kind: RFUTEX_KEY_*, of the word
 * @thread: the number of the thread; 0 if it is no thread that waits
 * @process: the number of the process that waits, has armed the watch, or has
 *	submitted the request; 0 if it has ended
 * @addr: with RFUTEX_WAITER_ADDR, where the process has the word: the address,
 *	or the offset in the arena
 * @object: the number of the file, the address space or the arena, as in
 *	struct rfutex_key_info
 * @dev_major: with RFUTEX_WAITER_FILE, the device, as in struct rfutex_key_info
 * @dev_minor: likewise
 * @ino: with RFUTEX_WAITER_FILE, the inode number, likewise
 * @index: likewise; 0 if it is a page number in an address space, and
 *	RFUTEX_WAITER_ADDR is not set
 * @offset: likewise
 * @size: the size of the word in bytes, as the waiter has given it
 * @val: with RFUTEX_WAITER_VAL, the value that the waiter has compared the word
 *	with
 * @mask: a wake reaches the waiter if its mask and this one share a bit
 * @age: how long it had been waiting when the listing began to be read from
 *	its beginning, in nanoseconds; a tick too much or too little
 * @owner: RFUTEX_OWNER_*, of the owner that it has named
 * @owner_number: the number of the owner; 0 if the owner has ended
 * @owner_id: its id
 * @cookie: of a watch; of a request, its user_data; 0 if it is not to be shown
 * @flags: RFUTEX_WAITER_*: which of the fields are known, and to be shown
 * @pad: zero
 * @comm: the name of the thread, or of the main thread of the process
 *
 * Numbers of threads and processes are those in the pid namespace of who has
 * opened the listing. For a thread or a process that has no number there, its id
 * and its name are zero as well.
 */
struct rfutex_waiter {
	__u32 what;
	__u32 kind;
	__u32 thread;
	__u32 process;
	__u64 addr;
	__u64 object;
	__u32 dev_major;
	__u32 dev_minor;
	__u64 ino;
	__u64 index;
	__u32 offset;
	__u32 size;
	__u64 val;
	__u64 mask;
	__u64 age;
	__u32 owner;
	__u32 owner_number;
	__u64 owner_id;
	__u64 cookie;
	__u32 flags;
	__u32 pad;
	__u8 comm[16];
};

#define RFUTEX_WAITER_THREAD		1
#define RFUTEX_WAITER_WATCH		2
#define RFUTEX_WAITER_REPEATED_WATCH	3	/* RFUTEX_WATCH_REPEAT */
#define RFUTEX_WAITER_REQUEST		4	/* of io_uring */

#define RFUTEX_WAITER_ADDR	(1U << 0)
#define RFUTEX_WAITER_VAL	(1U << 1)
#define RFUTEX_WAITER_FILE	(1U << 2)

#define RFUTEX_IOC_MAGIC	0xF7

/*
 * 0x01, 0x06 and 0x07 were RFUTEX_WAIT, RFUTEX_WAITV and RFUTEX_SWAP in version
 * 1, with structs that were laid out otherwise. They are unknown commands now
 * (ENOTTY), and no command ever gets these numbers again.
 */
#define RFUTEX_QUERY		_IOR(RFUTEX_IOC_MAGIC, 0x00, struct rfutex_query)
#define RFUTEX_WAKE		_IOW(RFUTEX_IOC_MAGIC, 0x02, struct rfutex_wake)
#define RFUTEX_KEY_INFO		_IOWR(RFUTEX_IOC_MAGIC, 0x03, struct rfutex_key_info)
#define RFUTEX_REQUEUE		_IOW(RFUTEX_IOC_MAGIC, 0x04, struct rfutex_requeue)
#define RFUTEX_WAKE_OP		_IOW(RFUTEX_IOC_MAGIC, 0x05, struct rfutex_wake_op)
#define RFUTEX_WAIT		_IOW(RFUTEX_IOC_MAGIC, 0x20, struct rfutex_wait)
#define RFUTEX_SWAP		_IOW(RFUTEX_IOC_MAGIC, 0x21, struct rfutex_swap)
#define RFUTEX_WAITV		_IOW(RFUTEX_IOC_MAGIC, 0x22, struct rfutex_waitv)
/* With RFUTEX_FEATURE_WAKEV: */
#define RFUTEX_WAKEV		_IOW(RFUTEX_IOC_MAGIC, 0x23, struct rfutex_wakev)

/* With RFUTEX_FEATURE_OWNERS: */
#define RFUTEX_OWNER_ID		_IOR(RFUTEX_IOC_MAGIC, 0x25, struct rfutex_owner_id)

/*
 * With RFUTEX_FEATURE_ROBUST, on a file with robust words: the words that carry
 * the id of this thread are marked when it ends. The argument is zero.
 */
#define RFUTEX_JOIN		_IO(RFUTEX_IOC_MAGIC, 0x26)

/* With RFUTEX_FEATURE_TABLES: gives the file descriptor of a device file. */
#define RFUTEX_TABLE_CREATE	_IOW(RFUTEX_IOC_MAGIC, 0x24, struct rfutex_table_create)

/* With RFUTEX_FEATURE_LIST: gives the file descriptor of a listing. */
#define RFUTEX_LIST		_IOW(RFUTEX_IOC_MAGIC, 0x27, struct rfutex_list)

/* With RFUTEX_FEATURE_WATCHES: gives the file descriptor of a watch set. */
#define RFUTEX_WATCHES_CREATE	_IOW(RFUTEX_IOC_MAGIC, 0x30, struct rfutex_watches_create)

/* On a watch set, not on the device. */
#define RFUTEX_WATCH_ADD	_IOWR(RFUTEX_IOC_MAGIC, 0x31, struct rfutex_watch_add)
#define RFUTEX_WATCH_REMOVE	_IOW(RFUTEX_IOC_MAGIC, 0x32, struct rfutex_watch_remove)

/*
 * struct rfutex_uring_cmd - what is in the 16 bytes of an io_uring SQE for a
 *	command (IORING_OP_URING_CMD) on the device file
 * @arg: the argument that ioctl(2) would have: mostly the address of a struct
 * @pad: zero
 *
 * All else that no command uses must be zero as well (EINVAL): the fields addr,
 * len, uring_cmd_flags, buf_index and file_index of the SQE and, if it has 128
 * bytes, its second half.
 *
 * The cmd_op of the SQE is the number of one of these commands:
 * - RFUTEX_WAIT: completes when it is woken. It must have no deadline.
 * - RFUTEX_WAKE, RFUTEX_WAKE_ONE and the like, RFUTEX_WAKEV: complete at once.
 * - RFUTEX_URING_CANCEL: @arg is the user_data of requests that wait. Those of
 *	this ring and this open file complete with ECANCELED. The result is their
 *	number.
 */
struct rfutex_uring_cmd {
	__u64 arg;
	__u64 pad;
};

#define RFUTEX_URING_CANCEL	_IO(RFUTEX_IOC_MAGIC, 0x40)

/* The word's address is the argument; any mask, any size. */
#define RFUTEX_WAKE_ONE		_IO(RFUTEX_IOC_MAGIC, 0x10)
#define RFUTEX_WAKE_ALL		_IO(RFUTEX_IOC_MAGIC, 0x11)
#define RFUTEX_WAKE_ONE_PRIVATE	_IO(RFUTEX_IOC_MAGIC, 0x12)
#define RFUTEX_WAKE_ALL_PRIVATE	_IO(RFUTEX_IOC_MAGIC, 0x13)
/* The word's offset in the arena is the argument. */
#define RFUTEX_WAKE_ONE_ARENA	_IO(RFUTEX_IOC_MAGIC, 0x15)
#define RFUTEX_WAKE_ALL_ARENA	_IO(RFUTEX_IOC_MAGIC, 0x16)

/*
 * The argument is RFUTEX_RESOLVER_*: what operations that begin later on this
 * open file use.
 */
#define RFUTEX_SET_RESOLVER	_IO(RFUTEX_IOC_MAGIC, 0x14)

#endif /* _UAPI_LINUX_RFUTEX_H */
