/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* SCTP's chunks in the words of TCP, so that connections of both are tracked alike: INIT is SYN, what only an
 * open association says is ACK, SHUTDOWN is FIN and ABORT is RST.
 *
 *   source   RFC 9260, sections 3, 6.10 and 8.5.1
 */
#pragma once

#include "lib/helpers.h"

/* So many are looked at: what opens and ends an association is at the front. */
#define SCTP_CHUNKS 4

enum tcp_flag {
  TCP_FIN = 1,
  TCP_SYN = 2,
  TCP_RST = 4,
  TCP_PSH = 8, /* of TCP nobody wants to know it. SCTP: opens, but is not the first to do so */
  TCP_ACK = 16,
  TCP_URG = 32,
};

enum sctp_type {
  SCTP_INIT = 1,
  SCTP_INIT_ACK = 2,
  SCTP_HEARTBEAT_ACK = 5,
  SCTP_ABORT = 6,
  SCTP_SHUTDOWN = 7,
  SCTP_SHUTDOWN_ACK = 8,
  SCTP_ERROR = 9,
  SCTP_COOKIE_ECHO = 10,
  SCTP_COOKIE_ACK = 11,
  SCTP_SHUTDOWN_COMPLETE = 14,
};

struct sctp_header {
  __be16 source;
  __be16 destination;
  __be32 tag;
  __be32 checksum;
};

struct sctp_chunk {
  __u8 type; /* enum sctp_type, or another */
  __u8 flags;
  __be16 length; /* without what fills it up to a multiple of 4 */
};

/* enum tcp_flag. */
static __always_inline __u8 sctp_flags(__u8 type) {
  switch (type) {
    case SCTP_INIT:
      return TCP_SYN;
    case SCTP_INIT_ACK:
      return TCP_SYN | TCP_PSH;
    case SCTP_COOKIE_ECHO:
    case SCTP_COOKIE_ACK:
      return TCP_ACK | TCP_PSH;
    case SCTP_SHUTDOWN:
    case SCTP_SHUTDOWN_ACK:
    case SCTP_SHUTDOWN_COMPLETE:
      return TCP_FIN | TCP_ACK;
    case SCTP_ABORT:
      return TCP_RST;
    case SCTP_ERROR: /* may be about a cookie */
      return 0;
    default:
      return TCP_ACK;
  }
}

/* Whether it can only belong to an association that is known. */
static __always_inline int sctp_follows(__u8 type) {
  return type == SCTP_INIT_ACK || (type >= SCTP_HEARTBEAT_ACK && type <= SCTP_COOKIE_ACK) ||
         type == SCTP_SHUTDOWN_COMPLETE;
}

/* Whether no other chunk may be in its packet. */
static __always_inline int sctp_is_alone(__u8 type) {
  return type == SCTP_INIT || type == SCTP_INIT_ACK || type == SCTP_SHUTDOWN_COMPLETE;
}
