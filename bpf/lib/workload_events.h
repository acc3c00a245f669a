/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Tells of packets at workloads' interfaces (events.h). */
#pragma once

#include "lib/events.h"
#include "lib/workbench.h"

/* Whether the host itself sends it to a workload: by no interface it came in. That says nothing of what the kernel
 * has cut again, as it forgets where that came from (ip6_fragment(), whose piece may be a whole packet, with a fragment
 * header): the host's own have their socket. */
static __always_inline int is_by_host(const struct __sk_buff* skb, const struct packet* packet) {
  if (skb->ingress_ifindex) return 0;
  return skb->sk || (packet->fragment == FRAGMENT_NONE && (packet->headers || !packet->ipv6));
}

/* `reason`: COUNT_JUDGED, COUNT_LOGGED or DROP_*. */
__noinline int tell(struct __sk_buff* skb, const struct packet* packet, __u32 reason, int from) {
  const struct telling* now = telling();
  if (!packet || !now) return 0;
  struct sight sight = {
      .interface = skb->ifindex,
      .size = skb->len - ETH_HLEN,
      .flags = (from ? EVENT_FROM_ENDPOINT | EVENT_COMES_IN : 0) |
               (!from && is_by_host(skb, packet) ? EVENT_FROM_HOST : 0),
      .reason = reason,
  };
  return tell_event(packet, now, &sight, 0);
}

/* Of one that passes and begins nothing: where Log rules want it. */
static __always_inline void tell_if_logged(struct __sk_buff* skb, const struct packet* packet, int from) {
  const struct telling* now = telling();
  if (!now || !now->logs) return;
  count(COUNT_LOGGED);
  tell(skb, packet, COUNT_LOGGED, from);
}
