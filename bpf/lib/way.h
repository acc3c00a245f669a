/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* By which of the host's interfaces the packets of a connection's outer end come, and that nobody translates
 * them. Learned from what the stack does: at the host's interface a packet of a connection that is known to
 * workloads as it comes is stamped with a digest of what it says of itself, and at the workload's, behind the
 * stack, the stamp still fits where nobody has changed that.
 */
#pragma once

#include "lib/roads.h"

static __always_inline __u64 fold(const struct address* address) {
  return ((__u64)address->word[0] << 32 | address->word[1]) * 0x9e3779b97f4a7c15 +
         ((__u64)address->word[2] << 32 | address->word[3]);
}

/* Never 0. */
static __always_inline __u16 stamp_of(const struct packet* packet) {
  const struct ends* ends = &packet->ends;
  __u64 digest = fold(&ends->source) * 0xbf58476d1ce4e5b9 + fold(&ends->destination);
  digest += (__u64)ends->source_port << 32 | (__u64)ends->destination_port << 8 | packet->key.protocol;
  digest *= 0x94d049bb133111eb;
  return (__u16)(digest >> 48) | 1;
}

/* The stack preserves tc_index, and nobody else uses it. */
static __always_inline void stamp(struct __sk_buff* skb, const struct packet* packet) {
  skb->tc_index = packet->fragment == FRAGMENT_NONE ? stamp_of(packet) : 0;
}

/* Notes it, of a packet that is on its way to a workload. */
static __always_inline void learn_way(const struct __sk_buff* skb, const struct packet* packet,
                                      struct connection* connection) {
  __u32 interface = skb->ingress_ifindex, outside = packet->sender & 1;
  if (!skb->tc_index || !interface || interface >= END_OUTSIDE || slot_at(connection, outside)) return;
  __u16 way = END_OUTSIDE | interface;
  if (connection->endpoint[outside] == way || skb->tc_index != stamp_of(packet)) return;
  forget_roads(tracked_of(connection));
  connection->endpoint[outside] = way;
}
