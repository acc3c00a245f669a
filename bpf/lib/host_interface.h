/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* A packet that comes in by an interface of the host's own, an overlay's included: before the stack.
 *
 *   known connections   of a workload here go to it at once, where they come by the way that has been learned
 *                       others of them go to the stack, stamped
 *   all others          go to the stack: what somebody translates is of no connection yet
 *   from nowhere        where no route leads back to the sender, that is the end (bpfEnforceRPF)
 *   design              docs/design/ebpf.md#past-the-stack
 */
#pragma once

#include "lib/forward.h"
#include "lib/way_back.h"
#include "lib/workbench.h"

static __always_inline int comes_by_its_way(const struct __sk_buff* skb, const struct packet* packet,
                                            const struct connection* known) {
  return known->endpoint[packet->sender & 1] == (END_OUTSIDE | skb->ifindex);
}

/* What the workload's interface would say of it, which does not see it. */
static __always_inline int to_known_workload(struct __sk_buff* skb, const struct packet* packet,
                                             struct connection* known, __u32 version, __u32 now) {
  if (!comes_by_its_way(skb, packet, known) || known->flags & CONNECTION_DENIED || !is_plain(skb, packet) ||
      !is_underway(packet, known) || !stands(known) || !is_still(known, version)) {
    return PASS;
  }
  int answer = forward_in(skb, packet, tracked_of(known), slot_at(known, ~packet->sender), now);
  if (answer == PASS) return PASS;
  account(skb, packet, 0, known, now);
  count(COUNT_FORWARDED);
  return answer;
}

static __always_inline int at_host_interface(struct __sk_buff* skb) {
  int ipv6 = skb->protocol == bpf_htons(ETH_P_IPV6);
  skb->tc_index = 0;
  if (!ipv6 && skb->protocol != bpf_htons(ETH_P_IP)) return PASS;
  if (skb->vlan_present) return PASS; /* comes by again, at the VLAN's interface */
  struct workbench* bench = workbench();
  if (!bench || !parse_ip(skb, ETH_HLEN, ipv6 ? PARSE_IPV6 : 0, &bench->packet)) return PASS;
  __u32 now = clock_now(), version;
  struct connection* known = find_connection(&bench->packet, now, &version);
  if (!known) return check_way_back(skb, &bench->packet);
  int answer = to_known_workload(skb, &bench->packet, known, version, now);
  if (answer != PASS) return answer;
  stamp(skb, &bench->packet);
  return comes_by_its_way(skb, &bench->packet, known) ? PASS : check_way_back(skb, &bench->packet);
}
