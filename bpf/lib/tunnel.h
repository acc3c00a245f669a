/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* A packet of a known connection into the tunnel to another host, and out by the way there: what the VXLAN
 * interface would make of it, without a second pass through the host's stack.
 *
 *   cost     about 100 ns, where the interface takes 600; none of it grows with the packet
 *   sums     over IPv6 UDP has one over all that it carries. The tunnelled packet's own, which is right by the
 *            time it is on the wire, makes up for all but its first bytes (local checksum offload); where it
 *            is wrong, so is the outer one, and the other host drops what its workload would have dropped
 *   source   RFC 7348; RFC 6040, normal mode; RFC 8200, section 8.1; RFC 1071; source ports as the kernel's own
 *            udp_flow_src_port()
 *   design   docs/design/ebpf.md#into-tunnels
 */
#pragma once

#include <linux/udp.h>

#include "lib/counters.h"
#include "lib/hop.h"
#include "lib/roads.h"
#include "lib/sums.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, TUNNELS_MAX);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct tunnel);
} tunnels SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, OUTER_ROADS_MAX);
  __type(key, __u32);
  __type(value, struct outer_road);
} outer_roads SEC(".maps");

/* In front of the tunnelled packet, from behind the outer Ethernet header on. */
struct header_v4 {
  struct iphdr ip;
  struct udphdr udp;
  __be32 vxlan[2];
  struct ethhdr ethernet;
};
struct header_v6 {
  struct ipv6hdr ip;
  struct udphdr udp;
  __be32 vxlan[2];
  struct ethhdr ethernet;
};

#define LOOPBACK 1 /* the index of that interface in every network namespace */

static __always_inline int is_over_ipv6(const struct tunnel* tunnel) {
  return *(const __u8*)tunnel->header >> 4 == 6;
}

/* Asks the kernel's routes for the way to the other host, as its own tunnels do. */
static __always_inline long find_outer_route(struct __sk_buff* skb, const struct tunnel* tunnel, __u32 size,
                                             struct bpf_fib_lookup* route) {
  __builtin_memset(route, 0, sizeof *route);
  route->ifindex = tunnel->parent ? tunnel->parent : LOOPBACK;
  route->l4_protocol = IPPROTO_UDP;
  route->tot_len = size;
  if (is_over_ipv6(tunnel)) {
    const struct header_v6* header = (const void*)tunnel->header;
    route->family = AF_INET6;
    route->dport = header->udp.dest;
    __builtin_memcpy(route->ipv6_src, &header->ip.saddr, sizeof route->ipv6_src);
    __builtin_memcpy(route->ipv6_dst, &header->ip.daddr, sizeof route->ipv6_dst);
  } else {
    const struct header_v4* header = (const void*)tunnel->header;
    route->family = AF_INET;
    route->dport = header->udp.dest;
    route->ipv4_src = header->ip.saddr;
    route->ipv4_dst = header->ip.daddr;
  }
  return bpf_fib_lookup(skb, route, sizeof *route,
                        BPF_FIB_LOOKUP_SKIP_NEIGH | (tunnel->parent ? BPF_FIB_LOOKUP_OUTPUT : 0));
}

/* Notes the tunnel as it is, and the way. False where there is none for a packet of that size. */
__noinline int ask_outer_road(struct __sk_buff* skb, __u32 slot, __u32 size, struct outer_road* road) {
  const struct tunnel* tunnel = bpf_map_lookup_elem(&tunnels, &slot);
  if (!tunnel || !road) return 0;
  road->slot = 0;
  __u32 version = READ_ONCE(tunnel->version);
  barrier();
  road->tunnel = *tunnel;
  barrier();
  if (version & 1 || READ_ONCE(tunnel->version) != version) return 0;
  struct bpf_fib_lookup route;
  if (find_outer_route(skb, &road->tunnel, size, &route) || route.ifindex == road->tunnel.device) return 0;
  road->mtu = route.mtu_result;
  road->interface = route.ifindex;
  road->hop_family = route.family;
  __builtin_memcpy(road->hop, route.ipv6_dst, sizeof road->hop);
  road->asked = clock_now();
  road->slot = slot;
  return 1;
}

