/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the kernel would not forward is for the host itself, or no route leads there: its lookup tells programs
 * the same of both. Asked of what is refused alone. */
#pragma once

#include "lib/packet.h"
#include "maps/host_addresses.h"

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, HOST_ADDRESSES_MAX);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct address);
  __type(value, __u32);
} host_addresses SEC(".maps");

/* To one, and not to many or to nobody. */
static __always_inline int is_of_one(const struct address* address) {
  if (is_mapped(address)) return address->word[3] && bpf_ntohl(address->word[3]) < 0xe0000000;
  return address->word[0] != 0 && (bpf_ntohl(address->word[0]) >> 24) != 0xff;
}

/* Whether the host listens there, or may: what is for the link or for many, it does. */
__noinline int may_be_for_host(const struct packet* packet) {
  if (!packet) return 1;
  struct address destination = packet->ends.destination;
  return !is_of_one(&destination) || is_of_link(&destination) ||
         bpf_map_lookup_elem(&host_addresses, &destination) != 0;
}
