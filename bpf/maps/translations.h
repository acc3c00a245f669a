/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Map translations: who a workload's connection is outside, where the kernel translates its source
 * (natOutgoing). An array, by the hash of the ends as they are outside, so that packets that come in find
 * their connection. What is not there, or is no more, takes the stack: nothing depends on it.
 * Written and read by bpf/lib/translations.h.
 *
 *   connection   names its translation in turn (struct translated_road), and neither counts alone
 *   processors   as connections: odd while somebody writes, and another version after that
 */
#pragma once

#include "maps/connections.h"

OCICAT_LAYOUT_BEGIN

enum {
  TRANSLATIONS_MAX = 64 * 1024,
  TRANSLATION_WAYS = 4,         /* places that a translation can have, side by side */
  TRANSLATIONS_SHIFT = 32 - 14, /* of the upper half of the hash, which four of them */
};

/* A workload's end of a connection, as it is outside. */
struct outer_end {
  struct address address;
  __be16 port;
  __be16 pad; /* 0 */
};
OCICAT_SIZE(struct outer_end, 20);

/* A cache line. */
struct translation {
  __u32 version;    /* odd: somebody is at it; 0: none has been here yet */
  __u32 digest;     /* of protocol and ends as they are outside */
  __u32 place;      /* of the connection, */
  __u32 connection; /* and its version */
  __u32 shown;      /* when the stack last had a packet of it, in ticks */
  struct outer_end end;
  __be32 hop[4];    /* the next hop's address; IPv4 in its first word */
  __u32 hop_family; /* AF_*, of that */
  __u32 way;        /* index of the interface there */
} OCICAT_WHOLE;
OCICAT_SIZE(struct translation, 64);

/* In place of a next hop's address (struct road, far), where the kernel translates the connection's source.
 * Both words of the name are written at once. */
struct translated_road {
  __u32 place;   /* of its translation, */
  __u32 version; /* and the version; 0: none is known */
  __u32 way;     /* index of the host's interface by which the outer end's packets come */
  __u32 pad;
};
OCICAT_SIZE(struct translated_road, 16);

OCICAT_LAYOUT_END
