/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Where connections are: each in one of eight places, which its hash names. Nothing is ever
 * taken out: a connection that is over leaves its place to another (noting.h).
 *
 *   cost        of one that is known, two cache lines, mostly at the first look
 *   processors  while somebody puts another connection into a place its version is odd, and a new one after
 *               that. Whoever has looked a connection up, and then sees another version, has seen another
 *               connection
 */
#pragma once

#include "lib/batch.h"
#include "lib/connection.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, CONNECTIONS_MAX);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct tracked);
} connections SEC(".maps");

static __always_inline int is_same_key(const struct connection_key* a, const struct connection_key* b) {
  const __u64 *left = (const __u64*)a, *right = (const __u64*)b;
  return left[1] == right[1] && left[3] == right[3] && left[4] == right[4] && left[0] == right[0] &&
         left[2] == right[2];
}

static __always_inline __u32 places_for(const struct connection_key* key) {
  const struct host* secrets = the_host();
  return secrets ? places_of(key, &secrets->secret) : 0;
}

static __always_inline struct tracked* tracked_at(__u32 place) {
  return bpf_map_lookup_elem(&connections, &place);
}

/* The connection, and its version; 0: it is not known. */
static __always_inline struct connection* look_up(const struct connection_key* key, __u32* version) {
  __u32 places = places_for(key);
  for (__u32 i = 0; i < CONNECTION_WAYS; ++i) {
    struct tracked* there = tracked_at(place_in(places, i));
    if (!there) return 0;
    *version = READ_ONCE(there->version);
    if (!*version) return 0;
    if (is_same_key(&there->key, key) && !(*version & 1)) return &there->connection;
  }
  return 0;
}

/* The connection that the packet belongs to; 0 where it would have to begin one. */
static __always_inline struct connection* find_connection(const struct packet* packet, __u32 now,
                                                          __u32* version) {
  *version = 0;
  if (packet->kind != KIND_PLAIN && packet->kind != KIND_FOLLOWS) return 0;
  return living(look_up(&packet->key, version), packet, now);
}

/* Of a known connection, or 0: where it is, and above that its version. For those who look often, as one
 * function for all. */
__noinline __u64 find_place(const struct connection_key* key) {
  __u32 version;
  if (!key) return 0;
  __u32 places = places_for(key);
  for (__u32 i = 0; i < CONNECTION_WAYS; ++i) {
    __u32 place = place_in(places, i);
    const struct tracked* there = tracked_at(place);
    if (!there) return 0;
    version = READ_ONCE(there->version);
    if (!version) return 0;
    if (is_same_key(&there->key, key) && !(version & 1)) return (__u64)version << 32 | place;
  }
  return 0;
}

/* Where a connection of this map is. */
static __always_inline struct tracked* tracked_of(struct connection* connection) {
  return (void*)connection - __builtin_offsetof(struct tracked, connection);
}

static __always_inline void forget_roads(struct tracked* tracked) {
  WRITE_ONCE(tracked->road.asked[0], 0);
  WRITE_ONCE(tracked->road.asked[1], 0);
}

/* Whether it has been this connection all the time since it was looked up. */
static __always_inline int is_still(struct connection* connection, __u32 version) {
  return READ_ONCE(tracked_of(connection)->version) == version;
}
