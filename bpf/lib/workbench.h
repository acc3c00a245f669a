/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What a packet is worked on with: too much for the stack. No other packet is dealt with on this CPU
 * meanwhile.
 */
#pragma once

#include "lib/packet.h"

struct workbench {
  struct packet packet;
  struct packet about;    /* of an ICMP error */
  struct connection next; /* the connection, as it is going to be noted */
  __u32 is_known;         /* whether there is one that the packet belongs to */
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct workbench);
} workbenches SEC(".maps");

/* Who looks something up by a part of it asks for it here: Linux before 6.2 takes no part of what a function
 * was given for a key. */
static __always_inline struct workbench* workbench(void) {
  __u32 first = 0;
  return bpf_map_lookup_elem(&workbenches, &first);
}
