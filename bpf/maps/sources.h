/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Map sources: LPM trie. From where a workload may send beside its own addresses.
 * Written by dataplane/ebpf/; read by bpf/lib/judge.h.
 *
 * What it sends from there is judged by the chain of the endpoint that has the interface and "any address" of
 * the family, as a place (maps/endpoints.h).
 */
#pragma once

#include "maps/layout.h"

OCICAT_LAYOUT_BEGIN

enum { SOURCES_MAX = 16 * 1024 };

struct source {
  __u32 bits; /* those of the interface's number, and of the prefix; of IPv4, 96 more */
  __u32
      interface; /* its index; with SOURCE_OF_IPV4, as no net of IPv6, however short, holds an IPv4 address */
  struct address address;
};
OCICAT_SIZE(struct source, 24);

#define SOURCE_OF_IPV4 0x80000000U

struct source_right {
  __u32 allowed[2]; /* by parity */
} OCICAT_WHOLE;
OCICAT_SIZE(struct source_right, 8);

OCICAT_LAYOUT_END
