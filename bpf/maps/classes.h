/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Map classes: the class of a peer's address, where it has one of its own; else maps/nets.h says.
 * Written by dataplane/ebpf/; read by bpf/lib/lookup.h.
 *
 *   blocks   exact addresses stand in blocks of sixteen that follow one another, as they are given to
 *            workloads: few blocks serve many peers, and lie in the caches
 */
#pragma once

#include "maps/layout.h"

OCICAT_LAYOUT_BEGIN

enum {
  CLASSES_MAX = 256 * 1024, /* blocks */
  CLASS_BLOCK = 16,         /* addresses of one: they differ in the last four bits */
};

/* The address has no entry on this side of the pair. Never the id of a class. */
#define CLASS_UNKNOWN 0xffffffffU

/* Map classes: hash of struct address, the first one of a block. Written in place, under the lock, which no
 * reader takes. */
struct class_block {
  __u32 id[2][CLASS_BLOCK]; /* by parity, and by address; CLASS_UNKNOWN: the nets decide */
  struct bpf_spin_lock lock;
  __u32 pad; /* 0 */
};
OCICAT_SIZE(struct class_block, 136);

OCICAT_LAYOUT_END
