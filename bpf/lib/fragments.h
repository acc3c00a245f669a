/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Fragments have no ports: they follow their first one, at the place where that was let through, or are
 * dropped. None may begin before the end of what was read of the first: where a receiver lets what overlaps write
 * over what it has (RFC 3128, RFC 5722), it would be another packet than was judged. */
#pragma once

#include "lib/judge.h"
#include "lib/workload_events.h"
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

static __always_inline int is_awaited(const struct fragment* first, __u32 now) {
  return now - first->seen + SECONDS(1) <= SECONDS(31);
}

/* `judged`: as its connection has been judged. `found`: where that is, as find_place() says it; 0: nowhere. Who sends
 * several first ones of a packet makes none of them shorter. */
__noinline int note_first_fragment(struct __sk_buff* skb, const struct packet* packet,
                                   const struct connection* judged, __u64 found, int from) {
  if (!packet || !judged) return 0;
  struct fragment_key key = fragment_key_of(skb, packet, from);
  int own = from ? packet->sender : !packet->sender;
  if (!counts_here(judged, packet->sender, from)) found = 0;
  struct fragment fragment = {.seen = clock_now(),
                              .judged = judged->judged,
                              .slot = slot_at(judged, own),
                              .header = packet->offset,
                              .place = (__u32)found,
                              .version = found >> 32,
                              .sender = packet->sender};
  if (!bpf_map_update_elem(&fragments, &key, &fragment, BPF_NOEXIST)) return 1;
  struct fragment* before = bpf_map_lookup_elem(&fragments, &key);
  if (!before) return 0; /* the others are dropped */
  if (is_awaited(before, fragment.seen)) {
    __sync_fetch_and_or(&before->header, fragment.header); /* no less than either */
  } else {
    before->header = fragment.header;
  }
  before->judged = fragment.judged;
  before->slot = fragment.slot;
  before->place = fragment.place;
  before->version = fragment.version;
  before->sender = fragment.sender;
  before->seen = fragment.seen;
  return 1;
}

static __always_inline void count_fragment(const struct __sk_buff* skb, const struct fragment* first) {
  struct tracked* there = first->version ? tracked_at(first->place) : 0;
  if (there && is_still(&there->connection, first->version))
    add_sent(&there->connection, first->sender, skb->len, 1);
}

/* The host's own pass whatever is known of their first one. */
__noinline int later_fragment(struct __sk_buff* skb, const struct packet* packet, int from) {
  if (!packet) return DROP;
  struct fragment_key key = fragment_key_of(skb, packet, from);
  const struct fragment* first = bpf_map_lookup_elem(&fragments, &key);
  if (!first || !is_awaited(first, clock_now()) || packet->offset < first->header ||
      !is_fresh(first->slot, first->judged)) {
    return !from && is_by_host(skb, packet) ? PASS : drop_unread(DROP_FRAGMENT);
  }
  count_fragment(skb, first);
  count(COUNT_FORWARDED);
  return PASS;
}
