/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What passes and is of no connection: what untracked policy allows, and what is judged alone. Each packet of it would
 * begin a flow; so it is remembered for a while of what a flow was told already.
 *
 *   cost     a look into a hash with each such packet; an entry more with the first
 *   bound    who is heard of least recently gives way, and is told of again; two processors at once may tell twice
 */
#pragma once

#include "lib/clock.h"
#include "lib/packet.h"
#include "maps/events.h"

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, TOLD_LATELY_MAX);
  __type(key, struct told_flow);
  __type(value, __u32);
} told_lately SEC(".maps");

/* Whether the packet begins a flow, by either end. A function of its own: the stack of those who call it is full. */
__noinline int is_news(const struct packet* packet, __u32 interface) {
  if (!packet) return 0;
  struct told_flow flow = {.key = packet->key, .interface = interface};
  __u32 now = clock_now();
  __u32* seen = bpf_map_lookup_elem(&told_lately, &flow);
  if (!seen) {
    bpf_map_update_elem(&told_lately, &flow, &now, BPF_ANY);
    return 1;
  }
  __u32 since = now - READ_ONCE(*seen);
  if (since > TOLD_STEP)
    WRITE_ONCE(*seen, now); /* not with each packet, which all processors would wait for */
  return since > TOLD_FOR;
}
