/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Map holders: one value, for whom the places of map connections are taken: how many each one has, those that are
 * over and nobody has wanted yet among them. Of each connection two count.
 *
 *   owner     the workload here that began it, or else that it goes to; where host endpoints have judged it, that
 *             workload by a number of its own, or else the host endpoint
 *   beginner  the address that began it, of a workload here together with its slot: what somebody else sends from that
 *             address counts elsewhere. One of 65,536 by a digest that nobody outside can foresee: another address
 *             shares its number now and then, and then counts together with it
 *   written   by whoever takes a place, with the place (bpf/lib/noting.h, dataplane/ebpf/connection_table.cc)
 *   exact     but for one now and then: where two processors judge one connection anew at once, or one does whose
 *             place is just taken, or an agent is killed. So a number may be less than zero, which counts as zero
 */
#pragma once

#include "maps/connections.h"

OCICAT_LAYOUT_BEGIN

enum {
  OWNERS_MAX = 1 << 15,
  BEGINNERS_BITS = 16,
  BEGINNERS_MAX = 1 << BEGINNERS_BITS,
  OWNER_AT_HOST = 0x2000,       /* what a workload has at host endpoints: its slot is added */
  OWNER_HOST_ENDPOINT = 0x4000, /* its number is added */
  OWNER_HOST_FOR_OTHERS = OWNERS_MAX - 1,
  HOLDS_MANY = CONNECTIONS_MAX / 64, /* who has more takes places only from those who have more still */
};

struct holders {
  __s32 owner[OWNERS_MAX];
  __s32 beginner[BEGINNERS_MAX];
};
OCICAT_SIZE(struct holders, (OWNERS_MAX + BEGINNERS_MAX) * 4);

/* For whom a connection counts; indexes of struct holders. */
struct holder {
  __u32 owner;
  __u32 beginner;
};
OCICAT_SIZE(struct holder, 8);

/* The slot of the workload here that has judged it at this end; 0: none. */
static inline __u32 slot_at(const struct connection* connection, __u32 end) {
  __u32 slot = connection->endpoint[end & 1];
  return slot & END_OUTSIDE ? 0 : slot;
}

/* The end that began it. */
static inline int beginner(const struct connection* connection) {
  return (connection->flags & CONNECTION_BEGUN_BY_SECOND) != 0;
}

/* What is forwarded for others than workloads here counts as one. */
static inline __u32 owner_of(const struct connection_key* key, const struct connection* connection) {
  __u32 begun = slot_at(connection, (__u32)beginner(connection));
  __u32 owner = begun ? begun : slot_at(connection, (__u32)!beginner(connection));
  if (!key->at_host) return owner % OWNERS_MAX;
  if (workload_at_host(connection)) return OWNER_AT_HOST | workload_at_host(connection);
  __u32 for_others = connection->flags & (HOST_CONNECTION_FORWARDED | HOST_CONNECTION_FROM_WORKLOAD);
  if (for_others) return OWNER_HOST_FOR_OTHERS;
  return (OWNER_HOST_ENDPOINT | owner) % OWNERS_MAX;
}

/* The slot of the workload here that began it; 0: somebody outside, or nobody knows. */
static inline __u32 begun_by(const struct connection_key* key, const struct connection* connection) {
  if (!key->at_host) return slot_at(connection, (__u32)beginner(connection));
  return connection->flags & HOST_CONNECTION_FROM_WORKLOAD ? workload_at_host(connection) : 0;
}

static inline struct holder holder_of(const struct connection_key* key, const struct connection* connection,
                                      const struct secret* secret) {
  const struct address* from = &key->address[beginner(connection)];
  struct holder holder;
  __u64 digest = begun_by(key, connection) * secret->word[4];
  for (int i = 0; i < 4; ++i) digest += from->word[i] * secret->word[i];
  holder.owner = owner_of(key, connection);
  holder.beginner = (__u32)(mixed(digest) >> (64 - BEGINNERS_BITS));
  return holder;
}

OCICAT_LAYOUT_END
