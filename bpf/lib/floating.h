/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Packets between a workload here and another that it knows by a floating address. The stack translates them,
 * in both directions; what begins here is judged, and known, by the address behind that.
 *
 *   at the interface of whom   asks: to it, or from it, the other has the floating address
 *                              is asked: the packet is translated already, or not yet
 *   design                     docs/design/ebpf.md#floating-addresses
 */
#pragma once

#include "lib/batch.h"
#include "lib/packet.h"
#include "maps/floating.h"

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, FLOATING_MAX);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct address);
  __type(value, struct address);
} floating SEC(".maps");

static __always_inline int knows_floating(void) {
  const struct host* now = the_host();
  return now && now->settings[READ_ONCE(now->batch) & 1] & HOST_FLOATING;
}

/* Puts the workload's own address in the place of a floating one, at one end of the packet's key. Whether it
 * was one. What the packet says of itself stays: so do answers to it, and its later fragments. */
__noinline int see_through(struct packet* packet, __u32 end) {
  if (!packet) return 0;
  struct connection_key* key = &packet->key;
  struct address known_by = key->address[end & 1];
  const struct address* own = bpf_map_lookup_elem(&floating, &known_by);
  if (!own) return 0;
  packet->floating = 1;
  key->address[end & 1] = *own;
  int swap = is_greater(&key->address[0], &key->address[1]);
  if (!swap && !is_greater(&key->address[1], &key->address[0])) swap = key->port[0] > key->port[1];
  if (!swap) return 1;
  struct address first = key->address[0];
  key->address[0] = key->address[1];
  key->address[1] = first;
  __be16 port = key->port[0];
  key->port[0] = key->port[1];
  key->port[1] = port;
  packet->sender ^= 1;
  if (key->asks) key->asks = 3 - key->asks;
  return 1;
}
