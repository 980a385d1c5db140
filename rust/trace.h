/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What trace.rs and the trace events (rfutex_events.h) have in common.
 */

#ifndef RFUTEX_TRACE_H
#define RFUTEX_TRACE_H

#include <linux/types.h>

/* A key, as it is shown. The object is the number that RFUTEX_KEY_INFO gives. */
struct rfutex_trace_key {
	u32 kind;
	u32 offset;
	u64 object;
	u64 index;
};

/* The commands that wait or wake. */
#define RFUTEX_TRACE_OP_WAIT		0
#define RFUTEX_TRACE_OP_WAITV		1
#define RFUTEX_TRACE_OP_SWAP		2
#define RFUTEX_TRACE_OP_URING_WAIT	3
#define RFUTEX_TRACE_OP_WAKE		4
#define RFUTEX_TRACE_OP_WAKEV		5
#define RFUTEX_TRACE_OP_WAKE_OP		6

/* What happens to a watch. */
#define RFUTEX_TRACE_WATCH_ARMED	0
#define RFUTEX_TRACE_WATCH_FIRED	1
#define RFUTEX_TRACE_WATCH_MOVED	2
#define RFUTEX_TRACE_WATCH_REMOVED	3

/* Why a resolver has to begin again. */
#define RFUTEX_TRACE_STEP_NO_MAPPING		0
#define RFUTEX_TRACE_STEP_HOST_GONE		1
#define RFUTEX_TRACE_STEP_INODE_GOING		2
#define RFUTEX_TRACE_STEP_MAPPING_CHANGED	3
#define RFUTEX_TRACE_STEP_MMAP_LOCKED		4
#define RFUTEX_TRACE_STEP_NO_AREA		5
#define RFUTEX_TRACE_STEP_NO_NUMBER		6
#define RFUTEX_TRACE_STEP_AREA_CHANGED		7
#define RFUTEX_TRACE_STEP_VMA_LOCKED		8

/* Who has noticed the end of an owner. */
#define RFUTEX_TRACE_DEATH_WAIT		0
#define RFUTEX_TRACE_DEATH_ROBUST	1

#endif /* RFUTEX_TRACE_H */
