/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* A packet at one of the host's netfilter hooks, and what the kernel knows of it there. Who asks the program, the kernel or
 * its rules (frame.h), this page alone knows.
 *
 *   bridges   what one passes on comes by the hook forward where br_netfilter says so: in and out by the bridge
 */
#pragma once

#include "lib/frame.h"
#include "lib/kernel_types.h"

/* NF_INET_* */
enum host_place { AT_INPUT = 1, AT_FORWARD, AT_OUTPUT };
enum { PF_IPV6 = 10, ETH_IPV6 = 0x86dd, BRIDGE_PORT = 1 << 9 /* of priv_flags */ };

/* IN_PACKET: a member of the kernel's own struct of the packet. IN_MEMORY_OF: one of what stands in its `cb`. */
#ifdef OCICAT_ASKED_BY_RULES

#define IN_PACKET(frame, member) BPF_CORE_READ((struct sk_buff*)(frame), member)
#define IN_MEMORY_OF(frame, type, member) BPF_CORE_READ((type*)((struct sk_buff*)(frame))->cb, member)

#else

#define IN_PACKET(frame, member) ((frame)->skb->member)
#define IN_MEMORY_OF(frame, type, member) (((type*)(frame)->skb->cb)->member)

#endif

/* Where the route leads, also when somebody has led it elsewhere at this hook. */
static __always_inline struct net_device* way_out(FRAME* frame) {
  struct dst_entry* route = (struct dst_entry*)(IN_PACKET(frame, _skb_refdst) & ~1UL);
  struct net_device* device = 0;
  if (route) bpf_core_read(&device, sizeof device, &route->dev);
  return device;
}

#ifdef OCICAT_ASKED_BY_RULES

static __always_inline __u32 is_ipv6(FRAME* frame) {
  return frame->protocol == bpf_htons(ETH_IPV6);
}
static __always_inline __u32 mark_of(FRAME* frame) {
  return frame->mark;
}
/* Where it comes in; what the host sends, nowhere. */
static __always_inline struct net_device* way_in(FRAME* frame, __u32 at) {
  if (at == AT_OUTPUT) return 0;
  struct net_device* device = IN_PACKET(frame, dev);
  if (at == AT_FORWARD && device && BPF_CORE_READ_BITFIELD_PROBED(device, priv_flags) & BRIDGE_PORT)
    return way_out(frame); /* the route that a bridge makes up leads to itself */
  return device;
}
static __always_inline struct net_device* way_through(FRAME* frame) {
  return way_out(frame);
}

#else

static __always_inline __u32 is_ipv6(FRAME* frame) {
  return frame->state->pf == PF_IPV6;
}
static __always_inline __u32 mark_of(FRAME* frame) {
  return frame->skb->mark;
}
static __always_inline struct net_device* way_in(FRAME* frame, __u32 at) {
  return at == AT_OUTPUT ? 0 : frame->state->in;
}
static __always_inline struct net_device* way_through(FRAME* frame) {
  return frame->state->out;
}

#endif
