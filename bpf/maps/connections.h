/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Map connections: what has been let through, at workloads and at host endpoints, both directions in one
 * entry. An array, by the hash of the key: docs/design/ebpf.md#connections. Written and read by
 * bpf/lib/connections.h and bpf/lib/noting.h.
 *
 *   another layout   connections in it are taken over at an upgrade, by the names of members of struct tracked
 *                    (dataplane/ebpf/older_connections.h): one that keeps its name keeps its meaning, and what
 *                    means something else is called something else
 */
#pragma once

#include "maps/layout.h"

OCICAT_LAYOUT_BEGIN

enum {
  CONNECTION_WAYS = 8,        /* places that a connection can have, one in each eighth of the array */
  CONNECTION_ROW_BITS = 15,   /* of the hash: where in the first eighth; */
  CONNECTION_STRIDE_BITS = 4, /* and how many rows further on in the next */
  CONNECTIONS_MAX = CONNECTION_WAYS << CONNECTION_ROW_BITS,
};

/* The ends in an order of their own, so that both directions find the same entry. Ports of an ICMP query: its
 * identifier at the end that asks, type << 8 | code of the request at the other.
 */
struct connection_key {
  struct address address[2];
  __be16 port[2];
  __u8 protocol;
  __u8 asks;    /* ICMP queries: 1 + the end that asks; else 0: either end may begin */
  __u8 at_host; /* 1: as host endpoints have judged it, 0: as workloads have */
  __u8 pad;
} OCICAT_WHOLE;
OCICAT_SIZE(struct connection_key, 40);

enum connection_flags {
  CONNECTION_BEGUN_BY_SECOND = 1, /* the end with index 1 sent the first packet */
  CONNECTION_DENIED = 2,    /* was let through once and is not any more; nothing passes until it is idle */
  CONNECTION_FROM_HOST = 4, /* the host itself began it: ingress is not asked */
  CONNECTION_TO_HOST = 8,   /* to the host itself: the host's setting is asked after egress */
  CONNECTION_FLOATING = 16, /* one end knows the other by a floating address: the stack translates */
};

#define END_OUTSIDE 0x8000

/* What an end has sent; of other protocols than TCP and SCTP, whether anything. */
enum tcp_seen { TCP_SEEN_SYN = 1, TCP_SEEN_ACK = 2, TCP_SEEN_FIN = 4, TCP_SEEN_RST = 8, SEEN_ANYTHING = 128 };

/* Of those at host endpoints, in place of the last two: what the host endpoints of the interfaces by which
 * the ends are reached have judged.
 */
enum host_connection_flags {
  HOST_CONNECTION_FORWARDED = 4,
  HOST_CONNECTION_FROM_WORKLOAD = 8, /* a workload here began it; normal policy is not asked at the host */
  HOST_CONNECTION_WORKLOAD = 0xf0,   /* of workload_at_host(), what is above eight bits */
};

/* Arrays are by end: of what that end sent, or of the workload there. */
struct connection {
  __u32 seen;        /* when the last packet came, in ticks (bpf/lib/clock.h) */
  __u32 judged;      /* low half of the batch of the last judgement */
  __u16 endpoint[2]; /* slot of the workload here that has judged it; END_OUTSIDE | index of the host's
                        interface by which that end's packets come, translated by nobody; 0: neither is known.
                        At a host: number of the host endpoint that has judged it; 0: none */
  __u8 tcp[2];       /* enum tcp_seen; of SCTP in TCP's words (bpf/lib/sctp.h) */
  __u8 flags;        /* enum connection_flags, or host_connection_flags */
  __u8 workload;     /* at a host: of workload_at_host(), the lower eight bits; else 0 */
  __u64 bytes[2];    /* of whole frames, at the host's hooks from the IP header on */
  __u32 packets[2];  /* modulo 2^32 */
};
OCICAT_SIZE(struct connection, 40);

/* At a host: the slot of the workload here that began it, or else that it goes to; 0: none. Of twelve bits, as there are
 * slots. */
static inline __u32 workload_at_host(const struct connection* connection) {
  return (__u32)(connection->flags & HOST_CONNECTION_WORKLOAD) << 4 | connection->workload;
}

static inline void set_workload_at_host(struct connection* connection, __u32 slot) {
  connection->flags =
      (__u8)((connection->flags & ~HOST_CONNECTION_WORKLOAD) | (slot >> 4 & HOST_CONNECTION_WORKLOAD));
  connection->workload = (__u8)slot;
}

/* What the kernel's routes have said of the ways to both ends (bpf/lib/roads.h). */
struct road {
  __u32 asked[2]; /* by end it leads to: when, in ticks; 0: not since the connection was judged */
  __u16 mtu[2];   /* of the packets it takes */
  __u8 near[12];  /* to a workload here: its MAC, and that of the host's side of its interface */
  __u8 far[16];   /* the same, where near is the other end's; or, to the outside, the next hop's address, or
                     the slot of the tunnel (maps/tunnels.h), or a translation (maps/translations.h) */
};
OCICAT_SIZE(struct road, 40);

/* Two cache lines, what every packet asks for in the first. */
struct tracked {
  struct connection_key key;
  __u32 version;   /* another with each connection that comes to be here; odd: somebody is at it; 0: none has
                      been here yet, nor further on */
  __u8 traffic[2]; /* by end it goes to: type of service or traffic class of the packet the road is for */
  __u8 hop_family; /* AF_*, of the next hop's address; 0: of a tunnel; 1: of a translation */
  __u8 pad;
  struct connection connection;
  struct road road;
};
OCICAT_SIZE(struct tracked, 128);

/* The secret by which places are found: nobody outside can say which connections share theirs. */
struct secret {
  __u64 word[10]; /* the first is odd; 0: not made yet */
};
OCICAT_SIZE(struct secret, 80);

typedef __u32 __attribute__((may_alias)) key_word; /* keys are written by their members, and read as words */

/* Each word of the key times a secret twice as wide, so that of the sum any two keys have the same upper half as
 * rarely as can be (Lemire and Kaser, "Strongly universal string hashing is fast", 2014). That is said of two: keys
 * one after the other make sums one after the other, and one secret of twenty to seventy, as the keys are, has these
 * fall together. So they are mixed (Knuth's multiplicative hashing).
 */
static inline __u64 mixed(__u64 sum) {
  return (sum ^ sum >> 32) * 0x9e3779b97f4a7c15;
}

static inline __u64 hash_of(const struct connection_key* key, const struct secret* secret) {
  const key_word* word = (const key_word*)key;
  __u64 sum = 0;
  for (int i = 0; i < 10; ++i) sum += word[i] * secret->word[i];
  return mixed(sum);
}

/* Which eight places a connection can have: the row of the first one, and above that the stride. Those who have
 * the same number share all eight. */
static inline __u32 places_of(const struct connection_key* key, const struct secret* secret) {
  return (__u32)(hash_of(key, secret) >> (64 - CONNECTION_ROW_BITS - CONNECTION_STRIDE_BITS));
}

/* These places, in the order in which they are looked at. Of those who share the first few share the second: so
 * with half of the array taken one connection in a million finds none, where with all eight in one row it would
 * be one in a hundred (connection_places_test.cc counts). First places lie side by side: while there is room, what
 * is in use is on few pages.
 */
static inline __u32 place_in(__u32 places, __u32 step) {
  __u32 row = places + step * (places >> CONNECTION_ROW_BITS);
  return step << CONNECTION_ROW_BITS | (row & ((1U << CONNECTION_ROW_BITS) - 1));
}

OCICAT_LAYOUT_END
