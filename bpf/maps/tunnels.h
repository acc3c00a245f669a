/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Maps vteps, tunnels and outer_roads: the ends of VXLAN tunnels at other hosts, and the ways there.
 * Written by dataplane/ebpf/, the last by programs; read by bpf/lib/tunnel.h.
 *
 *   here   tunnels of both families, each for packets of its own: what stands in front of the tunnelled packet
 *          is the same for all of an end's, but for lengths, an identifier, sums, source ports and what is said
 *          of congestion
 */
#pragma once

#include "maps/layout.h"

OCICAT_LAYOUT_BEGIN

enum {
  TUNNELS_MAX = 8192,     /* slot 0 is nobody's */
  OUTER_ROADS_MAX = 1024, /* a power of two; of each processor */
  TUNNEL_HEADERS_V4 = 50, /* IPv4, UDP, VXLAN, Ethernet */
  TUNNEL_HEADERS_V6 = 70,
};

/* Map vteps: hash of a VTEP's address (struct address) to its slot in tunnels. */

/* Map tunnels: array by slot. Who has read all of it and still sees the same even version has read it whole.
 */
struct tunnel {
  __u64
      header[9]; /* TUNNEL_HEADERS_V4 or _V6 bytes, as in the packet. Zero: type of service or traffic class,
                      lengths, identifier and source port. IPv4's sum: that of its other words, folded, not
                      inverted; UDP's over IPv6: that of all words in its reach that are not zero here, VXLAN's
                      and Ethernet's included. Then zeroes */
  __u32 version; /* another whenever the rest changes; odd: somebody is at it */
  __u32 device;  /* index of the VXLAN interface here; 0: the slot is free */
  __u32 parent;  /* index of the interface that has the host's address; 0: the routes say which */
  __u16 port;    /* source ports from here on, */
  __u16 ports;   /* so many */
};
OCICAT_SIZE(struct tunnel, 88);

/* Map outer_roads: array of each processor, by slot modulo its size. A tunnel as it was when the kernel's
 * routes were asked for the way to the other host, and what they said (bpf/lib/roads.h).
 */
struct outer_road {
  struct tunnel tunnel;
  __u32 asked; /* when, in ticks */
  __u32 mtu;
  __u32 interface;
  __u16 slot;       /* 0: nothing is known */
  __u16 hop_family; /* AF_* */
  __u8 hop[16];     /* IPv4 in its first word */
};
OCICAT_SIZE(struct outer_road, 120);

OCICAT_LAYOUT_END
