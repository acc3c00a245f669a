/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Whether what comes in by an interface of the host's own comes from where a route leads (RFC 3704): from
 * anywhere at all, or strictly by the same interface. Of connections that come by the way they have learned
 * nobody asks again.
 */
#pragma once

#include "lib/events.h"
#include "lib/roads.h"

/* What keeps links going, and what is for a group or all: its source need not lead anywhere. */
static __always_inline int is_between_neighbours(const struct packet* packet) {
  const struct address *from = &packet->ends.source, *to = &packet->ends.destination;
  if (packet->kind == KIND_LINK) return 1;
  if (!packet->ipv6) return !from->word[3] || (to->word[3] & bpf_htonl(0xe0000000)) == bpf_htonl(0xe0000000);
  return is_of_link(from) || is_of_link(to) || (to->word[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}

/* The kernel's own lookup, for an answer to the packet. */
__noinline int has_way_back(struct __sk_buff* skb, const struct packet* packet, int strictly) {
  if (!packet || is_between_neighbours(packet)) return 1;
  struct bpf_fib_lookup route = {.ifindex = skb->ifindex, .l4_protocol = packet->key.protocol};
  route.sport = packet->ends.destination_port;
  route.dport = packet->ends.source_port;
  if (packet->ipv6) {
    route.family = AF_INET6;
    __builtin_memcpy(route.ipv6_src, &packet->ends.destination, sizeof route.ipv6_src);
    __builtin_memcpy(route.ipv6_dst, &packet->ends.source, sizeof route.ipv6_dst);
  } else {
    route.family = AF_INET;
    route.ipv4_src = packet->ends.destination.word[3];
    route.ipv4_dst = packet->ends.source.word[3];
  }
  switch (bpf_fib_lookup(skb, &route, sizeof route, 0)) {
    case BPF_FIB_LKUP_RET_BLACKHOLE:
    case BPF_FIB_LKUP_RET_UNREACHABLE:
    case BPF_FIB_LKUP_RET_PROHIBIT:
    case BPF_FIB_LKUP_RET_NOT_FWDED: /* none, or to the host itself */
      return 0;
    case BPF_FIB_LKUP_RET_SUCCESS:
    case BPF_FIB_LKUP_RET_NO_NEIGH:
    case BPF_FIB_LKUP_RET_FRAG_NEEDED:
      return !strictly || route.ifindex == skb->ifindex;
    default: /* the interface forwards nothing, or the route is no ordinary one */
      return 1;
  }
}

/* Tells that it is refused here; of each interface no more than its share, as anybody outside can send packets. */
__noinline int tell_refused_from_network(struct __sk_buff* skb, const struct packet* packet, __u32 reason,
                                         __u32 header) {
  const struct telling* now = telling();
  if (!packet || !now) return DROP;
  struct sight sight = {
      .interface = skb->ifindex, .size = skb->len - header, .flags = EVENT_COMES_IN, .reason = reason};
  tell_event(packet, now, &sight, 1);
  return DROP;
}

/* PASS, or DROP. `header`: of the frame, bytes. */
static __always_inline int check_way_back(struct __sk_buff* skb, const struct packet* packet, __u32 header) {
  const struct host* now = the_host();
  if (!now) return PASS;
  __u32 settings = now->settings[READ_ONCE(now->batch) & 1];
  if (!(settings & HOST_CHECKS_WAY_BACK) || has_way_back(skb, packet, settings & HOST_CHECKS_STRICTLY))
    return PASS;
  if (drop_unread(DROP_NO_WAY_BACK) == PASS) return PASS;
  return tell_refused_from_network(skb, packet, DROP_NO_WAY_BACK, header);
}