/* The way into that tunnel for a packet of that size; 0: none. */
static __always_inline const struct outer_road* outer_road_to(struct __sk_buff* skb, __u32 slot, __u32 size,
                                                              __u32 now) {
  __u32 place = slot & (OUTER_ROADS_MAX - 1);
  const struct tunnel* tunnel = bpf_map_lookup_elem(&tunnels, &slot);
  struct outer_road* road = bpf_map_lookup_elem(&outer_roads, &place);
  if (!tunnel || !road) return 0;
  if (road->slot != slot || road->tunnel.version != READ_ONCE(tunnel->version) || !holds(road->asked, now))
    return ask_outer_road(skb, slot, size, road) ? road : 0;
  return size <= road->mtu ? road : 0;
}

/* RFC 6040: what the tunnelled packet says of congestion; that it has met some stays inside. */
static __always_inline __u8 congestion_of(const struct packet* packet) {
  __u8 inner = packet->traffic & 3;
  return inner == 3 ? 2 : inner;
}

static __always_inline __be16 source_port(struct __sk_buff* skb, const struct tunnel* tunnel) {
  __u32 hash = bpf_get_hash_recalc(skb);
  hash ^= hash << 16;
  return bpf_htons((__u16)(((__u64)hash * tunnel->ports >> 32) + tunnel->port));
}

/* Whether the packet can grow by that: its length can be said, and its own IP header is at hand. */
static __always_inline int has_room(const struct __sk_buff* skb, __u32 headers, __u32 own) {
  void *data = (void*)(long)skb->data, *end = (void*)(long)skb->data_end;
  return skb->len + headers - ETH_HLEN <= 0xffff && data + ETH_HLEN + own <= end;
}

/* `size`: a constant. */
static __always_inline void put_header(void* to, const __u64* header, __u32 size) {
  __u32 at = size / 8 * 8;
  for (__u32 i = 0; i < size / 8; ++i) ((__u64*)to)[i] = header[i];
  if (size & 4) *(__u32*)(to + at) = *(const __u32*)((const void*)header + at);
  if (size & 4) at += 4;
  *(__u16*)(to + at) = *(const __u16*)((const void*)header + at);
}

#define INTO_VXLAN                                                                        \
  (BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2_ETH | \
   BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN))

/* PASS: as it was. */
__noinline int put_into_v4(struct __sk_buff* skb, const struct packet* packet,
                           const struct outer_road* road) {
  if (!packet || !road || !has_room(skb, TUNNEL_HEADERS_V4, sizeof(struct iphdr))) return PASS;
  __u32 length = skb->len - ETH_HLEN + TUNNEL_HEADERS_V4;
  __be16 port = source_port(skb, &road->tunnel);
  /* Refused for what is in a tunnel already. */
  if (bpf_skb_adjust_room(skb, TUNNEL_HEADERS_V4, BPF_ADJ_ROOM_MAC,
                          INTO_VXLAN | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4)) {
    return PASS;
  }
  if (!hop(skb, packet, 0, TUNNEL_HEADERS_V4)) return drop_half_made();
  struct header_v4* header = (void*)(long)skb->data + ETH_HLEN;
  if ((void*)header + TUNNEL_HEADERS_V4 > (void*)(long)skb->data_end) return drop_half_made();
  put_header(header, road->tunnel.header, TUNNEL_HEADERS_V4);
  header->ip.tos = congestion_of(packet);
  header->ip.tot_len = bpf_htons((__u16)length);
  header->ip.id = (__u16)bpf_get_prandom_u32();
  header->ip.check =
      ~folded((__u64)header->ip.check + bpf_htons(header->ip.tos) + header->ip.tot_len + header->ip.id);
  header->udp.source = port;
  header->udp.len = bpf_htons((__u16)(length - sizeof header->ip));
  return 0;
}

/* Whether the sum of all that follows the packet's IP header is known by what that says: one packet, the
 * transport that has a sum over it right behind the header, and nothing behind that. */
static __always_inline int has_known_sum(const struct __sk_buff* skb) {
  const struct ipv6hdr* ip = (void*)(long)skb->data + ETH_HLEN;
  const struct udphdr* udp = (const void*)(ip + 1);
  if ((void*)(udp + 1) > (void*)(long)skb->data_end || skb->gso_size ||
      skb->len != ETH_HLEN + sizeof *ip + bpf_ntohs(ip->payload_len)) {
    return 0;
  }
  if (ip->nexthdr == IPPROTO_UDP) return udp->check && udp->len == ip->payload_len;
  return ip->nexthdr == IPPROTO_TCP || ip->nexthdr == IPPROTO_ICMPV6;
}

