/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Maps addresses and endpoints: which addresses are served at which interface, and by which programs.
 * Written by dataplane/ebpf/; read by bpf/lib/judge.h.
 */
#pragma once

#include "maps/layout.h"

OCICAT_LAYOUT_BEGIN

enum {
  ADDRESSES_MAX = 4096,
  ENDPOINTS_MAX = 4096, /* slot 0 is nobody's */
};

/* Map addresses: hash of place to slot, an index of endpoints. A place never changes its slot. */
struct place {
  __u32 interface; /* its index */
  struct address address;
  __u32 pad; /* 0 */
};
OCICAT_SIZE(struct place, 24);

/* Program ids, 0: none, which denies. */
struct endpoint_programs {
  __u32 ingress;
  __u32 egress;
} OCICAT_WHOLE;
OCICAT_SIZE(struct endpoint_programs, 8);

enum endpoint_flags {
  /* Its interface is one end of a pair whose other end is in another network namespace, nobody else does
   * anything with what comes and goes by it, no host endpoint has policy for what is forwarded, and the
   * host's settings want it: packets may be redirected. */
  ENDPOINT_OPEN = 1,
};

/* Map endpoints: array by slot; a cache line each. One own address of one workload; or, of one that may send
 * from elsewhere (maps/sources.h), any address of a family: :: or ::ffff:0.0.0.0.
 */
struct endpoint {
  __u32 interface; /* its index; 0: the slot is free */
  __u32 changed;   /* low half of the last batch that may have changed its verdicts */
  struct address address;
  struct endpoint_programs programs[2]; /* by parity */
  __u32 flags;                          /* enum endpoint_flags */
  __u32 chain[2]; /* by parity: of any address, what decides what it sends; 0: it may not */
  __u32 pad[3];   /* 0 */
};
OCICAT_SIZE(struct endpoint, 64);

OCICAT_LAYOUT_END
