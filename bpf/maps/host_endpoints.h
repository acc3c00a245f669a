/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Maps host_endpoints, host_interfaces and interface_endpoints: which chains decide at a host endpoint's hooks, and
 * which interface has which host endpoint. Written by dataplane/ebpf/; read by bpf/lib/host_endpoints.h.
 */
#pragma once

#include "maps/layout.h"

OCICAT_LAYOUT_BEGIN

enum {
  HOST_ENDPOINTS_MAX = 1024, /* 0 is none; there, `changed` is that of all */
  HOST_INTERFACES_MAX = 8192,
};

/* As policy/verdict.h numbers them. */
enum host_hook {
  HOOK_NORMAL_IN,
  HOOK_NORMAL_OUT,
  HOOK_FORWARD_IN,
  HOOK_FORWARD_OUT,
  HOOK_UNTRACKED_IN,
  HOOK_UNTRACKED_OUT,
  HOOK_PRE_DNAT_IN,
  HOST_HOOKS = 8,
};

/* Chains by family (0: IPv4) and hook; 0: nothing is asked there. A cache line. */
struct host_chains {
  __u32 chain[2][HOST_HOOKS];
};
OCICAT_SIZE(struct host_chains, 64);

/* Map host_endpoints: array by the number of the host endpoint. */
struct host_endpoint {
  __u32 changed;                /* low half of the last batch that may have changed its verdicts */
  __u32 given;                  /* of the last batch in which an interface got it */
  __u32 pad[14];                /* 0 */
  struct host_chains chains[2]; /* by parity */
};
OCICAT_SIZE(struct host_endpoint, 192);

/* Map host_interfaces: hash by name, as an interface keeps its policy whether it is there or not -> the number of the
 * name, which it has for as long as it has an entry. The empty name is that of all interfaces without one.
 */
struct interface_name {
  __u8 letters[16]; /* the rest is 0 */
};
OCICAT_SIZE(struct interface_name, 16);

/* Map interface_endpoints: array by the number of the name. Not in the hash, whose elements cannot be written in place
 * but under a lock; and programs that rules of nftables ask may read no map with one.
 */
struct interface_endpoint {
  __u32 endpoint[2]; /* by parity: number of the host endpoint, 0: none; and whether a workload has the
                        interface */
};
OCICAT_SIZE(struct interface_endpoint, 8);

#define INTERFACE_OF_WORKLOAD 0x80000000U

OCICAT_LAYOUT_END
