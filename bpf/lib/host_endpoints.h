/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Which host endpoint an interface has, and what its chains say. */
#pragma once

#include "lib/batch.h"
#include "lib/frame.h"
#include "lib/lookup.h"
#include "maps/host_endpoints.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, HOST_ENDPOINTS_MAX);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct host_endpoint);
} host_endpoints SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HOST_INTERFACES_MAX);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct interface_name);
  __type(value, __u32);
} host_interfaces SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, HOST_INTERFACES_MAX);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct interface_endpoint);
} interface_endpoints SEC(".maps");

static __always_inline struct host_endpoint* host_endpoint_at(__u32 id) {
  return bpf_map_lookup_elem(&host_endpoints, &id);
}

/* The number of the interface's host endpoint, and whether a workload has it. Where no interface is known, it
 * is none of those that have a name here. */
static __always_inline __u32 host_interface_of(struct net_device* device, __u32 side) {
  struct interface_name name = {};
  if (device) bpf_probe_read_kernel_str(name.letters, sizeof name.letters, &device->name);
  const __u32* found = bpf_map_lookup_elem(&host_interfaces, &name);
  if (!found) {
    __builtin_memset(&name, 0, sizeof name);
    found = bpf_map_lookup_elem(&host_interfaces, &name);
  }
  __u32 number = found ? READ_ONCE(*found) : HOST_INTERFACES_MAX;
  const struct interface_endpoint* has = bpf_map_lookup_elem(&interface_endpoints, &number);
  return has ? READ_ONCE(has->endpoint[side & 1]) : 0;
}

static __always_inline __u32 chain_at(__u32 id, __u32 family, __u32 hook, __u32 side) {
  const struct host_endpoint* endpoint = id ? host_endpoint_at(id) : 0;
  return endpoint ? endpoint->chains[side & 1].chain[family & 1][hook % HOST_HOOKS] : 0;
}

/* What a chain answers for an own address, ANSWER_* | outcome. `question` has all but the program. */
static __always_inline __u32 chain_answer(__u32 chain, const struct address* own, struct question* question) {
  question->program = program_of(chain, own, question->side);
  return answer_to(question);
}

static __always_inline int is_deny(__u32 answer) {
  return !is_allow(answer) && !is_none(answer);
}
