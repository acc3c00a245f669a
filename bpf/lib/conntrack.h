/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the kernel's own connection tracking says of a connection whose source it translates.
 *
 *   kernel   by functions that it lends to programs since 5.18, and may take back: where it has none, or its
 *            connection tracking was not there when the programs were loaded, nobody can be asked
 *   cost     about 100 ns
 *   source   kernel net/netfilter/nf_conntrack_bpf.c
 */
#pragma once

#include "lib/kernel_types.h"
#include "lib/packet.h"
#include "maps/translations.h"

/* Its options, as they have been from the first: longer ones have more of them behind. */
struct bpf_ct_opts {
  __s32 netns_id; /* -1: that of the packet */
  __s32 error;
  __u8 l4proto;
  __u8 dir; /* of the packet that would have these ends: 0 as the first one */
  __u8 reserved[2];
};

extern struct nf_conn* bpf_skb_ct_lookup(struct __sk_buff* skb, struct bpf_sock_tuple* ends, __u32 size,
                                         struct bpf_ct_opts* options, __u32 options_size) __ksym __weak;
extern void bpf_ct_release(struct nf_conn* tracked) __ksym __weak;

/* Of enum ip_conntrack_status. */
enum tracked_status {
  TRACKED_SOURCE_TRANSLATED = 1 << 4,
  TRACKED_BOTH_TRANSLATED = 1 << 5,
  TRACKED_RENUMBERED = 1 << 6, /* TCP's sequence numbers are changed on the way */
  TRACKED_CONFIRMED = 1 << 3,
  TRACKED_DYING = 1 << 9,
  TRACKED_HELPED = 1 << 13, /* somebody reads what it says, and may change it */
};

static __always_inline int can_ask_conntrack(void) {
  return bpf_core_type_exists(struct bpf_ct_opts);
}

static __always_inline void tuple_of(const struct packet* packet, struct bpf_sock_tuple* tuple) {
  const struct ends* ends = &packet->ends;
  if (packet->ipv6) {
    __builtin_memcpy(tuple->ipv6.saddr, &ends->source, sizeof tuple->ipv6.saddr);
    __builtin_memcpy(tuple->ipv6.daddr, &ends->destination, sizeof tuple->ipv6.daddr);
    tuple->ipv6.sport = ends->source_port;
    tuple->ipv6.dport = ends->destination_port;
  } else {
    tuple->ipv4.saddr = ends->source.word[3];
    tuple->ipv4.daddr = ends->destination.word[3];
    tuple->ipv4.sport = ends->source_port;
    tuple->ipv4.dport = ends->destination_port;
  }
}

/* What is asked: too much for the stack. */
struct question_to_conntrack {
  struct bpf_sock_tuple ends;
  struct bpf_ct_opts options;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct question_to_conntrack);
} questions SEC(".maps");

/* Who answers are for, where the packet's connection has its source translated and nothing else; else 0. Of
 * TCP and UDP: others the kernel cannot be asked about. */
__noinline int ask_conntrack(struct __sk_buff* skb, const struct packet* packet, struct outer_end* seen) {
  __u32 first = 0;
  struct question_to_conntrack* question = bpf_map_lookup_elem(&questions, &first);
  if (!packet || !seen || !question || !can_ask_conntrack()) return 0;
  question->options = (struct bpf_ct_opts){.netns_id = -1, .l4proto = packet->key.protocol};
  tuple_of(packet, &question->ends);
  struct nf_conn* tracked = bpf_skb_ct_lookup(
      skb, &question->ends, packet->ipv6 ? sizeof question->ends.ipv6 : sizeof question->ends.ipv4,
      &question->options, sizeof question->options);
  if (!tracked) return 0;
  unsigned long status = BPF_CORE_READ(tracked, status);
  seen->port = BPF_CORE_READ(tracked, tuplehash[1].tuple.dst.u.all);
  bpf_core_read(&seen->address, sizeof seen->address, &tracked->tuplehash[1].tuple.dst.u3.all);
  bpf_ct_release(tracked);
  if (!packet->ipv6) set_v4(&seen->address, seen->address.word[0]);
  const unsigned long wanted = TRACKED_SOURCE_TRANSLATED | TRACKED_CONFIRMED;
  return question->options.dir == 0 && (status & (wanted | TRACKED_BOTH_TRANSLATED | TRACKED_RENUMBERED |
                                                  TRACKED_DYING | TRACKED_HELPED)) == wanted;
}
