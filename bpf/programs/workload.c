/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The programs at the host's side of a workload's interface. */
#include "lib/workload.h"
#include "maps/dictionary.h"

/* For the agent alone. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, DICTIONARY_MAX);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct meaning);
  __type(value, __u32);
} dictionary SEC(".maps");

SEC("tc")
int from_workload(struct __sk_buff* skb) {
  return at_workload(skb, 1);
}

SEC("tc")
int to_workload(struct __sk_buff* skb) {
  return at_workload(skb, 0);
}

char _license[] SEC("license") = "GPL";
