/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Maps programs, vocabularies, entries and cells: the decision tables (policy/tables.h) as arrays.
 * Written by dataplane/ebpf/, by memory mapping; read by bpf/lib/lookup.h.
 *
 *   programs[program]         → base table, vocabulary, row of tables
 *   vocabularies[vocabulary]  → row of projections
 *   entries[row + class]      → projection         of a vocabulary's row
 *   entries[row + projection] → table              of a program's row
 *   cells[table]              → how many cells follow; from each cell's key on, its answer holds. Of a table
 *                               named with TABLE_ONE_KEY: the one key that it speaks of, and its answer
 *
 * A table that has one answer for all keys has no cells: where it would be named, the answer stands. One that
 * leaves all keys but one to the base table, as most peers have, is a single cell: eight bytes that a packet
 * waits for, where a search took 32.
 *
 * Rows and tables are stretches of entries and cells. What is beyond the end of a row is 0: the empty
 * projection, the base table. Cells never change while anything leads to them.
 */
#pragma once

#include "maps/layout.h"

OCICAT_LAYOUT_BEGIN

enum {
  PROGRAMS_MAX = 16 * 1024,
  VOCABULARIES_MAX = 16 * 1024,
  ENTRIES_MAX = 1024 * 1024,
  CELLS_MAX = 1024 * 1024,
};

struct row {
  __u32 first; /* index of entries */
  __u32 size;
} OCICAT_WHOLE;
OCICAT_SIZE(struct row, 8);

struct program_version {
  __u32 base; /* name of a table, or answer; 0: the program is not there, which denies */
  __u32 vocabulary;
  struct row tables; /* by projection */
};
OCICAT_SIZE(struct program_version, 16);

struct program {
  struct program_version version[2]; /* by parity */
};
OCICAT_SIZE(struct program, 32);

struct vocabulary {
  struct row projections[2]; /* by class; by parity */
};
OCICAT_SIZE(struct vocabulary, 16);

struct entry {
  __u32 value[2]; /* by parity */
} OCICAT_WHOLE;
OCICAT_SIZE(struct entry, 8);

struct cell {
  __u32 first;  /* the first key it answers for: protocol << 16 | detail, or a source port. The first of a
                   table: 0 */
  __u32 answer; /* ANSWER_* | outcome, or name of a table of source ports; before a table: 0, and `first`
                   counts its cells */
} OCICAT_WHOLE;
OCICAT_SIZE(struct cell, 8);

#define ANSWER_BASE 0x00000000U /* nothing here: the base table answers */
#define ANSWER_ALLOW 0x10000000U
#define ANSWER_DENY 0x20000000U
#define ANSWER_LOG_ALLOW 0x30000000U
#define ANSWER_LOG_DENY 0x40000000U
#define ANSWER_SOURCE_PORTS 0x50000000U
#define ANSWER_NONE 0x60000000U /* of chains that may end without an answer */
#define ANSWER_LOG_NONE 0x70000000U
#define ANSWER_KIND 0xf0000000U
#define ANSWER_VALUE 0x0fffffffU

/* The name of a table: its index in cells, and how it stands there. */
#define TABLE_ONE_KEY 0x08000000U
#define TABLE_PLACE 0x07ffffffU

OCICAT_LAYOUT_END
