/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What a router does to a packet, and how large the packet is for it. */
#pragma once

#include "lib/packet.h"

#define TOO_LARGE 0x10000

/* As IP counts one packet on the wire, which a large one is cut into. What is not TCP may have further
 * headers in each piece. */
static __always_inline __u32 size_on_wire(const struct __sk_buff* skb, const struct packet* packet) {
  if (!skb->gso_size) return skb->len - ETH_HLEN;
  return packet->key.protocol == IPPROTO_TCP ? skb->gso_size + packet->headers : TOO_LARGE;
}

/* One hop less, as a router has it, and MACs where they are given, in the frame that begins at `at` (a
 * constant). False where the header is not at hand. */
static __always_inline int hop(struct __sk_buff* skb, const struct packet* packet, const __u8* macs,
                               __u32 at) {
  void *data = (void*)(long)skb->data + at, *end = (void*)(long)skb->data_end;
  struct ethhdr* ethernet = data;
  if (packet->ipv6) {
    struct ipv6hdr* ip = (void*)(ethernet + 1);
    if ((void*)(ip + 1) > end) return 0;
    __u16 before = bpf_htons((__u16)(ip->nexthdr << 8 | ip->hop_limit));
    --ip->hop_limit;
    __u16 after = bpf_htons((__u16)(ip->nexthdr << 8 | ip->hop_limit));
    if (macs) copy_words(ethernet, macs, 2 * ETH_ALEN);
    bpf_csum_update(skb, (__u32)after + (__u16)~before); /* where a device has summed up the packet */
    return 1;
  }
  struct iphdr* ip = (void*)(ethernet + 1);
  if ((void*)(ip + 1) > end) return 0;
  --ip->ttl;
  __u32 sum = ip->check + bpf_htons(0x0100);
  ip->check = (__u16)(sum + (sum >= 0xffff)); /* RFC 1141 */
  if (macs) copy_words(ethernet, macs, 2 * ETH_ALEN);
  return 1;
}
