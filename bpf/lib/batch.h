/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What concerns the whole host: the batch that is in force, and settings. */
#pragma once

#include "lib/helpers.h"
#include "maps/host.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct host);
} host SEC(".maps");

#define MAX_JUDGEMENTS 4

static __always_inline struct host* the_host(void) {
  __u32 first = 0;
  return bpf_map_lookup_elem(&host, &first);
}
