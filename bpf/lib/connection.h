/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Connection tracking: what has been let through, and for how long that counts.
 *
 *   timeouts   maps/timeouts.h; of a map that says none, what is noted is over at once
 *   over       what has been idle for too long, or was pushed out, begins anew with its next packet
 */
#pragma once

#include "lib/clock.h"
#include "lib/packet.h"
#include "maps/holders.h"
#include "maps/timeouts.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct timeouts);
} timeouts SEC(".maps");

static __always_inline int has_expired(const struct connection* connection, __u8 protocol, __u32 now) {
  __u32 first = 0;
  const struct timeouts* all = bpf_map_lookup_elem(&timeouts, &first);
  return !all || is_over(connection, protocol, now, all);
}

/* Whether both ends want it, as far as packets show. */
static __always_inline int is_answered(const struct connection* connection, __u8 protocol) {
  __u8 both = connection->tcp[0] & connection->tcp[1];
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_SCTP) return both & SEEN_ANYTHING;
  return both & TCP_SEEN_ACK && !is_closed(connection);
}

/* A bare SYN (of SCTP: INIT) after the end, or from the end that did not begin, is not of this connection. */
static __always_inline int begins_anew(const struct connection* connection, const struct packet* packet) {
  if ((packet->tcp & ~TCP_URG) != TCP_SYN) return 0;
  return is_closed(connection) || packet->sender != beginner(connection);
}

/* The connection, if the packet belongs to it. */
static __always_inline struct connection* living(struct connection* connection, const struct packet* packet,
                                                 __u32 now) {
  if (!connection || has_expired(connection, packet->key.protocol, now) || begins_anew(connection, packet))
    return 0;
  return connection;
}

static __always_inline __u8 tcp_seen(__u8 flags) {
  return SEEN_ANYTHING | (flags & TCP_SYN ? TCP_SEEN_SYN : 0) | (flags & TCP_ACK ? TCP_SEEN_ACK : 0) |
         (flags & TCP_FIN ? TCP_SEEN_FIN : 0) | (flags & TCP_RST ? TCP_SEEN_RST : 0);
}

/* Notes that the connection lives, and what its end has said. */
static __always_inline void note(const struct packet* packet, struct connection* connection, __u32 now) {
  __u32 sender = packet->sender & 1;
  if (connection->seen != now) connection->seen = now;
  __u8 seen = tcp_seen(packet->tcp);
  if ((connection->tcp[sender] & seen) != seen) connection->tcp[sender] |= seen;
}

static __always_inline void add_sent(struct connection* connection, __u32 end, __u64 bytes, __u32 packets) {
  __sync_fetch_and_add(&connection->bytes[end & 1], bytes);
  __sync_fetch_and_add(&connection->packets[end & 1], packets);
}

/* Of a packet that is cut into so many, each of which gets its headers. */
static __always_inline __u64 bytes_of(const struct packet* packet, __u32 length, __u32 segments) {
  int is_cut = packet->key.protocol == IPPROTO_TCP || packet->key.protocol == IPPROTO_UDP;
  return length + (is_cut ? (__u64)(segments - 1) * packet->payload : 0);
}

#ifndef OCICAT_AT_NETFILTER
/* A packet from one workload here to another comes by twice: it counts where it comes from. */
static __always_inline int counts_here(const struct connection* connection, __u32 sender, int from) {
  return from || !slot_at(connection, sender & 1);
}

/* What the packet carries, as it came in. */
struct carried {
  __u64 bytes;
  __u32 packets;
};

static __always_inline struct carried carried_by(struct __sk_buff* skb, const struct packet* packet) {
  __u32 segments = segments_of(skb, packet->payload);
  return (struct carried){bytes_of(packet, skb->len, segments), segments};
}

/* Notes the packet, and counts it. */
static __always_inline void account(struct __sk_buff* skb, const struct packet* packet, int from,
                                    struct connection* connection, __u32 now) {
  note(packet, connection, now);
  if (!counts_here(connection, packet->sender, from)) return;
  struct carried carried = carried_by(skb, packet);
  add_sent(connection, packet->sender, carried.bytes, carried.packets);
}
#endif
