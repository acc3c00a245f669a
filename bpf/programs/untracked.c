/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What untracked policy allows, for rules of nftables that ask before the kernel's connection tracking looks: a packet
 * of which these say so is not tracked. Nothing is refused and nothing counted here: the programs behind (driver.c,
 * host.c) ask the same policy. Programs of type socket filter, as the kernel lets its rules ask no others.
 */
#define OCICAT_BEFORE_TRACKING
#include "lib/host_endpoints.h"
#include "lib/packet.h"

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HOST_INTERFACES_MAX);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct interface_name);
  __type(value, __u32);
} untracked_at SEC(".maps");

/* The host endpoint of the interface, where that has untracked policy; 0: none. */
static __always_inline __u32 untracked_endpoint_of(struct net_device* device) {
  struct interface_name name = {};
  if (!device) return 0;
  bpf_probe_read_kernel_str(name.letters, sizeof name.letters, &device->name);
  const __u32* found = bpf_map_lookup_elem(&untracked_at, &name);
  return found ? READ_ONCE(*found) : 0;
}

static __always_inline struct sk_buff* kernels(struct __sk_buff* frame) {
  return bpf_cast_to_kern_ctx(frame);
}

/* Where it will leave by, as the route says: the interface, at this hook, is nowhere else. */
static __always_inline struct net_device* way_out(struct __sk_buff* frame) {
  struct dst_entry* route = (struct dst_entry*)(kernels(frame)->_skb_refdst & ~1UL);
  struct net_device* device = 0;
  if (route) bpf_core_read(&device, sizeof device, &route->dev);
  return device;
}

/* 1: allowed. The packet begins with its IP header, and is whole. */
static __always_inline int is_untracked(struct __sk_buff* frame, struct net_device* device, int outward) {
  struct packet packet;
  const struct host* host = the_host();
  if (!host) return 0;
  __u32 side = READ_ONCE(host->batch) & 1, ipv6 = frame->protocol == bpf_htons(ETH_P_IPV6);
  __u32 chain =
      chain_at(untracked_endpoint_of(device), ipv6, outward ? HOOK_UNTRACKED_OUT : HOOK_UNTRACKED_IN, side);
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
  return is_untracked(frame, kernels(frame)->dev, 0);
}

SEC("socket")
int untracked_out(struct __sk_buff* frame) {
  return is_untracked(frame, way_out(frame), 1);
}

char _license[] SEC("license") = "GPL";
