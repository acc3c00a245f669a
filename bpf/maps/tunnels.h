/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Maps vteps, tunnels and outer_roads: the ends of VXLAN tunnels at other hosts, and the ways there.
 * Written by dataplane/ebpf/, the last by programs; read by bpf/lib/tunnel.h.
 *
 *   here   tunnels between addresses of IPv4: what stands in front of the tunnelled packet is the same for
 *          all of an end's, but for lengths, an identifier, sums and source ports
 */
#pragma once

#include "maps/layout.h"

OCICAT_LAYOUT_BEGIN

enum {
  TUNNELS_MAX = 8192,     /* slot 0 is nobody's */
  OUTER_ROADS_MAX = 1024, /* a power of two; of each processor */
  TUNNEL_HEADERS = 50,    /* IPv4, UDP, VXLAN, Ethernet */
};

/* Map vteps: hash of a VTEP's address (struct address) to its slot in tunnels. */

/* Map tunnels: array by slot. Who has read all of it and still sees the same even version has read it whole.
 */
struct tunnel {
  __u64 header[7]; /* TUNNEL_HEADERS bytes, as in the packet. Zero: type of service, lengths, identifier and
                      source port. IPv4's sum: that of its other words, folded, not inverted. Then zeroes */
  __u32 version;   /* another whenever the rest changes; odd: somebody is at it */
  __u32 device;    /* index of the VXLAN interface here; 0: the slot is free */
  __u32 parent;    /* index of the interface that has the host's address; 0: the routes say which */
  __u16 port;      /* source ports from here on, */
  __u16 ports;     /* so many */
};
OCICAT_SIZE(struct tunnel, 72);

/* Map outer_roads: array of each processor, by slot modulo its size. What the kernel's routes have said of the
 * way to the other host (bpf/lib/roads.h).
 */
struct outer_road {
  __u32 slot;
  __u32 version; /* of that tunnel */
  __u32 asked;   /* when, in ticks */
  __u32 mtu;
  __u32 interface;
  __u32 hop_family; /* AF_* */
  __u8 hop[16];     /* IPv4 in its first word */
};
OCICAT_SIZE(struct outer_road, 40);

OCICAT_LAYOUT_END
