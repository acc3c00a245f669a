/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Answers what policy refuses at a workload, where the setting wants it (iptablesFilterDenyAction: Reject), and
 * always what no route leads to: the packet becomes the answer, a TCP reset or an ICMP error "port unreachable",
 * or "network unreachable" (of IPv6 "no route"), from whom it was for, and goes back to where it came from: to
 * the workload, or as if the workload had sent it. It bears a mark by which the program there knows it;
 * interfaces of other network namespaces cannot bring any.
 *
 *   closed    what cannot be answered is dropped: fragments, options, extension headers, resets, errors, what
 *             is for many, what the kernel will not reshape; and TCP in the middle of what nobody knows here
 *   bounds    errors by the share of an interface, as the kernel has it by destination
 *   source    RFC 9293, section 3.10.7.1; RFC 792; RFC 4443, section 3.1; RFC 1122, section 3.2.2
 */
#pragma once

#include "lib/batch.h"
#include "lib/host_addresses.h"
#include "lib/sums.h"
#include "lib/workload_events.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, EVENT_SHARES_MAX);
  __type(key, __u32);
  __type(value, struct event_share);
} answer_shares SEC(".maps");

enum {
  ICMP_UNREACHABLE = 3,
  ICMPV6_UNREACHABLE = 1,
  ICMP_NO_ROUTE = 0,
  ICMP_PORT = 3,
  ICMPV6_PORT = 4,
  QUOTED = 8
};

/* From the IP header on. */
union answer {
  struct {
    struct iphdr ip;
    struct tcphdr tcp;
  } reset4;
  struct {
    struct ipv6hdr ip;
    struct tcphdr tcp;
  } reset6;
  struct {
    struct iphdr ip;
    struct icmp_header icmp;
    __u8 quoted[sizeof(struct iphdr) + QUOTED];
  } error4;
  struct {
    struct ipv6hdr ip;
    struct icmp_header icmp;
    __u8 quoted[sizeof(struct ipv6hdr) + QUOTED];
  } error6;
};

/* Where it is made; too much for the stack. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, union answer);
} answers SEC(".maps");

static __always_inline __u32 settings_now(void) {
  const struct host* now = the_host();
  return now ? now->settings[READ_ONCE(now->batch) & 1] : 0;
}

/* Whether what policy refuses is to be answered. */
static __always_inline int rejects(void) {
  return (settings_now() & HOST_REJECTS) != 0;
}

static __always_inline __u32 answer_mark(void) {
  return 1U << (settings_now() >> HOST_MARK_SHIFT & HOST_MARK_BITS);
}

/* Whether a program here has made it, at the other direction's hook of the same interface. */
__noinline int is_answer(struct __sk_buff* skb, const struct packet* packet) {
  __u32 mark = answer_mark();
  /* What a tunnel has brought may bear it as well, but came in elsewhere. */
  if (!packet || !(skb->mark & mark) || skb->ingress_ifindex != skb->ifindex) return 0;
  if (packet->key.protocol == IPPROTO_TCP ? !(packet->tcp & TCP_RST) : packet->kind != KIND_ERROR) return 0;
  skb->mark &= ~mark;
  return 1;
}

/* The checksum's part that is of no header. */
static __always_inline __u16 pseudo_sum(const struct ends* ends, __u8 protocol, __u32 length) {
  __u64 sum = bpf_htonl(length) + (__u64)bpf_htonl(protocol);
  for (int i = 0; i < 4; ++i) {
    if (i == 2 && is_mapped(&ends->source)) continue; /* which is no part of the address */
    sum += (__u64)ends->source.word[i] + ends->destination.word[i];
  }
  return folded(sum);
}

/* Two words of the answer make its checksum right, `balance` and the one that a device fills in where the
 * packet that it has been made of left its checksum to it (`filled`). That one is the sum of the pseudo
 * header, which is what the device will put there: so it is right whether the device does or not. */
