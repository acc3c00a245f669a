/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Counts what became of packets, and why. */
#pragma once

#include "lib/helpers.h"
#include "maps/counters.h"

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, COUNTERS_MAX);
  __type(key, __u32);
  __type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 what) {
  __u64* counter = bpf_map_lookup_elem(&counters, &what);
  if (counter) *counter += 1;
}

static __always_inline int drop(__u32 why) {
  count(why);
  return DROP;
}
