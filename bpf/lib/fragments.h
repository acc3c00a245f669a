/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Fragments have no ports: they follow their first one, at the place where that was let through, or are
 * dropped. */
#pragma once

#include "lib/judge.h"
#include "maps/fragments.h"

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, FRAGMENTS_MAX);
  __type(key, struct fragment_key);
  __type(value, struct fragment);
} fragments SEC(".maps");

static __always_inline struct fragment_key fragment_key_of(struct __sk_buff* skb, const struct packet* packet,
                                                           int from) {
  struct fragment_key key = {
      .source = packet->ends.source,
      .destination = packet->ends.destination,
      .id = packet->fragment_id,
      .interface = skb->ifindex,
      .from = from,
      .protocol = packet->ipv6 ? 0 : packet->key.protocol,
  };
  return key;
}

__noinline int note_first_fragment(struct __sk_buff* skb, const struct packet* packet, __u32 slot,
                                   __u32 judged, int from) {
  if (!packet) return 0;
  struct fragment_key key = fragment_key_of(skb, packet, from);
  struct fragment fragment = {.seen = clock_now(), .judged = judged, .slot = slot};
  return bpf_map_update_elem(&fragments, &key, &fragment, BPF_ANY) == 0; /* else the others are dropped */
}

__noinline int later_fragment(struct __sk_buff* skb, const struct packet* packet, int from) {
  if (!packet) return DROP;
  struct fragment_key key = fragment_key_of(skb, packet, from);
  const struct fragment* first = bpf_map_lookup_elem(&fragments, &key);
  if (!first || clock_now() - first->seen + SECONDS(1) > SECONDS(31) ||
      !is_fresh(first->slot, first->judged)) {
    return drop_unread(DROP_FRAGMENT);
  }
  count(COUNT_FORWARDED);
  return PASS;
}