static __always_inline void balance(__be16* filled, __be16* balancing, const void* transport, __u32 length,
                                    __u16 pseudo) {
  *filled = pseudo;
  *balancing = 0;
  *balancing = ~folded((__u64)(__u32)bpf_csum_diff(0, 0, (__be32*)transport, length, 0) + pseudo);
}

static __always_inline void write_ipv4(struct iphdr* ip, const struct ends* ends, __u8 protocol,
                                       __u32 length) {
  __builtin_memset(ip, 0, sizeof *ip);
  ip->version = 4;
  ip->ihl = 5;
  ip->tot_len = bpf_htons(length);
  ip->frag_off = bpf_htons(0x4000);
  ip->ttl = 64;
  ip->protocol = protocol;
  ip->saddr = ends->destination.word[3];
  ip->daddr = ends->source.word[3];
  ip->check = ~folded((__u32)bpf_csum_diff(0, 0, (__be32*)ip, sizeof *ip, 0));
}

static __always_inline void write_ipv6(struct ipv6hdr* ip, const struct ends* ends, __u8 protocol,
                                       __u32 length) {
  __builtin_memset(ip, 0, sizeof *ip);
  ip->version = 6;
  ip->payload_len = bpf_htons(length - sizeof *ip);
  ip->nexthdr = protocol;
  ip->hop_limit = 64;
  __builtin_memcpy(&ip->saddr, &ends->destination, sizeof ip->saddr);
  __builtin_memcpy(&ip->daddr, &ends->source, sizeof ip->daddr);
}

static __always_inline int write_reset(struct __sk_buff* skb, const struct packet* packet, __u32 at,
                                       struct tcphdr* reset) {
  struct tcphdr tcp;
  if (!load(skb, at, &tcp, sizeof tcp)) return 0;
  __u32 octets = skb->len - ETH_HLEN - packet->headers + tcp.syn + tcp.fin;
  __builtin_memset(reset, 0, sizeof *reset);
  reset->source = tcp.dest;
  reset->dest = tcp.source;
  reset->doff = sizeof *reset / 4;
  reset->rst = 1;
  if (tcp.ack) {
    reset->seq = tcp.ack_seq;
  } else {
    reset->ack = 1;
    reset->ack_seq = bpf_htonl(bpf_ntohl(tcp.seq) + octets);
  }
  balance(&reset->check, &reset->window, reset, sizeof *reset,
          pseudo_sum(&packet->ends, IPPROTO_TCP, sizeof *reset));
  return 1;
}

/* Puts the answer in the packet's place, and sends it back. */
static __always_inline int send_back(struct __sk_buff* skb, const void* answer, __u32 length, int from) {
  __u8 ends[2][ETH_ALEN];
  __u32 mark = answer_mark();
  if (bpf_skb_load_bytes(skb, 0, ends, sizeof ends) || bpf_skb_change_tail(skb, ETH_HLEN + length, 0) ||
      bpf_skb_store_bytes(skb, 0, ends[1], ETH_ALEN, 0) ||
      bpf_skb_store_bytes(skb, ETH_ALEN, ends[0], ETH_ALEN, 0) ||
      bpf_skb_store_bytes(skb, ETH_HLEN, answer, length, BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH)) {
    return DROP;
  }
  skb->mark |= mark;
  count(COUNT_ANSWERED);
  return bpf_redirect(skb->ifindex, from ? 0 : BPF_F_INGRESS);
}

/* A connection that nobody knows here and that this end may not begin is not ended: it may be one that has been
 * pushed out, which the other end may take up again. */
