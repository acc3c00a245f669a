/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The arithmetic of checksums: RFC 1071. Words are added as they are loaded; such a sum comes out right in
 * either byte order. */
#pragma once

#include "lib/helpers.h"

/* To 16 bits, carries around. */
static __always_inline __u16 folded(__u64 sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (__u16)sum;
}
