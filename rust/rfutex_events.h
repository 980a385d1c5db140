/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The trace events, which trace.rs emits. Documentation/trace.rst describes
 * them. Programs parse what they print: fields may be added at the end only.
 */

#undef TRACE_SYSTEM
#define TRACE_SYSTEM rfutex

#if !defined(RFUTEX_EVENTS_H) || defined(TRACE_HEADER_MULTI_READ)
#define RFUTEX_EVENTS_H

#include <linux/rfutex.h>
#include <linux/tracepoint.h>
#include <linux/types.h>

#include "trace.h"

#define rfutex_show_kind(kind)					\
	__print_symbolic(kind,					\
		{ RFUTEX_KEY_PRIVATE,	"private" },		\
		{ RFUTEX_KEY_MM,	"mm" },			\
		{ RFUTEX_KEY_INODE,	"inode" },		\
		{ RFUTEX_KEY_ARENA,	"arena" })

#define rfutex_show_op(op)					\
	__print_symbolic(op,					\
		{ RFUTEX_TRACE_OP_WAIT,		"wait" },	\
		{ RFUTEX_TRACE_OP_WAITV,	"waitv" },	\
		{ RFUTEX_TRACE_OP_SWAP,		"swap" },	\
		{ RFUTEX_TRACE_OP_URING_WAIT,	"uring_wait" },	\
		{ RFUTEX_TRACE_OP_WAKE,		"wake" },	\
		{ RFUTEX_TRACE_OP_WAKEV,	"wakev" },	\
		{ RFUTEX_TRACE_OP_WAKE_OP,	"wake_op" })

/* EALREADY and EAGAIN stand for what only happens to words of RFUTEX_WAITV. */
#define rfutex_show_result(result)				\
	__print_symbolic(result,				\
		{ 0,		"woken" },			\
		{ -ETIMEDOUT,	"timed_out" },			\
		{ -ERESTARTSYS,	"signal" },			\
		{ -EOWNERDEAD,	"owner_dead" },			\
		{ -EALREADY,	"other_word" },			\
		{ -EAGAIN,	"changed" },			\
		{ -ECANCELED,	"cancelled" })

#define rfutex_assign_key(prefix, key) do {			\
		__entry->prefix##kind = (key)->kind;		\
		__entry->prefix##offset = (key)->offset;	\
		__entry->prefix##object = (key)->object;	\
		__entry->prefix##index = (key)->index;		\
	} while (0)

#define RFUTEX_KEY_FORMAT(prefix)				\
	prefix "kind=%s " prefix "object=%016llx "		\
	prefix "index=%llu " prefix "offset=%u"

TRACE_EVENT(rfutex_wait,
	TP_PROTO(u32 op, const struct rfutex_trace_key *key, u32 size, u64 val,
		 u64 mask, bool deadline),
	TP_ARGS(op, key, size, val, mask, deadline),
	TP_STRUCT__entry(
		__field(u32, op)
		__field(u32, kind)
		__field(u32, offset)
		__field(u64, object)
		__field(u64, index)
		__field(u32, size)
		__field(u64, val)
		__field(u64, mask)
		__field(bool, deadline)
	),
	TP_fast_assign(
		__entry->op = op;
		rfutex_assign_key(, key);
		__entry->size = size;
		__entry->val = val;
		__entry->mask = mask;
		__entry->deadline = deadline;
	),
	TP_printk("op=%s " RFUTEX_KEY_FORMAT("")
		  " size=%u val=0x%llx mask=0x%llx deadline=%d",
		  rfutex_show_op(__entry->op), rfutex_show_kind(__entry->kind),
		  __entry->object, __entry->index, __entry->offset,
		  __entry->size, __entry->val, __entry->mask,
		  __entry->deadline)
);

TRACE_EVENT(rfutex_woken,
	TP_PROTO(u32 op, const struct rfutex_trace_key *key, int result),
	TP_ARGS(op, key, result),
	TP_STRUCT__entry(
		__field(u32, op)
		__field(u32, kind)
		__field(u32, offset)
		__field(u64, object)
		__field(u64, index)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->op = op;
		rfutex_assign_key(, key);
		__entry->result = result;
	),
	TP_printk("op=%s " RFUTEX_KEY_FORMAT("") " result=%s",
		  rfutex_show_op(__entry->op), rfutex_show_kind(__entry->kind),
		  __entry->object, __entry->index, __entry->offset,
		  rfutex_show_result(__entry->result))
);

TRACE_EVENT(rfutex_wake,
	TP_PROTO(u32 op, const struct rfutex_trace_key *key, u64 mask, u32 nr,
		 u32 woken),
	TP_ARGS(op, key, mask, nr, woken),
	TP_STRUCT__entry(
		__field(u32, op)
		__field(u32, kind)
		__field(u32, offset)
		__field(u64, object)
		__field(u64, index)
		__field(u64, mask)
		__field(u32, nr)
		__field(u32, woken)
	),
	TP_fast_assign(
		__entry->op = op;
		rfutex_assign_key(, key);
		__entry->mask = mask;
		__entry->nr = nr;
		__entry->woken = woken;
	),
	TP_printk("op=%s " RFUTEX_KEY_FORMAT("") " mask=0x%llx nr=%u woken=%u",
		  rfutex_show_op(__entry->op), rfutex_show_kind(__entry->kind),
		  __entry->object, __entry->index, __entry->offset,
		  __entry->mask, __entry->nr, __entry->woken)
);