/* UDP's sum over IPv6. What is behind the tunnelled packet's IP header is the complement of its addresses,
 * that length, and its protocol, so of all these only the first words count, without length and protocol. */
static __always_inline __sum16 sum_over(const struct header_v6* header, const struct ipv6hdr* inner) {
  const __be16* word = (const void*)inner;
  __u64 sum = (__u64)header->udp.check + header->udp.source + 2 * (__u32)header->udp.len;
  sum += (__u32)word[0] + word[1] + word[3] + (__u16)~bpf_htons(inner->nexthdr);
  __sum16 check = ~folded(sum);
  return check ? check : 0xffff; /* zero would say that there is none */
}

/* PASS: as it was. Only what has_known_sum(). */
__noinline int put_into_v6(struct __sk_buff* skb, const struct packet* packet,
                           const struct outer_road* road) {
  if (!packet || !road || !has_room(skb, TUNNEL_HEADERS_V6, sizeof(struct ipv6hdr))) return PASS;
  __u32 length = skb->len - ETH_HLEN + TUNNEL_HEADERS_V6 - sizeof(struct ipv6hdr);
  __be16 port = source_port(skb, &road->tunnel);
  /* Refused for what is in a tunnel already. */
  if (bpf_skb_adjust_room(skb, TUNNEL_HEADERS_V6, BPF_ADJ_ROOM_MAC,
                          INTO_VXLAN | BPF_F_ADJ_ROOM_ENCAP_L3_IPV6)) {
    return PASS;
  }
  if (!hop(skb, packet, 0, TUNNEL_HEADERS_V6)) return drop_half_made();
  struct header_v6* header = (void*)(long)skb->data + ETH_HLEN;
  const struct ipv6hdr* inner = (void*)header + TUNNEL_HEADERS_V6;
  if ((void*)(inner + 1) > (void*)(long)skb->data_end) return drop_half_made();
  put_header(header, road->tunnel.header, TUNNEL_HEADERS_V6);
  *(__be32*)header |= bpf_htonl((__u32)congestion_of(packet) << 20);
  header->ip.payload_len = header->udp.len = bpf_htons((__u16)length);
  header->udp.source = port;
  header->udp.check = sum_over(header, inner);
  return 0;
}

/* To the interface itself, past the stack: with the MACs that it would get there. */
static __always_inline int leave_to_interface(struct __sk_buff* skb, const struct packet* packet,
                                              const struct tunnel* tunnel) {
  const struct header_v6* header = (const void*)tunnel->header;
  if (!hop(skb, packet, header->ethernet.h_dest, 0)) return PASS;
  count(COUNT_REDIRECTED);
  return bpf_redirect(tunnel->device, 0);
}

/* PASS: not by this way, and the packet is as it was. */
__noinline int encapsulate(struct __sk_buff* skb, const struct packet* packet, __u32 slot, __u32 device,
                           __u32 now) {
  if (!packet) return PASS;
  __u32 headers = packet->ipv6 ? TUNNEL_HEADERS_V6 : TUNNEL_HEADERS_V4;
  const struct outer_road* road = outer_road_to(skb, slot, size_on_wire(skb, packet) + headers, now);
  if (!road || road->tunnel.device != device || is_over_ipv6(&road->tunnel) != packet->ipv6) return PASS;
  if (packet->ipv6 && !has_known_sum(skb)) return leave_to_interface(skb, packet, &road->tunnel);
  int done = packet->ipv6 ? put_into_v6(skb, packet, road) : put_into_v4(skb, packet, road);
  if (done) return done;
  struct bpf_redir_neigh next = {.nh_family = road->hop_family};
  __builtin_memcpy(next.ipv6_nh, road->hop, sizeof next.ipv6_nh);
  count(COUNT_REDIRECTED);
  count(COUNT_ENCAPSULATED);
  return bpf_redirect_neigh(road->interface, &next, sizeof next, 0);
}
