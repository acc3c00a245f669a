/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Map timeouts: one value, for how long a connection is known that nobody speaks in.
 * Written by dataplane/ebpf/, by memory mapping; read by bpf/lib/connection.h, by dataplane/ebpf/ and by views.
 */
#pragma once

#include "maps/host.h"

OCICAT_LAYOUT_BEGIN

enum connection_timeout {
  TIMEOUT_TCP_OPENING,
  TIMEOUT_TCP,
  TIMEOUT_TCP_ENDED, /* both ends have said so */
  TIMEOUT_TCP_RESET,
  TIMEOUT_UDP,
  TIMEOUT_ICMP,
  TIMEOUT_OTHERS,
  TIMEOUTS = 8,
};

/* In ticks, by enum connection_timeout; SCTP has TCP's. */
struct timeouts {
  __u32 of[TIMEOUTS];
};
OCICAT_SIZE(struct timeouts, 32);

#define SECONDS(n) ((__u32)((__u64)(n) * 1000000000 >> TICK_SHIFT))
#define LONGEST_TIMEOUT SECONDS(7 * 24 * 3600)

enum { OF_ICMP = 1, OF_TCP = 6, OF_UDP = 17, OF_ICMPV6 = 58, OF_SCTP = 132 };

static inline __attribute__((always_inline)) int is_reset(const struct connection* connection) {
  return (connection->tcp[0] | connection->tcp[1]) & TCP_SEEN_RST;
}

static inline __attribute__((always_inline)) int is_closed(const struct connection* connection) {
  return is_reset(connection) || (connection->tcp[0] & connection->tcp[1] & TCP_SEEN_FIN);
}

static inline __attribute__((always_inline)) __u32 timeout_of(const struct connection* connection,
                                                              __u8 protocol,
                                                              const struct timeouts* timeouts) {
  switch (protocol) {
    case OF_TCP:
    case OF_SCTP:
      if (is_reset(connection)) return timeouts->of[TIMEOUT_TCP_RESET];
      if (is_closed(connection)) return timeouts->of[TIMEOUT_TCP_ENDED];
      return connection->tcp[0] & connection->tcp[1] & TCP_SEEN_ACK ? timeouts->of[TIMEOUT_TCP]
                                                                    : timeouts->of[TIMEOUT_TCP_OPENING];
    case OF_UDP:
      return timeouts->of[TIMEOUT_UDP];
    case OF_ICMP:
    case OF_ICMPV6:
      return timeouts->of[TIMEOUT_ICMP];
    default:
      return timeouts->of[TIMEOUT_OTHERS];
  }
}

static inline __attribute__((always_inline)) int is_over(const struct connection* connection, __u8 protocol,
                                                         __u32 now, const struct timeouts* timeouts) {
  /* Another CPU may have been here a moment later. */
  return now - connection->seen + SECONDS(1) > timeout_of(connection, protocol, timeouts) + SECONDS(1);
}

/* When one that is to be over was seen. */
static inline __attribute__((always_inline)) __u32 long_before_now(__u32 now) {
  return now - LONGEST_TIMEOUT - SECONDS(2);
}

OCICAT_LAYOUT_END
