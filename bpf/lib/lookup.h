/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The decision tables looked up (policy/tables.h says how, policy/simulator.cc does the same).
 *
 *   cost     the class: a node for each six bits that tell addresses apart, and its place there; then four
 *            array reads, and one more or a binary search
 *   errors   whatever is missing denies
 */
#pragma once

#include "lib/counters.h"
#include "maps/chains.h"
#include "maps/nets.h"
#include "maps/tables.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct nets);
} nets SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, PROGRAMS_MAX);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct program);
} programs SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, VOCABULARIES_MAX);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct vocabulary);
} vocabularies SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, ENTRIES_MAX);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct entry);
} entries SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, CELLS_MAX);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct cell);
} cells SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, CHAINS_MAX);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct chain);
} chains SEC(".maps");

#define MAX_SEARCH_STEPS 21 /* CELLS_MAX has so many bits */

struct question {
  __u32 program;
  __u32 key; /* table_key() */
  __u32 source_port;
  __u32 side; /* parity of the batch; and, shifted by one, 1 for ingress */
  __u32 peer; /* its class */
};

/* The class of an address: that of the longest net around it, which may be the address alone. */
__noinline __u32 class_of(const struct address* address, __u32 side) {
  __u32 first = 0;
  const struct nets* tree = address ? bpf_map_lookup_elem(&nets, &first) : 0;
  return tree ? net_class_of(tree, address, side) : 0;
}

static __always_inline __u32 entry_of(const struct row* row, __u32 index, __u32 side) {
  if (index >= row->size) return 0;
  __u32 at = row->first + index;
  const struct entry* entry = bpf_map_lookup_elem(&entries, &at);
  return entry ? READ_ONCE(entry->value[side & 1]) : 0;
}

/* The answer of the table of that name for a key. */
__noinline __u32 search(__u32 table, __u32 key) {
  __u32 at = table & TABLE_PLACE;
  const struct cell* cell = bpf_map_lookup_elem(&cells, &at);
  if (!cell) return ANSWER_DENY;
  if (table & TABLE_ONE_KEY) return cell->first == key ? cell->answer : ANSWER_BASE;
  __u32 low = at + 1, left = cell->first; /* the last of so many from low on that begins at or before key */
  for (int i = 0; i < MAX_SEARCH_STEPS; ++i) {
    if (left <= 1) break;
    __u32 half = left / 2, middle = low + half;
    cell = bpf_map_lookup_elem(&cells, &middle);
    if (!cell) return ANSWER_DENY;
    /* No branch, which could not be foretold: all ones where it begins at or before key. */
    __u32 mask = (__u32)(((__u64)key - cell->first) >> 63) - 1;
    asm("" : "+r"(mask));
    low += half & mask;
    left -= half;
  }
  cell = bpf_map_lookup_elem(&cells, &low);
  return cell ? cell->answer : ANSWER_DENY;
}

/* The same, through a second table where there is one. */
static __always_inline __u32 search_both(__u32 table, const struct question* question) {
  if (table & ANSWER_KIND) return table; /* for whatever key */
  __u32 answer = search(table, question->key);
  if ((answer & ANSWER_KIND) != ANSWER_SOURCE_PORTS) return answer;
  return search(answer & ANSWER_VALUE, question->source_port);
}

/* The program of a chain for an own address; 0: none, which denies. */
__noinline __u32 program_of(__u32 id, const struct address* own, __u32 side) {
  if (!own) return 0;
  const struct chain* found = id ? bpf_map_lookup_elem(&chains, &id) : 0;
  if (!found) return 0;
  struct chain_version chain = found->version[side & 1];
  if (!chain.base || !chain.programs.size) return chain.base;
  const struct vocabulary* vocabulary = bpf_map_lookup_elem(&vocabularies, &chain.vocabulary);
  if (!vocabulary) return 0;
  struct row projections = vocabulary->projections[side & 1];
  __u32 program = entry_of(&chain.programs, entry_of(&projections, class_of(own, side), side), side);
  return program ? program : chain.base;
}

/* What the program says: the answer of the cell, ANSWER_* | outcome. Notes the outcome for whoever tells of
 * it; at hooks where tasks overtake each other nobody does. */
__noinline __u32 answer_to(const struct question* question) {
  if (!question) return ANSWER_DENY;
  __u32 side = question->side & 1, id = question->program;
  const struct program* found = id ? bpf_map_lookup_elem(&programs, &id) : 0;
  if (!found) return ANSWER_DENY;
  struct program_version program = found->version[side];
  if (!program.base) return ANSWER_DENY;
  const struct vocabulary* vocabulary = bpf_map_lookup_elem(&vocabularies, &program.vocabulary);
  if (!vocabulary) return ANSWER_DENY;
  struct row projections = vocabulary->projections[side];

  __u32 projection = entry_of(&projections, question->peer, side);
  __u32 table = projection ? entry_of(&program.tables, projection, side) : 0;
  __u32 answer = table ? search_both(table, question) : ANSWER_BASE;
  if (answer == ANSWER_BASE) answer = search_both(program.base, question);
#if !defined OCICAT_AT_NETFILTER && !defined OCICAT_AT_DRIVER && !defined OCICAT_BEFORE_TRACKING
  note_outcome(question->side >> 1, answer);
#endif
  return answer;
}

static __always_inline int is_allow(__u32 answer) {
  return (answer & ANSWER_KIND) == ANSWER_ALLOW || (answer & ANSWER_KIND) == ANSWER_LOG_ALLOW;
}

static __always_inline int is_none(__u32 answer) {
  return (answer & ANSWER_KIND) == ANSWER_NONE || (answer & ANSWER_KIND) == ANSWER_LOG_NONE;
}

/* Whether the program lets it through. */
static __always_inline int allows(const struct question* question) {
  return is_allow(answer_to(question));
}
