/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Gives a packet another source or destination, as the kernel's own translation does.
 *
 *   sums     right whether the packet has its sum already, or a device is to write it; and what a device has
 *            summed up stays so. UDP without a sum stays without
 *   source   RFC 3022; RFC 1624; bpf-helpers(7), bpf_l4_csum_replace
 */
#pragma once

#include <linux/udp.h>

#include "lib/conntrack.h"

/* An end as it is to be. */
struct new_end {
  struct outer_end end;
  __u8 destination; /* 1: that end; 0: the source */
};

static __always_inline void add_to_sum(__u32* sum, __be32 before, __be32 after) {
  *sum += (__u16)~before;
  *sum += (__u16)(~before >> 16);
  *sum += (__u16)after;
  *sum += after >> 16;
}

static __always_inline void write_address(struct iphdr* ip, const struct new_end* how) {
  __be32 before = how->destination ? ip->daddr : ip->saddr, after = how->end.address.word[3];
  __u32 sum = (__u16)~ip->check;
  add_to_sum(&sum, before, after);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  ip->check = (__u16)~sum;
  if (how->destination) {
    ip->daddr = after;
  } else {
    ip->saddr = after;
  }
}

static __always_inline void write_port(void* transport, const struct new_end* how) {
  __be16* ports = transport;
  if (how->destination) {
    ports[1] = how->end.port;
  } else {
    ports[0] = how->end.port;
  }
}

/* Of transport: what it says of the addresses, which are not in it, and of the port, which is. PASS: nothing
 * has been changed; DROP: half of it. */
static __always_inline int mend_sum(struct __sk_buff* skb, const struct packet* packet,
                                    const struct new_end* how, __u32 at) {
  const struct address* was = how->destination ? &packet->ends.destination : &packet->ends.source;
  __be16 port = how->destination ? packet->ends.destination_port : packet->ends.source_port;
  int udp = packet->key.protocol == IPPROTO_UDP;
  __u64 flags = udp ? BPF_F_MARK_MANGLED_0 : 0;
  at += udp ? __builtin_offsetof(struct udphdr, check) : __builtin_offsetof(struct tcphdr, check);
  if (packet->ipv6) {
    __s64 change = bpf_csum_diff((__be32*)was, sizeof *was, (__be32*)&how->end.address, sizeof *was, 0);
    if (bpf_l4_csum_replace(skb, at, 0, (__u32)change, flags | BPF_F_PSEUDO_HDR)) return PASS;
    bpf_csum_update(skb, (__u32)change); /* no sum of the IP header's makes up for the addresses */
  } else if (bpf_l4_csum_replace(skb, at, was->word[3], how->end.address.word[3],
                                 flags | BPF_F_PSEUDO_HDR | 4)) {
    return PASS;
  }
  if (port == how->end.port || !bpf_l4_csum_replace(skb, at, port, how->end.port, flags | 2)) return 0;
  return drop_half_made();
}

/* The packet is plain: TCP or UDP right behind an IP header without options. PASS: it is as it was; DROP: it
 * is of no use any more; 0: done. */
__noinline int readdress(struct __sk_buff* skb, const struct packet* packet, const struct new_end* how) {
  if (!packet || !how) return PASS;
  __u32 at = ETH_HLEN + (packet->ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
  if ((void*)(long)skb->data + at + sizeof(struct udphdr) > (void*)(long)skb->data_end) return PASS;
  int mended = mend_sum(skb, packet, how, at);
  if (mended) return mended;
  void *ip = (void*)(long)skb->data + ETH_HLEN, *end = (void*)(long)skb->data_end;
  if (packet->ipv6) {
    struct ipv6hdr* header = ip;
    if ((void*)(header + 1) + sizeof(struct udphdr) > end) return drop_half_made();
    __builtin_memcpy(how->destination ? &header->daddr : &header->saddr, &how->end.address,
                     sizeof header->daddr);
    write_port(header + 1, how);
    return 0;
  }
  struct iphdr* header = ip;
  if ((void*)(header + 1) + sizeof(struct udphdr) > end) return drop_half_made();
  write_address(header, how);
  write_port(header + 1, how);
  return 0;
}
