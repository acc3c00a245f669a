/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Counts what became of packets, and why. */
#pragma once

#include "lib/batch.h"
#include "maps/counters.h"
#include "maps/tables.h"

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, COUNTERS_MAX);
  __type(key, __u32);
  __type(value, __u64);
} counters SEC(".maps");

/* What there is to tell of the packet at hand; on this CPU no other is dealt with meanwhile. */
struct telling {
  __u32 why;        /* DROP_*, once it is refused */
  __u32 outcome[2]; /* what egress and ingress policy answered; 0: was not asked */
  __u8 is_reply;
  __u8 begins; /* the connection begins here, unless it is refused */
  __u8 logs;   /* it has passed Log rules */
  __u8 pad;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct telling);
} tellings SEC(".maps");

static __always_inline struct telling* telling(void) {
  __u32 first = 0;
  return bpf_map_lookup_elem(&tellings, &first);
}

static __always_inline int is_logging(__u32 answer) {
  __u32 kind = answer & ANSWER_KIND;
  return kind == ANSWER_LOG_ALLOW || kind == ANSWER_LOG_DENY || kind == ANSWER_LOG_NONE;
}

/* These are functions of their own: the stack of those who call them is full. */
__noinline int begin_telling(void) {
  struct telling* now = telling();
  if (now) __builtin_memset(now, 0, sizeof *now);
  return now != 0;
}

/* `answer`: ANSWER_* | outcome. */
__noinline int note_outcome(__u32 end, __u32 answer) {
  struct telling* now = telling();
  if (!now) return 0;
  now->outcome[end & 1] = answer & ANSWER_VALUE;
  now->logs |= is_logging(answer);
  return 1;
}

static __always_inline void count_more(__u32 what, __u32 more) {
  __u64* counter = bpf_map_lookup_elem(&counters, &what);
  if (counter) *counter += more;
}

static __always_inline void count(__u32 what) {
  count_more(what, 1);
}

/* Whether somebody else refuses what is to be refused. */
static __always_inline int takes_over(void) {
  const struct host* now = the_host();
  return now && now->settings[READ_ONCE(now->batch) & 1] & HOST_TAKES_OVER;
}

/* Counts why, and remembers it for whoever tells of the packet (events.h). */
__noinline int drop(__u32 why) {
  if (takes_over()) return PASS;
  struct telling* now = telling();
  if (now) now->why = why;
  count(why);
  return DROP;
}

/* The same for a packet that nobody has been asked about. */
__noinline int drop_unread(__u32 why) {
  begin_telling();
  return drop(why);
}

/* Of one that has been changed in part already: it is not what it was, and passes in no case. */
__noinline int drop_half_made(void) {
  begin_telling();
  struct telling* now = telling();
  if (now) now->why = DROP_NO_MEMORY;
  count(DROP_NO_MEMORY);
  return DROP;
}
