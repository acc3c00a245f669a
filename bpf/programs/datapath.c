/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* All programs, which share their maps: one object. */
#include "maps/dictionary.h"
#include "programs/host_interface.c"
#include "programs/workload.c"

/* For the agent alone. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, DICTIONARY_MAX);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct meaning);
  __type(value, __u32);
} dictionary SEC(".maps");

char _license[] SEC("license") = "GPL";
