/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Tells what became of flows, and never holds anybody up: what finds no room is counted as lost.
 *
 *   fairness   the first half of the ring is anybody's. In the other half each interface has a share, so that
 *              one that floods neither blinds those who look at others nor makes the reader late for them
 *   cost       of an event about 25 ns; nothing for packets of known connections
 */
#pragma once

#include "lib/counters.h"
#include "lib/packet.h"
#include "maps/events.h"

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, EVENTS_BYTES);
} events SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, EVENT_SHARES_MAX);
  __type(key, __u32);
  __type(value, struct event_share);
} event_shares SEC(".maps");

/* Where a packet is seen, and what there is to tell of it. */
struct sight {
  __u32 interface; /* its index */
  __u32 size;      /* of the packet */
  __u32 flags;     /* enum event_flags */
  __u32 reason;    /* COUNT_JUDGED, or DROP_* */
};

/* Whether the interface may have another one of what is shared out, as the other half of the ring is. CPUs
 * that look at once may let a few more through. */
static __always_inline int has_share(void* shares, __u32 interface) {
  __u32 at = interface % EVENT_SHARES_MAX, since = (__u32)(bpf_jiffies64() >> EVENT_SHARE_SHIFT);
  struct event_share* share = bpf_map_lookup_elem(shares, &at);
  if (!share) return 0;
  if (share->since != since) {
    share->since = since;
    share->used = 0;
  }
  if (share->used >= EVENT_SHARE) return 0;
  share->used += 1;
  return 1;
}

static __always_inline int is_icmp(__u8 protocol) {
  return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/* `packet`: what could be read of it; zeros where nothing could. `thrifty`: the interface has no more than
 * its share, however much room there is. */
static __always_inline int tell_event(const struct packet* packet, const struct telling* now,
                                      const struct sight* sight, int thrifty) {
  if ((thrifty || bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > EVENTS_BYTES / 2) &&
      !has_share(&event_shares, sight->interface)) {
    count(COUNT_EVENTS_SHARE);
    return 0;
  }
  struct event* event = bpf_ringbuf_reserve(&events, sizeof *event, 0);
  if (!event) {
    count(COUNT_EVENTS_FULL);
    return 0;
  }
  event->time = bpf_ktime_get_ns();
  event->source = packet->ends.source;
  event->destination = packet->ends.destination;
  if (packet->floating) { /* as it was judged */
    event->source = packet->key.address[packet->sender & 1];
    event->destination = packet->key.address[~packet->sender & 1];
  }
  event->source_port = packet->ends.source_port;
  event->destination_port = packet->kind >= KIND_ERROR && is_icmp(packet->key.protocol)
                                ? bpf_htons(packet->detail)
                                : packet->ends.destination_port;
  event->interface = sight->interface;
  event->outcome[0] = now->outcome[0];
  event->outcome[1] = now->outcome[1];
  event->protocol = packet->key.protocol;
  event->flags = (__u8)(sight->flags | (now->is_reply ? EVENT_IS_REPLY : 0));
  event->reason = (__u8)sight->reason;
  event->pad = 0;
  event->size = sight->size;
  bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
  return 1;
}
