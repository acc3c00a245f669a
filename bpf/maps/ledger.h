/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Map ledger: an array beside map connections, place by place: how much of what a connection has carried has been
 * told, and what policy said of it. Of one that is pushed out the rest is told by the ring of events.
 *
 *   outcomes   written by programs (bpf/lib/departures.h), which also forget those of a connection that goes
 *   the rest   written by who reads the ring, and by nobody else (dataplane/ebpf/connection_ledger.h). What is
 *              booked stays until the ring has been read behind the one that took the place: so what is told at
 *              the end is what was left to tell, across agents too
 */
#pragma once

#include "maps/connections.h"

OCICAT_LAYOUT_BEGIN

/* Numbers by end, as in struct connection. */
struct booked {
  __u32 version;    /* of the connection it is about: of another that is there, nothing is booked */
  __u32 outcome[2]; /* that let it pass, of egress and ingress policy; 0: nobody was asked there */
  __u32 packets[2];
  __u32 ended; /* it is over, and that has been told */
  __u64 bytes[2];
};
OCICAT_SIZE(struct booked, 40);

/* In map events: of a connection that gives way, of which not all has been told. Known by its size. */
struct departed {
  __u64 time; /* CLOCK_MONOTONIC, ns */
  __u32 place;
  __u32 version;
  __u32 outcome[2];
  struct connection_key key;
  struct connection connection; /* as it has been in the end */
};
OCICAT_SIZE(struct departed, 104);

OCICAT_LAYOUT_END