static __always_inline int answer_tcp(struct __sk_buff* skb, const struct packet* packet,
                                      union answer* answer, __u32 why, int from) {
  if (packet->tcp & TCP_RST || (why != DROP_REVOKED && !(packet->tcp & TCP_SYN))) return DROP;
  if (packet->ipv6) {
    if (!write_reset(skb, packet, ETH_HLEN + sizeof(struct ipv6hdr), &answer->reset6.tcp)) return DROP;
    write_ipv6(&answer->reset6.ip, &packet->ends, IPPROTO_TCP, sizeof answer->reset6);
    return send_back(skb, &answer->reset6, sizeof answer->reset6, from);
  }
  if (!write_reset(skb, packet, ETH_HLEN + sizeof(struct iphdr), &answer->reset4.tcp)) return DROP;
  write_ipv4(&answer->reset4.ip, &packet->ends, IPPROTO_TCP, sizeof answer->reset4);
  return send_back(skb, &answer->reset4, sizeof answer->reset4, from);
}

static __always_inline int answer_others(struct __sk_buff* skb, const struct packet* packet,
                                         union answer* answer, __u32 why, int from) {
  if (packet->kind != KIND_PLAIN && packet->kind != KIND_FOLLOWS) return DROP;
  if (!has_share(&answer_shares, skb->ifindex)) return DROP;
  __builtin_memset(answer, 0, sizeof *answer);
  if (packet->ipv6) {
    __u32 length = sizeof answer->error6 - sizeof(struct ipv6hdr);
    if (bpf_skb_load_bytes(skb, ETH_HLEN, answer->error6.quoted, sizeof answer->error6.quoted)) return DROP;
    answer->error6.icmp.type = ICMPV6_UNREACHABLE;
    answer->error6.icmp.code = why == DROP_NO_ROUTE ? ICMP_NO_ROUTE : ICMPV6_PORT;
    balance(&answer->error6.icmp.sequence, &answer->error6.icmp.checksum, &answer->error6.icmp, length,
            pseudo_sum(&packet->ends, IPPROTO_ICMPV6, length));
    write_ipv6(&answer->error6.ip, &packet->ends, IPPROTO_ICMPV6, sizeof answer->error6);
    return send_back(skb, &answer->error6, sizeof answer->error6, from);
  }
  if (bpf_skb_load_bytes(skb, ETH_HLEN, answer->error4.quoted, sizeof answer->error4.quoted)) return DROP;
  answer->error4.icmp.type = ICMP_UNREACHABLE;
  answer->error4.icmp.code = why == DROP_NO_ROUTE ? ICMP_NO_ROUTE : ICMP_PORT;
  balance(&answer->error4.icmp.sequence, &answer->error4.icmp.checksum, &answer->error4.icmp,
          sizeof answer->error4 - sizeof(struct iphdr), 0);
  write_ipv4(&answer->error4.ip, &packet->ends, IPPROTO_ICMP, sizeof answer->error4);
  return send_back(skb, &answer->error4, sizeof answer->error4, from);
}

/* Whether it can be answered at all. */
static __always_inline int may_answer(const struct __sk_buff* skb, const struct packet* packet, int from) {
  return packet->fragment == FRAGMENT_NONE && packet->headers && !skb->vlan_present &&
         !(from && skb->pkt_type) && is_of_one(&packet->ends.source) && is_of_one(&packet->ends.destination);
}

/* What becomes of a packet that is refused. */
__noinline int refuse(struct __sk_buff* skb, int from) {
  __u32 first = 0;
  struct workbench* bench = workbench();
  const struct telling* now = telling();
  union answer* answer = bpf_map_lookup_elem(&answers, &first);
  if (!bench || !now || !answer) return DROP;
  const struct packet* packet = &bench->packet;
  __u32 why = now->why;
  tell(skb, packet, why, from);
  if (why != DROP_NO_ROUTE && !((why == DROP_POLICY || why == DROP_REVOKED) && rejects())) return DROP;
  if (!may_answer(skb, packet, from)) return DROP;
  return packet->key.protocol == IPPROTO_TCP && why != DROP_NO_ROUTE
             ? answer_tcp(skb, packet, answer, why, from)
             : answer_others(skb, packet, answer, why, from);
}
