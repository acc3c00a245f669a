/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the packet generator is told. Valid in C and C++. */
#pragma once

#include <linux/types.h>

enum {
  LOAD_FRAME = 64,
  LOAD_OTHERS = 72, /* what somebody else sends, to be told from that */
  LOAD_FRAME_MAX = 1514,
  LOAD_ASKED = 5000, /* the port that is asked, of the first 32,768 flows */
  LOAD_PORTS_MAX = 4096,
  LOAD_ROUNDS_MAX = 15,
};

struct load_plan {
  __u8 frame[LOAD_FRAME]; /* Ethernet, IP, UDP; the sum of IPv4's header, and of UDP over IPv6, without what
                             varies: an address (of IPv6, its last four bytes), and ports */
  __u32 spread;           /* host order: the first of the addresses at the end that varies */
  __u32 by_destination;   /* 1: that is the destination; 0: the source */
  __u32 flow_mask;        /* flows, a power of two, less one */
  __u32 address_mask;     /* how many addresses they have, likewise */
  __u32 address_bits;     /* of that mask */
  __u32 stride;           /* from one address to the next */
  __u32 ipv6;             /* 1: of IPv6; 0: of IPv4 */
  __u32 leaves;           /* 1: frames leave by the interface, for its other end; 0: they come in by it */
  __u32 random;           /* 1: flows at random; 0: one after the other */
  __u32 replies;          /* 1: as from who is asked; 2: to the ports that are listed, from LOAD_ASKED */
  __u32 arriving;         /* how long the frames are where they arrive */
  __u32 next;             /* the flow, or the state of the generator of random numbers, which is never 0 */
};

/* The other end of a tunnel, for program to_tunnel. */
struct load_tunnel {
  __u32 interface; /* a flow-based one */
  __u32 vni;
  __u32 ipv6; /* 1: between hosts of IPv6; 0: of IPv4 */
  __u32 remote
      [4]; /* the other host: network order, IPv4 in the first word in host order, as the kernel wants both */
  __u8 macs[12]; /* of the inner frame: the other end's, this end's */
};

/* When the packets of a run begin and arrive, all on one processor: some that bring into the caches what they need,
 * and then so many a round. Times are bpf_ktime_get_ns(). */
struct load_rounds {
  __u32 round;      /* packets a round; 0: nobody wants to know */
  __u32 sent;       /* of this run, */
  __u32 next_begin; /* and of these, the first of the next round; */
  __u32 begun;      /* rounds, one more than have been sent whole */
  __u32 arrived;    /* likewise */
  __u32 next_end;   /* the last of the round, counted from one */
  __u32 ended;
  __u32 pad;
  __u64 begin[LOAD_ROUNDS_MAX + 1];
  __u64 end[LOAD_ROUNDS_MAX];
};

/* What sinks have seen, all on one processor: of LOAD_FRAME and LOAD_OTHERS bytes. */
struct load_arrivals {
  __u64 count;
  __u64 others;
};
