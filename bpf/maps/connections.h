/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Maps connections and host_connections: LRU hashes of what has been let through, at workloads and at host
 * endpoints, both directions in one entry. Written and read by bpf/lib/connection.h and bpf/lib/host.h;
 * listed by views.
 *
 * With the kernel's own 48 bytes an element takes two cache lines.
 */
#pragma once

#include "maps/layout.h"

OCICAT_LAYOUT_BEGIN

enum {
  CONNECTIONS_MAX = 256 * 1024,
  HOST_CONNECTIONS_MAX = 128 * 1024,
};

/* The ends in an order of their own, so that both directions find the same entry. Ports of an ICMP query: its
 * identifier at the end that asks, type << 8 | code of the request at the other.
 */
struct connection_key {
  struct address address[2];
  __be16 port[2];
  __u8 protocol;
  __u8 asks; /* ICMP queries: 1 + the end that asks; else 0: either end may begin */
  __u8 pad[2];
};
OCICAT_SIZE(struct connection_key, 40);

enum connection_flags {
  CONNECTION_BEGUN_BY_SECOND = 1, /* the end with index 1 sent the first packet */
  CONNECTION_DENIED = 2,    /* was let through once and is not any more; nothing passes until it is idle */
  CONNECTION_FROM_HOST = 4, /* the host itself began it: ingress is not asked */
  CONNECTION_TO_HOST = 8,   /* to the host itself: the host's setting is asked after egress */
};

#define END_OUTSIDE 0x8000

enum tcp_seen { TCP_SEEN_SYN = 1, TCP_SEEN_ACK = 2, TCP_SEEN_FIN = 4, TCP_SEEN_RST = 8 };

/* Of map host_connections, in place of the last two: what the host endpoints of the interfaces by which the
 * ends are reached have judged.
 */
enum host_connection_flags {
  HOST_CONNECTION_FORWARDED = 4,
  HOST_CONNECTION_FROM_WORKLOAD = 8, /* to the host itself, and normal policy is not asked */
};

/* Arrays are by end: of what that end sent, or of the workload there. */
struct connection {
  __u64 bytes[2];    /* of whole frames */
  __u32 packets[2];  /* modulo 2^32 */
  __u32 seen;        /* when the last packet came, in ticks (bpf/lib/clock.h) */
  __u32 judged;      /* low half of the batch of the last judgement */
  __u16 endpoint[2]; /* slot of the workload here that has judged it; END_OUTSIDE | index of the host's
                        interface by which that end's packets come, translated by nobody; 0: neither is known.
                        Of host_connections: number of the host endpoint that has judged it; 0: none */
  __u8 tcp[2];       /* enum tcp_seen */
  __u8 flags;        /* enum connection_flags, or host_connection_flags */
  __u8 pad;
};
OCICAT_SIZE(struct connection, 40);

OCICAT_LAYOUT_END
