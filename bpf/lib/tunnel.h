/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* A packet of a known connection into the tunnel to another host, and out by the way there: what the VXLAN
 * interface would make of it, without a second pass through the host's stack.
 *
 *   cost     about 100 ns, where the interface takes 600
 *   source   RFC 7348; RFC 6040, normal mode; source ports as the kernel's own udp_flow_src_port()
 *   design   docs/design/ebpf.md#into-tunnels
 */
#pragma once

#include <linux/udp.h>

#include "lib/counters.h"
#include "lib/hop.h"
#include "lib/roads.h"

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
union tunnel_header {
  __u64 word[7];
  struct {
    struct iphdr ip;
    struct udphdr udp;
    __be32 vxlan[2];
    struct ethhdr ethernet;
  };
};

#define LOOPBACK 1 /* the index of that interface in every network namespace */

/* Asks the kernel's routes for the way to the other host, as its own tunnels do. */
__noinline int ask_outer_road(struct __sk_buff* skb, __u32 slot, __u32 size, struct outer_road* road) {
  const struct tunnel* tunnel = bpf_map_lookup_elem(&tunnels, &slot);
  if (!tunnel || !road) return 0;
  __u32 version = READ_ONCE(tunnel->version), parent = tunnel->parent;
  union tunnel_header header;
  for (int i = 0; i < 4; ++i) header.word[i] = tunnel->header[i];
  struct bpf_fib_lookup route;
  __builtin_memset(&route, 0, sizeof route);
  route.family = AF_INET;
  route.ifindex = parent ? parent : LOOPBACK;
  route.l4_protocol = IPPROTO_UDP;
  route.dport = header.udp.dest;
  route.tot_len = size;
  route.ipv4_src = header.ip.saddr;
  route.ipv4_dst = header.ip.daddr;
  if (bpf_fib_lookup(skb, &route, sizeof route,
                     BPF_FIB_LOOKUP_SKIP_NEIGH | (parent ? BPF_FIB_LOOKUP_OUTPUT : 0)) ||
      route.ifindex == tunnel->device) {
    return 0;
  }
  road->slot = slot;
  road->version = version;
  road->mtu = route.mtu_result;
  road->interface = route.ifindex;
  road->hop_family = route.family;
  __builtin_memcpy(road->hop, route.ipv6_dst, sizeof road->hop);
  road->asked = clock_now();
  return 1;
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

static __always_inline void write_lengths(union tunnel_header* header, __u32 frame, __u8 traffic) {
  header->ip.tos = traffic;
  header->ip.tot_len = bpf_htons((__u16)(frame + TUNNEL_HEADERS - ETH_HLEN));
  header->ip.id = (__u16)bpf_get_prandom_u32();
  header->udp.len = bpf_htons((__u16)(frame + TUNNEL_HEADERS - ETH_HLEN - sizeof header->ip));
  __u32 sum = header->ip.check + bpf_htons(traffic) + header->ip.tot_len + header->ip.id;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  header->ip.check = (__u16)~sum;
}

static __always_inline const struct outer_road* outer_road_to(struct __sk_buff* skb, __u32 slot,
                                                              __u32 version, __u32 size, __u32 now) {
  __u32 place = slot & (OUTER_ROADS_MAX - 1);
  struct outer_road* road = bpf_map_lookup_elem(&outer_roads, &place);
  if (!road) return 0;
  if (road->slot != slot || road->version != version || !holds(road->asked, now))
    return ask_outer_road(skb, slot, size, road) ? road : 0;
  return size <= road->mtu ? road : 0;
}

/* Behind the frame's outer Ethernet header, which the way out replaces. */
static __always_inline int write_headers(struct __sk_buff* skb, const union tunnel_header* header) {
  void *data = (void*)(long)skb->data, *end = (void*)(long)skb->data_end;
  if (data + ETH_HLEN + TUNNEL_HEADERS > end) return 0;
  for (int i = 0; i < TUNNEL_HEADERS / 8; ++i) ((__u64*)(data + ETH_HLEN))[i] = header->word[i];
  *(__u16*)(data + ETH_HLEN + TUNNEL_HEADERS / 8 * 8) = (__u16)header->word[TUNNEL_HEADERS / 8];
  return 1;
}

#define INTO_VXLAN                                                                         \
  (BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | \
   BPF_F_ADJ_ROOM_ENCAP_L2_ETH | BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN))

/* Whether it can grow: its length can be said, and its header is at hand. */
static __always_inline int has_room(const struct __sk_buff* skb) {
  void *data = (void*)(long)skb->data, *end = (void*)(long)skb->data_end;
  return skb->len + TUNNEL_HEADERS - ETH_HLEN <= 0xffff && data + ETH_HLEN + sizeof(struct iphdr) <= end;
}

/* PASS: not by this way, and the packet is as it was. */
__noinline int encapsulate(struct __sk_buff* skb, const struct packet* packet, __u32 slot, __u32 device,
                           __u32 now) {
  const struct tunnel* tunnel = bpf_map_lookup_elem(&tunnels, &slot);
  if (!packet || !tunnel || packet->ipv6 || !has_room(skb)) return PASS;
  union tunnel_header header;
  __u32 version = READ_ONCE(tunnel->version), frame = skb->len;
  barrier();
  if (tunnel->device != device || version & 1) return PASS;
  for (int i = 0; i < 7; ++i) header.word[i] = tunnel->header[i];
  header.udp.source = source_port(skb, tunnel);
  const struct outer_road* road =
      outer_road_to(skb, slot, version, size_on_wire(skb, packet) + TUNNEL_HEADERS, now);
  barrier();
  if (!road || READ_ONCE(tunnel->version) != version) return PASS;
  write_lengths(&header, frame, congestion_of(packet));
  /* Refused for what is in a tunnel already. */
  if (bpf_skb_adjust_room(skb, TUNNEL_HEADERS, BPF_ADJ_ROOM_MAC, INTO_VXLAN)) return PASS;
  if (!write_headers(skb, &header) || !hop(skb, packet, 0, TUNNEL_HEADERS)) return drop_half_made();
  struct bpf_redir_neigh next = {.nh_family = road->hop_family};
  __builtin_memcpy(next.ipv6_nh, road->hop, sizeof next.ipv6_nh);
  count(COUNT_REDIRECTED);
  count(COUNT_ENCAPSULATED);
  return bpf_redirect_neigh(road->interface, &next, sizeof next, 0);
}
