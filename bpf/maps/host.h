/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Map host: one value, what concerns the whole host.
 * Written by dataplane/ebpf/, by memory mapping; read by bpf/lib/judge.h.
 */
#pragma once

#include "maps/connections.h"

OCICAT_LAYOUT_BEGIN

enum host_setting {
  HOST_ACCEPTS_WORKLOADS = 1,  /* defaultEndpointToHostAction is not Drop */
  HOST_DROPS_INVALID = 2,      /* not disableConntrackInvalidCheck */
  HOST_MARKS_TUNNELS = 4,      /* what tunnels are taken and sent carries a mark, the bit with this number: */
  HOST_REJECTS = 8,            /* what policy refuses at workloads is answered; answers carry the mark */
  HOST_KEEPS_CONNECTIONS = 16, /* no change of policy reaches open connections: endpoints do not say it */
  HOST_CHECKS_WAY_BACK = 32,   /* at the host's own interfaces: nothing comes from where no route leads, */
  HOST_CHECKS_STRICTLY = 64,   /* or none by the same interface */
  /* nftables is in force as well, and refuses what is to be refused: here nothing is, while the connections
   * that it knows are taken over. */
  HOST_TAKES_OVER = 128,
  HOST_TRANSLATES = 1 << 13, /* what leaves some pools has its source translated, by the kernel */
  HOST_FLOATING = 1 << 14,   /* some destinations are floating addresses (maps/floating.h) */
  HOST_MARK_SHIFT = 8,
  HOST_MARK_BITS = 31,
};

/* Ticks are of 2^20 ns, about a millisecond, of CLOCK_MONOTONIC. */
enum { TICK_SHIFT = 20 };

struct host {
  __u64 batch;       /* what is in force; a single write shows a batch */
  __u32 settings[2]; /* enum host_setting, by parity */
  __u32 rerouted;    /* when routes last changed, in ticks */
  __u32 pad;
  struct secret secret;
  __u8 build[16]; /* digest of the programs that are attached; nothing in force yet: zero */
};
OCICAT_SIZE(struct host, 120);

OCICAT_LAYOUT_END
