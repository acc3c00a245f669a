/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Map fragments: an LRU hash of packets whose first fragment has been let through, so that the others may
 * follow. Written and read by bpf/lib/fragments.h.
 */
#pragma once

#include "maps/layout.h"

OCICAT_LAYOUT_BEGIN

enum { FRAGMENTS_MAX = 8 * 1024 };

struct fragment_key {
  struct address source;
  struct address destination;
  __u32 id;        /* as in the packet */
  __u32 interface; /* where it was judged, */
  __u8 from;       /* 1: on its way from the workload, 0: to it */
  __u8 protocol;   /* IPv4 only: RFC 8200, section 4.5 has none */
  __u8 pad[2];
};
OCICAT_SIZE(struct fragment_key, 44);

struct fragment {
  __u32 seen;    /* in ticks */
  __u32 judged;  /* low half of the batch */
  __u32 slot;    /* of the endpoint that judged it */
  __u32 header;  /* where the others may begin, in units of 8 bytes: behind what was read of the first */
  __u32 place;   /* of the connection that they count for, */
  __u32 version; /* and its version; 0: of none, or they are counted elsewhere */
  __u32 sender;  /* the end that sends them */
};
OCICAT_SIZE(struct fragment, 28);

OCICAT_LAYOUT_END
