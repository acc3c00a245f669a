/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What policy says about a connection at the workloads here that it begins or ends at.
 *
 *   batch   all of a judgement is of one batch: where another came to show meanwhile, it is begun anew
 */
#pragma once

#include "lib/connections.h"
#include "lib/counters.h"
#include "lib/lookup.h"
#include "maps/endpoints.h"
#include "maps/sources.h"

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, ADDRESSES_MAX);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct place);
  __type(value, __u32);
} addresses SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, ENDPOINTS_MAX);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct endpoint);
} endpoints SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, SOURCES_MAX);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct source);
  __type(value, struct source_right);
} sources SEC(".maps");

static __always_inline struct endpoint* endpoint_at(__u32 slot) {
  return slot ? bpf_map_lookup_elem(&endpoints, &slot) : 0;
}

/* The slot of an address at an interface; 0: nobody has it there. */
static __always_inline __u32 slot_of(__u32 interface, const struct address* address) {
  struct place place = {.interface = interface, .address = *address};
  const __u32* slot = bpf_map_lookup_elem(&addresses, &place);
  if (!slot) return 0;
  __u32 value = READ_ONCE(*slot);
  const struct endpoint* endpoint = endpoint_at(value);
  return endpoint && endpoint->interface == interface && is_same(&endpoint->address, address) ? value : 0;
}

static __always_inline const struct source_right* source_right(__u32 interface,
                                                               const struct address* address) {
  struct source source = {.bits = 160, .interface = interface, .address = *address};
  if (is_mapped(address)) source.interface |= SOURCE_OF_IPV4;
  return bpf_map_lookup_elem(&sources, &source);
}

/* The slot for an address from which a workload at the interface may send, or might a moment ago, beside its
 * own. */
__noinline __u32 slot_of_source(__u32 interface, const struct address* address) {
  if (!address || !source_right(interface, address)) return 0;
  struct address any = {};
  if (is_mapped(address)) any.word[2] = bpf_htonl(0xffff);
  return slot_of(interface, &any);
}

/* Whether the endpoint stands for any address of a family. */
static __always_inline int is_any(const struct endpoint* endpoint) {
  const struct address* own = &endpoint->address;
  return !own->word[3] && !own->word[0] && !own->word[1] && (!own->word[2] || is_mapped(own));
}

/* Whether its packets may go past the stack. */
static __always_inline int is_open(const struct endpoint* endpoint) {
  return READ_ONCE(endpoint->flags) & ENDPOINT_OPEN;
}

/* Whether nothing that concerns the endpoint has changed since the batch. */
static __always_inline int is_as_judged(const struct endpoint* endpoint, __u32 judged) {
  return (__s32)(READ_ONCE(endpoint->changed) - judged) <= 0;
}

static __always_inline int is_fresh(__u32 slot, __u32 judged) {
  const struct endpoint* endpoint = endpoint_at(slot);
  return endpoint && is_as_judged(endpoint, judged);
}

static __always_inline int stands(const struct connection* connection) {
  __u32 first = slot_at(connection, 0), second = slot_at(connection, 1);
  return (!first || is_fresh(first, connection->judged)) && (!second || is_fresh(second, connection->judged));
}

/* The workload at this interface, where that end of the connection is its, and the connection stands; else 0. */
static __always_inline const struct endpoint* standing_at(const struct connection* connection, __u32 end,
                                                          __u32 interface) {
  const struct endpoint* own = endpoint_at(connection->endpoint[end & 1]);
  if (!own || own->interface != interface || !is_as_judged(own, connection->judged)) return 0;
  __u32 other = slot_at(connection, ~end);
  return !other || is_fresh(other, connection->judged) ? own : 0;
}

#define NO_SOURCE 0xffffffff

/* The program for what the workload at this slot sends from an address that is not its own; NO_SOURCE: it may
 * not. */
__noinline __u32 program_for_source(__u32 slot, const struct address* own, __u32 side) {
  const struct endpoint* endpoint = endpoint_at(slot);
  const struct source_right* right = endpoint && own ? source_right(endpoint->interface, own) : 0;
  if (!right || !READ_ONCE(right->allowed[side & 1])) return NO_SOURCE;
  return program_of(endpoint->chain[side & 1], own, side);
}

/* One judgement of one end, as the connection's first packet asked for it; 0, or why not. */
static __always_inline __u32 judge_end(const struct connection_key* key, struct connection* connection,
                                       __u32 end, __u32 side) {
  int begins = end == (__u32)beginner(connection);
  int by = beginner(connection), to = !by;
  const struct address* own = &key->address[end & 1];
  const struct endpoint* endpoint = endpoint_at(connection->endpoint[end & 1]);
  int any = endpoint && is_any(endpoint);
  if (!endpoint ||
      (!any && !is_same(&endpoint->address, own))) { /* has gone, and its slot may be another's */
    connection->endpoint[end & 1] = 0;
    return 0;
  }
  if (!begins && (connection->flags & CONNECTION_FROM_HOST)) return 0;
  struct endpoint_programs programs = endpoint->programs[side & 1];
  if (any) { /* nobody begins anything with whom is there */
    if (!begins) return DROP_NOT_OURS;
    programs.egress = program_for_source(connection->endpoint[end & 1], own, side);
    if (programs.egress == NO_SOURCE) return DROP_SPOOFED;
  }
  struct question question = {
      .program = begins ? programs.egress : programs.ingress,
      .key = (__u32)key->protocol << 16 | bpf_ntohs(key->port[to & 1]),
      .source_port = bpf_ntohs(key->port[by & 1]),
      .side = (side & 1) | !begins << 1,
      .peer = class_of(&key->address[~end & 1], side),
  };
  if (!allows(&question)) return DROP_POLICY;
  const struct host* settings = the_host();
  if (begins && (connection->flags & CONNECTION_TO_HOST) &&
      !(settings && settings->settings[side & 1] & HOST_ACCEPTS_WORKLOADS)) {
    return DROP_TO_HOST;
  }
  return 0;
}

#define BOTH_ENDS 3

/* Judges the ends named (bits), those that have no workload here excepted; 0, or why not. With both, the
 * batch is noted. */
__noinline __u32 judge(const struct connection_key* key, struct connection* connection, __u32 ends) {
  if (!key || !connection) return DROP_POLICY;
  struct host* now = the_host();
  if (!now) return DROP_POLICY;
  for (int i = 0; i < MAX_JUDGEMENTS; ++i) {
    __u64 batch = READ_ONCE(now->batch);
    __u32 why = 0;
    if (ends & 1 && slot_at(connection, 0)) why = judge_end(key, connection, 0, batch & 1);
    if (!why && ends & 2 && slot_at(connection, 1)) why = judge_end(key, connection, 1, batch & 1);
    if (READ_ONCE(now->batch) == batch) {
      if (ends == BOTH_ENDS) connection->judged = (__u32)batch;
      return why;
    }
    count(COUNT_RETRIED);
  }
  return DROP_CHANGING;
}
