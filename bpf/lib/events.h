/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Tells what became of flows, and never holds anybody up: what finds no room is counted as lost.
 *
 *   fairness   the first half of the ring is anybody's. In the other half each interface has a share, so that
 *              one that floods neither blinds those who look at others nor makes the reader late for them
 *   cost       of an event about 60 ns; nothing for packets of known connections
 */
#pragma once

#include "lib/counters.h"
#include "lib/workbench.h"
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

/* Whether the interface may have another event in the half of the ring that is shared out. CPUs that look at
 * once may let a few more through. */
static __always_inline int has_share(__u32 interface, __u64 now) {
  __u32 at = interface % EVENT_SHARES_MAX, tick = (__u32)(now >> EVENT_SHARE_SHIFT);
  struct event_share* share = bpf_map_lookup_elem(&event_shares, &at);
  if (!share) return 0;
  if (share->tick != tick) {
    share->tick = tick;
    share->used = 0;
  }
  if (share->used >= EVENT_SHARE) return 0;
  share->used += 1;
  return 1;
}

static __always_inline int is_icmp(__u8 protocol) {
  return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/* `reason`: COUNT_JUDGED, or DROP_*. `packet`: what could be read of it; zeros where nothing could. */
__noinline int tell(struct __sk_buff* skb, const struct packet* packet, __u32 reason, int from) {
  const struct telling* now = telling();
  if (!packet || !now) return 0;
  __u64 time = bpf_ktime_get_ns();
  if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > EVENTS_BYTES / 2 && !has_share(skb->ifindex, time)) {
    count(COUNT_EVENTS_SHARE);
    return 0;
  }
  struct event* event = bpf_ringbuf_reserve(&events, sizeof *event, 0);
  if (!event) {
    count(COUNT_EVENTS_FULL);
    return 0;
  }
  event->time = time;
  event->source = packet->ends.source;
  event->destination = packet->ends.destination;
  event->source_port = packet->ends.source_port;
  event->destination_port = packet->kind >= KIND_ERROR && is_icmp(packet->key.protocol)
                                ? bpf_htons(packet->detail)
                                : packet->ends.destination_port;
  event->interface = skb->ifindex;
  event->outcome[0] = now->outcome[0];
  event->outcome[1] = now->outcome[1];
  event->protocol = packet->key.protocol;
  event->flags = (from ? EVENT_FROM_WORKLOAD : 0) | (now->is_reply ? EVENT_IS_REPLY : 0) |
                 (!from && skb->ingress_ifindex == 0 ? EVENT_FROM_HOST : 0);
  event->reason = (__u8)reason;
  event->pad = 0;
  event->size = skb->len;
  bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
  return 1;
}

__noinline int tell_refusal(struct __sk_buff* skb, int from) {
  struct workbench* bench = workbench();
  const struct telling* now = telling();
  if (bench && now) tell(skb, &bench->packet, now->why, from);
  return DROP;
}

/* Tells why a packet was refused, whatever refused it. */
static __always_inline int told(struct __sk_buff* skb, int answer, int from) {
  return answer == DROP ? tell_refusal(skb, from) : answer;
}
