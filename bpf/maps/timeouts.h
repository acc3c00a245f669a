/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* For how long a connection is known that nobody speaks in. Read by bpf/lib/connection.h and by views.
 *
 *   source   those of Calico's eBPF datapath; SCTP has TCP's
 */
#pragma once

#include "maps/host.h"

OCICAT_LAYOUT_BEGIN

/* In ticks. */
#define SECONDS(n) ((__u32)((__u64)(n) * 1000000000 >> TICK_SHIFT))

enum { OF_ICMP = 1, OF_TCP = 6, OF_UDP = 17, OF_ICMPV6 = 58, OF_SCTP = 132 };

static inline __attribute__((always_inline)) int is_closed(const struct connection* connection) {
  return ((connection->tcp[0] | connection->tcp[1]) & TCP_SEEN_RST) ||
         (connection->tcp[0] & connection->tcp[1] & TCP_SEEN_FIN);
}

static inline __attribute__((always_inline)) __u32 timeout_of(const struct connection* connection,
                                                              __u8 protocol) {
  switch (protocol) {
    case OF_TCP:
    case OF_SCTP:
      if (is_closed(connection)) return SECONDS(TIMEOUT_TCP_CLOSED);
      return connection->tcp[0] & connection->tcp[1] & TCP_SEEN_ACK ? SECONDS(TIMEOUT_TCP)
                                                                    : SECONDS(TIMEOUT_TCP_OPENING);
    case OF_UDP:
      return SECONDS(TIMEOUT_UDP);
    case OF_ICMP:
    case OF_ICMPV6:
      return SECONDS(TIMEOUT_ICMP);
    default:
      return SECONDS(TIMEOUT_OTHERS);
  }
}

static inline __attribute__((always_inline)) int is_over(const struct connection* connection, __u8 protocol,
                                                         __u32 now) {
  /* Another CPU may have been here a moment later. */
  return now - connection->seen + SECONDS(1) > timeout_of(connection, protocol) + SECONDS(1);
}

OCICAT_LAYOUT_END
