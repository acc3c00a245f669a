/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Connections that give way to others: what they have carried, and nobody has told of yet, is told as they go.
 *
 *   room   the first half of the ring; what finds none there is counted (COUNT_UNTOLD), and holds nobody up
 *   cost   of a packet of a known connection nothing; of one that takes a place which has been another's, a look at
 *          what is booked there
 */
#pragma once

#include "lib/connections.h"
#include "lib/events.h"
#include "maps/ledger.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, CONNECTIONS_MAX);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct booked);
} ledger SEC(".maps");

static __always_inline struct booked* booked_at(__u32 place) {
  return bpf_map_lookup_elem(&ledger, &place);
}

/* What both ends have sent, and nobody has told of; modulo 2^32. */
static __always_inline __u32 untold(const struct booked* line, const struct connection* connection,
                                    __u32 version) {
  __u32 sent = connection->packets[0] + connection->packets[1];
  return line->version == version ? sent - line->packets[0] - line->packets[1] : sent;
}

/* Of the connection that is at this place, which is about to be another's. What a workload tells of, the host does
 * not. A function of its own: the stack is full. */
static __noinline int depart(__u32 place, const struct tracked* there, __u32 version) {
  struct booked* line = booked_at(place);
  if (!line) return 0;
  const struct connection* connection = &there->connection;
  __u32 packets = untold(line, connection, version);
  int is_told = (line->version == version && line->ended && !packets) ||
                (there->key.at_host && workload_at_host(connection));
  struct departed* told = 0;
  if (!is_told && bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) <= EVENTS_BYTES / 2)
    told = bpf_ringbuf_reserve(&events, sizeof *told, 0);
  if (told) {
    told->time = bpf_ktime_get_ns();
    told->place = place;
    told->version = version;
    told->outcome[0] = line->outcome[0];
    told->outcome[1] = line->outcome[1];
    told->key = there->key;
    told->connection = *connection;
    bpf_ringbuf_submit(told, BPF_RB_NO_WAKEUP);
  } else if (!is_told) {
    count_more(COUNT_UNTOLD, packets);
  }
  line->outcome[0] = line->outcome[1] = 0;
  return 1;
}

/* By which outcomes the connection at this place goes on. */
static __always_inline void note_outcomes(__u32 place, const struct connection* next,
                                          const struct telling* now) {
  struct booked* line = booked_at(place);
  if (!line || !now || next->flags & CONNECTION_DENIED) return;
  for (int end = 0; end < 2; ++end) {
    if (now->outcome[end]) WRITE_ONCE(line->outcome[end], now->outcome[end]);
  }
}