TRACE_EVENT(rfutex_requeue,
	TP_PROTO(const struct rfutex_trace_key *from,
		 const struct rfutex_trace_key *to, u32 nr_wake, u32 nr_move,
		 u32 woken, u32 moved),
	TP_ARGS(from, to, nr_wake, nr_move, woken, moved),
	TP_STRUCT__entry(
		__field(u32, kind)
		__field(u32, offset)
		__field(u64, object)
		__field(u64, index)
		__field(u32, to_kind)
		__field(u32, to_offset)
		__field(u64, to_object)
		__field(u64, to_index)
		__field(u32, nr_wake)
		__field(u32, nr_move)
		__field(u32, woken)
		__field(u32, moved)
	),
	TP_fast_assign(
		rfutex_assign_key(, from);
		rfutex_assign_key(to_, to);
		__entry->nr_wake = nr_wake;
		__entry->nr_move = nr_move;
		__entry->woken = woken;
		__entry->moved = moved;
	),
	TP_printk(RFUTEX_KEY_FORMAT("") " " RFUTEX_KEY_FORMAT("to_")
		  " nr_wake=%u nr_move=%u woken=%u moved=%u",
		  rfutex_show_kind(__entry->kind),
		  __entry->object, __entry->index, __entry->offset, rfutex_show_kind(__entry->to_kind),
		  __entry->to_object, __entry->to_index, __entry->to_offset,
		  __entry->nr_wake, __entry->nr_move, __entry->woken,
		  __entry->moved)
);

TRACE_EVENT(rfutex_watch,
	TP_PROTO(u32 what, u64 set, u64 id, const struct rfutex_trace_key *key),
	TP_ARGS(what, set, id, key),
	TP_STRUCT__entry(
		__field(u32, what)
		__field(u32, kind)
		__field(u32, offset)
		__field(u64, object)
		__field(u64, index)
		__field(u64, set)
		__field(u64, id)
	),
	TP_fast_assign(
		__entry->what = what;
		rfutex_assign_key(, key);
		__entry->set = set;
		__entry->id = id;
	),
	TP_printk("what=%s set=%016llx id=%llu " RFUTEX_KEY_FORMAT(""),
		  __print_symbolic(__entry->what,
			{ RFUTEX_TRACE_WATCH_ARMED,	"armed" },
			{ RFUTEX_TRACE_WATCH_FIRED,	"fired" },
			{ RFUTEX_TRACE_WATCH_MOVED,	"moved" },
			{ RFUTEX_TRACE_WATCH_REMOVED,	"removed" }),
		  __entry->set, __entry->id, rfutex_show_kind(__entry->kind),
		  __entry->object, __entry->index, __entry->offset)
);

TRACE_EVENT(rfutex_retry,
	TP_PROTO(u32 resolver, u32 step),
	TP_ARGS(resolver, step),
	TP_STRUCT__entry(
		__field(u32, resolver)
		__field(u32, step)
	),
	TP_fast_assign(
		__entry->resolver = resolver;
		__entry->step = step;
	),
	TP_printk("resolver=%s step=%s",
		  __print_symbolic(__entry->resolver,
			{ RFUTEX_RESOLVER_PAGE,		"page" },
			{ RFUTEX_RESOLVER_VMA,		"vma" },
			{ RFUTEX_RESOLVER_LOCKED,	"locked" }),
		  __print_symbolic(__entry->step,
			{ RFUTEX_TRACE_STEP_NO_MAPPING,		"no_mapping" },
			{ RFUTEX_TRACE_STEP_HOST_GONE,		"host_gone" },
			{ RFUTEX_TRACE_STEP_INODE_GOING,	"inode_going" },
			{ RFUTEX_TRACE_STEP_MAPPING_CHANGED,	"mapping_changed" },
			{ RFUTEX_TRACE_STEP_MMAP_LOCKED,	"mmap_locked" },
			{ RFUTEX_TRACE_STEP_NO_AREA,		"no_area" },
			{ RFUTEX_TRACE_STEP_NO_NUMBER,		"no_number" },
			{ RFUTEX_TRACE_STEP_AREA_CHANGED,	"area_changed" },
			{ RFUTEX_TRACE_STEP_VMA_LOCKED,		"vma_locked" }))
);

TRACE_EVENT(rfutex_owner_dead,
	TP_PROTO(u32 what, u32 owner, u32 owner_pid, u64 id, u32 marked),
	TP_ARGS(what, owner, owner_pid, id, marked),
	TP_STRUCT__entry(
		__field(u32, what)
		__field(u32, owner)
		__field(u32, owner_pid)
		__field(u32, marked)
		__field(u64, id)
	),
	TP_fast_assign(
		__entry->what = what;
		__entry->owner = owner;
		__entry->owner_pid = owner_pid;
		__entry->marked = marked;
		__entry->id = id;
	),
	TP_printk("what=%s owner=%s pid=%u id=%llu marked=%u",
		  __print_symbolic(__entry->what,
			{ RFUTEX_TRACE_DEATH_WAIT,	"wait" },
			{ RFUTEX_TRACE_DEATH_ROBUST,	"robust" }),
		  __print_symbolic(__entry->owner,
			{ RFUTEX_OWNER_THREAD,		"thread" },
			{ RFUTEX_OWNER_PROCESS,		"process" }),
		  __entry->owner_pid, __entry->id, __entry->marked)
);

#endif /* RFUTEX_EVENTS_H */

/* This part must be outside the protection against double inclusion. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE rfutex_events
#include <trace/define_trace.h>
