/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What untracked policy allows, for rules of nftables that ask before the kernel's connection tracking looks: a packet
 * of which these say so is not tracked. Nothing is refused and nothing counted here: the programs behind (driver.c,
 * host.c) ask the same policy. Programs of type socket filter, as the kernel lets its rules ask no others.
 */
#define OCICAT_BEFORE_TRACKING
#define OCICAT_ASKED_BY_RULES
#include "lib/hook.h"
#include "lib/host_endpoints.h"
#include "lib/packet.h"

/* 1: allowed. The packet begins with its IP header, and is whole. */
static __always_inline int is_untracked(struct __sk_buff* frame, struct net_device* device, int outward) {
  struct packet packet;
  const struct host* host = the_host();
  if (!host) return 0;
  __u32 side = READ_ONCE(host->batch) & 1, ipv6 = is_ipv6(frame), interface = host_interface_of(device, side);
  if (!device || interface & INTERFACE_OF_WORKLOAD) return 0;
  __u32 chain = chain_at(interface, ipv6, outward ? HOOK_UNTRACKED_OUT : HOOK_UNTRACKED_IN, side);
  if (!chain || !parse_ip(frame, 0, ipv6 ? PARSE_IPV6 : 0, &packet) || packet.fragment == FRAGMENT_LATER)
    return 0;
  const struct address *source = &packet.ends.source, *destination = &packet.ends.destination;
  struct question question = {
      .key = (__u32)packet.key.protocol << 16 | packet.detail,
      .source_port = packet.source_port,
      .side = side,
      .peer = class_of(outward ? destination : source, side),
  };
  return is_allow(chain_answer(chain, outward ? source : destination, &question));
}

SEC("socket")
int untracked_in(struct __sk_buff* frame) {
  return is_untracked(frame, IN_PACKET(frame, dev), 0);
}

SEC("socket")
int untracked_out(struct __sk_buff* frame) {
  return is_untracked(frame, way_out(frame), 1);
}

char _license[] SEC("license") = "GPL";
