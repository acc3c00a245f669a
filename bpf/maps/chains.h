/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Map chains: array by chain. What decides where the own side is open: at host endpoints, and for what
 * workloads send from addresses that are not their own. The class of the own address picks the program
 * (policy/tables.h). Written by dataplane/ebpf/, by memory mapping; read by bpf/lib/lookup.h.
 */
#pragma once

#include "maps/tables.h"

OCICAT_LAYOUT_BEGIN

enum { CHAINS_MAX = 4096 };

struct chain_version {
  __u32 base;       /* the program for own addresses in none of the vocabulary's sets; 0: no such chain, which
                       denies */
  __u32 vocabulary; /* of the own side */
  struct row programs; /* by projection; what is absent is the base program */
};
OCICAT_SIZE(struct chain_version, 16);

struct chain {
  struct chain_version version[2]; /* by parity */
};
OCICAT_SIZE(struct chain, 32);

OCICAT_LAYOUT_END
