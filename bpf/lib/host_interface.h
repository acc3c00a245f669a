/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* A packet that comes in by an interface of the host's own, an overlay's included: before the stack.
 *
 *   design   docs/design/ebpf.md
 */
#pragma once

#include "lib/way.h"
#include "lib/workbench.h"

static __always_inline int at_host_interface(struct __sk_buff* skb) {
  int ipv6 = skb->protocol == bpf_htons(ETH_P_IPV6);
  skb->tc_index = 0;
  if (!ipv6 && skb->protocol != bpf_htons(ETH_P_IP)) return PASS;
  if (skb->vlan_present) return PASS; /* comes by again, at the VLAN's interface */
  struct workbench* bench = workbench();
  if (!bench || !parse_ip(skb, ETH_HLEN, ipv6 ? PARSE_IPV6 : 0, &bench->packet)) return PASS;
  stamp(skb, &bench->packet);
  return PASS;
}
