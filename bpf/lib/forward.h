/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* A packet of a known connection that may pass: past the rest of the stack where the stack would do nothing
 * with it but forward it, else on to the stack.
 *
 *   to a workload here   into the other end of its interface; both ends have judged the connection
 *   to the outside       by the interface by which the other end's packets come; what that would put into a
 *                        tunnel is in it when it leaves (tunnel.h), and what the kernel translates is
 *                        translated (translations.h)
 *   route                the kernel's own
 *   design               docs/design/ebpf.md#past-the-stack
 */
#pragma once

#include "lib/judge.h"
#include "lib/roads.h"
#include "lib/translations.h"
#include "lib/tunnel.h"
#include "lib/way.h"

/* Whether the stack would do no more with it than any router: no options to see to, nobody to tell that it
 * has come to the end of its hops, no fragment that others may have to be put to, no frame for somebody else.
 */
static __always_inline int is_plain(const struct __sk_buff* skb, const struct packet* packet) {
  return packet->fragment == FRAGMENT_NONE && packet->hops > 1 && packet->headers && skb->pkt_type == 0 &&
         !skb->vlan_present;
}

/* Of TCP and SCTP, the stack sees how a connection begins and ends: who tracks it there forgets it in time.
 */
static __always_inline int is_underway(const struct packet* packet, const struct connection* connection) {
  if (packet->key.protocol != IPPROTO_TCP && packet->key.protocol != IPPROTO_SCTP) return 1;
  return !(packet->tcp & (TCP_SYN | TCP_FIN | TCP_RST | TCP_PSH)) &&
         connection->tcp[0] & connection->tcp[1] & TCP_SEEN_ACK;
}

/* Whether the way to the packet's other end goes by this interface, and has room for it. */
static __always_inline int has_way(struct __sk_buff* skb, const struct packet* packet,
                                   struct tracked* tracked, __u32 interface, __u32 now) {
  __u32 end = ~packet->sender & 1, size = size_on_wire(skb, packet);
  if (size >= TOO_LARGE) return 0;
  if (!is_known_road(tracked, end, packet->traffic, now))
    return ask_road(skb, packet, tracked, size, interface);
  return size <= tracked->road.mtu[end];
}

/* Into the workload at the other end of this endpoint's interface. */
static __always_inline int forward_in(struct __sk_buff* skb, const struct packet* packet,
                                      struct tracked* tracked, __u32 slot, __u32 now) {
  const struct endpoint* endpoint = endpoint_at(slot);
  if (!endpoint || !is_open(endpoint)) return PASS;
  __u32 interface = endpoint->interface;
  if (interface == skb->ifindex || !has_way(skb, packet, tracked, interface, now) ||
      !hop(skb, packet, macs_to(tracked, ~packet->sender & 1), 0)) {
    return PASS;
  }
  if (skb->mark) skb->mark = 0; /* the host's own, as everywhere between namespaces */
  count(COUNT_REDIRECTED);
  return bpf_redirect_peer(interface, 0);
}

static __always_inline int forward_out(struct __sk_buff* skb, const struct packet* packet,
                                       struct tracked* tracked, __u32 way, __u32 now) {
  if (!has_way(skb, packet, tracked, way, now)) return PASS;
  if (tracked->hop_family == BY_TUNNEL) return encapsulate(skb, packet, slot_of_tunnel(tracked), way, now);
  if (!hop(skb, packet, 0, 0)) return PASS;
  struct bpf_redir_neigh next = {.nh_family = tracked->hop_family};
  __builtin_memcpy(next.ipv6_nh, tracked->road.far, sizeof next.ipv6_nh);
  count(COUNT_REDIRECTED);
  return bpf_redirect_neigh(way, &next, sizeof next, 0);
}

/* A packet from a workload whose packets may go past the stack: its connection is known, and stands. A function
 * of its own: what it has on the stack is not there while others are judged. */
__noinline int forward(struct __sk_buff* skb, const struct packet* packet, struct tracked* tracked,
                       __u32 now) {
  if (!packet || !tracked) return PASS;
  const struct connection* connection = &tracked->connection;
  if (!is_plain(skb, packet) || !is_underway(packet, connection) ||
      connection->flags & (CONNECTION_FROM_HOST | CONNECTION_TO_HOST | CONNECTION_FLOATING)) {
    return PASS;
  }
  __u32 to = connection->endpoint[~packet->sender & 1];
  if (!to) {
    __u64 name = translation_of(skb, packet, tracked, now);
    int done = name ? send_translated(skb, packet, tracked, name, now) : PASS;
    if (done != SHOW) return done;
    /* If the stack is going to translate it otherwise, so it will the next ones. */
    ask_translated_road(skb, packet, tracked, size_on_wire(skb, packet), now);
    return PASS;
  }
  return to & END_OUTSIDE ? forward_out(skb, packet, tracked, to & ~END_OUTSIDE, now)
                          : forward_in(skb, packet, tracked, to, now);
}
