/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The ways that a connection's packets take past the stack: the kernel's own routes, and what they said
 * lately.
 *
 *   asked   when a connection is new or judged anew, for other types of service, and a quarter of a second
 *           after the last time; all of them where the agent hears that routes have changed (host.rerouted)
 *   none    where the host has policy of IPsec (xfrm): the stack knows what that is for
 *   tunnels where the next hop is the end of a tunnel of ours, which one that is (maps/tunnels.h)
 *   cost    of a look at the kernel's routes about 90 ns
 */
#pragma once

#include "lib/connections.h"
#include "lib/kernel_types.h"
#include "maps/tunnels.h"

/* Of <sys/socket.h>, which is not for the kernel. */
enum { AF_INET = 2, AF_INET6 = 10 };

#define ROAD_HOLDS (SECONDS(1) / 4)

/* No workload here is at that end. */
static __always_inline int leads_outside(const struct connection* connection, __u32 end) {
  return !slot_at(connection, end);
}

/* The MACs for an end that is a workload's here: first its own, then that of the host. */
static __always_inline __u8* macs_to(struct tracked* tracked, __u32 end) {
  return end && !leads_outside(&tracked->connection, 0) ? tracked->road.far : tracked->road.near;
}

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, TUNNELS_MAX);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct address);
  __type(value, __u32);
} vteps SEC(".maps");

/* In place of a family: the road leads into a tunnel, which is named instead of the next hop. */
#define BY_TUNNEL 0

static __always_inline __u32 slot_of_tunnel(const struct tracked* tracked) {
  return *(const __u32*)tracked->road.far;
}

/* Whether what the routes said then may still be relied on. */
static __always_inline int holds(__u32 asked, __u32 now) {
  const struct host* host = the_host();
  return host && asked && now - asked < ROAD_HOLDS &&
         now - asked + SECONDS(1) < now - READ_ONCE(host->rerouted) + SECONDS(1);
}

/* Whether what is known of the way to that end still holds for such packets. */
static __always_inline int is_known_road(const struct tracked* tracked, __u32 end, __u8 traffic, __u32 now) {
  return holds(tracked->road.asked[end & 1], now) && tracked->traffic[end & 1] == traffic;
}

/* What the kernel's routes say of a packet of that size; 0: it may go the way found, which has room for it, and the
 * neighbour there is known. Of one that does not answer the stack tells the sender. */
static __always_inline long find_route(struct __sk_buff* skb, const struct packet* packet, __u32 size,
                                       struct bpf_fib_lookup* route) {
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
  return bpf_fib_lookup(skb, route, sizeof *route, 0);
}

enum { XFRM_OUT = 1, XFRM_FORWARDED = 2, XFRM_REFUSED = 1 };

/* Whether the kernel has policy of IPsec for what it forwards, or refuses what has none. */
__noinline int has_ipsec(struct __sk_buff* skb) {
  if (!bpf_core_field_exists(struct net, xfrm)) return 0;
  struct net* net = BPF_CORE_READ((struct sk_buff*)skb, dev, nd_net.net);
  struct netns_xfrm* xfrm = &net->xfrm;
  unsigned int policies[XFRM_FORWARDED + 1] = {};
  __u8 others[XFRM_FORWARDED + 1] = {};
  bpf_core_read(policies, sizeof policies, &xfrm->policy_count);
  if (bpf_core_field_exists(xfrm->policy_default))
    bpf_core_read(others, sizeof others, &xfrm->policy_default);
  return policies[XFRM_OUT] || policies[XFRM_FORWARDED] || others[XFRM_OUT] == XFRM_REFUSED ||
         others[XFRM_FORWARDED] == XFRM_REFUSED;
}

/* The tunnel whose end the next hop is; 0: none of ours. */
static __always_inline __u32 tunnel_to(const struct bpf_fib_lookup* route) {
  struct address vtep = {};
  if (route->family == AF_INET6) {
    __builtin_memcpy(&vtep, route->ipv6_dst, sizeof vtep);
  } else {
    vtep.word[2] = bpf_htonl(0xffff);
    vtep.word[3] = route->ipv4_dst;
  }
  const __u32* slot = bpf_map_lookup_elem(&vteps, &vtep);
  return slot ? READ_ONCE(*slot) : 0;
}

/* Asks the kernel's routes for the way to that end, by this interface, and notes what they say. False where
 * the packet is not to go that way. */
__noinline int ask_road(struct __sk_buff* skb, const struct packet* packet, struct tracked* tracked,
                        __u32 size, __u32 interface) {
  if (!packet || !tracked) return 0;
  struct bpf_fib_lookup route;
  __u32 end = ~packet->sender & 1, outside = leads_outside(&tracked->connection, end);
  if (find_route(skb, packet, size, &route) || route.ifindex != interface || has_ipsec(skb)) return 0;
  if (outside) {
    __u32 tunnel = tunnel_to(&route);
    if (tunnel) route.ipv4_dst = tunnel;
    __builtin_memcpy(tracked->road.far, route.ipv6_dst,
                     sizeof tracked->road.far); /* IPv4 in its first word */
    tracked->hop_family = tunnel ? BY_TUNNEL : route.family;
  } else {
    __u8* macs = macs_to(tracked, end);
    __builtin_memcpy(macs, route.dmac, ETH_ALEN);
    __builtin_memcpy(macs + ETH_ALEN, route.smac, ETH_ALEN);
  }
  tracked->road.mtu[end] = route.mtu_result;
  tracked->traffic[end] = packet->traffic;
  WRITE_ONCE(tracked->road.asked[end], clock_now());
  return 1;
}
