/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* A packet of a known connection that may pass: past the rest of the stack where the stack would do nothing
 * with it but forward it, else on to the stack.
 *
 *   to a workload here   into the other end of its interface; both ends have judged the connection
 *   to the outside       by the interface by which the other end's packets come, untranslated
 *   route                the kernel's own, asked for every packet
 *   design               docs/design/ebpf.md#past-the-stack
 */
#pragma once

#include "lib/judge.h"
#include "lib/way.h"

/* Of <sys/socket.h>, which is not for the kernel. */
enum { AF_INET = 2, AF_INET6 = 10 };

/* Whether the stack would do no more with it than any router: no options to see to, nobody to tell that it
 * has come to the end of its hops, no fragment that others may have to be put to, no frame for somebody else.
 */
static __always_inline int is_plain(const struct __sk_buff* skb, const struct packet* packet) {
  return packet->fragment == FRAGMENT_NONE && packet->hops > 1 && packet->headers && skb->pkt_type == 0 &&
         !skb->vlan_present;
}

/* Of TCP, the stack sees how a connection begins and ends: who tracks it there forgets it in time. */
static __always_inline int is_underway(const struct packet* packet, const struct connection* connection) {
  if (packet->key.protocol != IPPROTO_TCP) return 1;
  return !(packet->tcp & (TCP_SYN | TCP_FIN | TCP_RST)) &&
         connection->tcp[0] & connection->tcp[1] & TCP_SEEN_ACK;
}

#define TOO_LARGE 0x10000

/* As IP counts one packet on the wire, which a large one is cut into. What is not TCP may have further
 * headers in each piece. */
static __always_inline __u32 size_on_wire(const struct __sk_buff* skb, const struct packet* packet) {
  if (!skb->gso_size) return skb->len - ETH_HLEN;
  return packet->key.protocol == IPPROTO_TCP ? skb->gso_size + packet->headers : TOO_LARGE;
}

/* What the kernel's routes say of it; 0: it may go the way found, which has room for it. */
static __always_inline long find_route(struct __sk_buff* skb, const struct packet* packet, __u32 flags,
                                       struct bpf_fib_lookup* route) {
  __u32 size = size_on_wire(skb, packet);
  if (size >= TOO_LARGE) return -1;
  __builtin_memset(route, 0, sizeof *route);
  route->ifindex = skb->ifindex;
  route->l4_protocol = packet->key.protocol;
  route->sport = packet->ends.source_port;
  route->dport = packet->ends.destination_port;
  route->tot_len = size;
  if (packet->ipv6) {
    route->family = AF_INET6;
    route->flowinfo = bpf_htonl((__u32)packet->traffic << 20);
    __builtin_memcpy(route->ipv6_src, &packet->ends.source, sizeof route->ipv6_src);
    __builtin_memcpy(route->ipv6_dst, &packet->ends.destination, sizeof route->ipv6_dst);
  } else {
    route->family = AF_INET;
    route->tos = packet->traffic & 0x1c; /* as the kernel's own lookups */
    route->ipv4_src = packet->ends.source.word[3];
    route->ipv4_dst = packet->ends.destination.word[3];
  }
  return bpf_fib_lookup(skb, route, sizeof *route, flags);
}

/* One hop less, as a router has it. False where the header is not at hand. */
static __always_inline int hop(struct __sk_buff* skb, const struct packet* packet,
                               const struct bpf_fib_lookup* route) {
  void *data = (void*)(long)skb->data, *end = (void*)(long)skb->data_end;
  struct ethhdr* ethernet = data;
  if (packet->ipv6) {
    struct ipv6hdr* ip = (void*)(ethernet + 1);
    if ((void*)(ip + 1) > end) return 0;
    __u16 before = bpf_htons((__u16)(ip->nexthdr << 8 | ip->hop_limit));
    --ip->hop_limit;
    __u16 after = bpf_htons((__u16)(ip->nexthdr << 8 | ip->hop_limit));
    if (route) {
      __builtin_memcpy(ethernet->h_dest, route->dmac, ETH_ALEN);
      __builtin_memcpy(ethernet->h_source, route->smac, ETH_ALEN);
    }
    bpf_csum_update(skb, (__u32)after + (__u16)~before); /* where a device has summed up the packet */
    return 1;
  }
  struct iphdr* ip = (void*)(ethernet + 1);
  if ((void*)(ip + 1) > end) return 0;
  --ip->ttl;
  __u32 sum = ip->check + bpf_htons(0x0100);
  ip->check = (__u16)(sum + (sum >= 0xffff)); /* RFC 1141 */
  if (route) {
    __builtin_memcpy(ethernet->h_dest, route->dmac, ETH_ALEN);
    __builtin_memcpy(ethernet->h_source, route->smac, ETH_ALEN);
  }
  return 1;
}

/* Into the workload at the other end of this endpoint's interface. */
static __always_inline int forward_in(struct __sk_buff* skb, const struct packet* packet, __u32 slot) {
  struct bpf_fib_lookup route;
  const struct endpoint* endpoint = endpoint_at(slot);
  if (!endpoint || !(READ_ONCE(endpoint->flags) & ENDPOINT_OPEN)) return PASS;
  if (find_route(skb, packet, 0, &route) || route.ifindex != endpoint->interface ||
      route.ifindex == skb->ifindex || !hop(skb, packet, &route)) {
    return PASS;
  }
  if (skb->mark) skb->mark = 0; /* the host's own, as everywhere between namespaces */
  count(COUNT_REDIRECTED);
  return bpf_redirect_peer(route.ifindex, 0);
}

static __always_inline int forward_out(struct __sk_buff* skb, const struct packet* packet, __u32 way) {
  struct bpf_fib_lookup route;
  if (find_route(skb, packet, BPF_FIB_LOOKUP_SKIP_NEIGH, &route) || route.ifindex != way ||
      !hop(skb, packet, 0)) {
    return PASS;
  }
  struct bpf_redir_neigh next = {.nh_family = route.family};
  __builtin_memcpy(next.ipv6_nh, route.ipv6_dst, sizeof next.ipv6_nh); /* IPv4 in its first word */
  count(COUNT_REDIRECTED);
  return bpf_redirect_neigh(way, &next, sizeof next, 0);
}

/* A packet from a workload: its connection is known, and stands. A function of its own: what it has on the
 * stack is not there while others are judged. */
__noinline int forward(struct __sk_buff* skb, const struct packet* packet,
                       const struct connection* connection) {
  if (!packet || !connection) return PASS;
  const struct endpoint* own = endpoint_at(slot_at(connection, packet->sender));
  if (!own || !(READ_ONCE(own->flags) & ENDPOINT_OPEN) || !is_plain(skb, packet) ||
      !is_underway(packet, connection) || connection->flags & (CONNECTION_FROM_HOST | CONNECTION_TO_HOST)) {
    return PASS;
  }
  __u32 to = connection->endpoint[~packet->sender & 1];
  if (!to) return PASS;
  return to & END_OUTSIDE ? forward_out(skb, packet, to & ~END_OUTSIDE) : forward_in(skb, packet, to);
}
