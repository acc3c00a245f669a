/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Map events: a ring buffer of what became of flows: each that begins at a workload or a host endpoint here,
 * and each packet that is refused. Written by bpf/lib/events.h; read by src/flows/ring.cc, which looks for
 * itself: nobody is woken.
 *
 *   lost   where the ring is full, or half full and an interface has had its share of the other half; counted
 *          (COUNT_EVENTS_FULL, COUNT_EVENTS_SHARE), and the packet goes its way as if it had been told
 */
#pragma once

#include "maps/connections.h"
#include "maps/layout.h"

OCICAT_LAYOUT_BEGIN

enum {
  EVENTS_BYTES = 4 * 1024 * 1024, /* about 58,000 events */
  EVENT_SHARES_MAX = 1024,
  EVENT_SHARE = 64,      /* events of an interface in so many jiffies, while the ring is half full: */
  EVENT_SHARE_SHIFT = 5, /* two to this; 128 ms where 250 make a second */
};

enum event_flags {
  EVENT_FROM_ENDPOINT = 1, /* seen on its way from the endpoint at the interface; else to it */
  EVENT_IS_REPLY = 2,      /* the packet went against the connection: its destination began it */
  EVENT_FROM_HOST = 4,     /* the host itself sent it */
  EVENT_COMES_IN = 8,      /* it came in by the interface; else it leaves by it */
};

/* One cache line. */
struct event {
  __u64 time;            /* CLOCK_MONOTONIC, ns */
  struct address source; /* as in the packet */
  struct address destination;
  __be16 source_port;      /* as in connection_key: of ICMP queries the identifier, and type << 8 | code */
  __be16 destination_port; /* of other ICMP, type << 8 | code here */
  __u32 interface;         /* its index */
  __u32
      outcome[2]; /* what egress and ingress policy answered (OutcomeId); 0: was not asked for this packet */
  __u8 protocol;
  __u8 flags;  /* enum event_flags */
  __u8 reason; /* enum counter: COUNT_JUDGED for a flow that begins, COUNT_LOGGED for another packet that has
                  passed Log rules, else DROP_* */
  __u8 pad;
  __u32 size; /* of the packet, without its frame's header */
};
OCICAT_SIZE(struct event, 64);

/* Map told_lately: LRU hash of what passes and is of no connection -> when its last packet came, in ticks. The first
 * packet is told of as a flow that begins, and so is the first after a while.
 */
enum { TOLD_LATELY_MAX = 16384, TOLD_FOR = 60 * 954 /* ticks: a minute */, TOLD_STEP = 954 };

struct told_flow {
  struct connection_key key;
  __u32 interface; /* of the workload where it was seen; 0: at the host's hooks */
  __u32 pad;       /* 0 */
};
OCICAT_SIZE(struct told_flow, 48);

/* Map event_shares: array by interface index, modulo its size. */
struct event_share {
  __u32 since; /* jiffies, shifted */
  __u32 used;
};
OCICAT_SIZE(struct event_share, 8);

OCICAT_LAYOUT_END
