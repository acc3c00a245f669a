/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Time as connections count it: ticks of 2^20 ns, about a millisecond, in 32 bits, which come round after 52
 * days. */
#pragma once

#include "lib/helpers.h"
#include "maps/host.h"

#define SECONDS(n) ((__u32)((__u64)(n) * 1000000000 >> TICK_SHIFT))

static __always_inline __u32 clock_now(void) {
#ifdef OCICAT_AT_NETFILTER /* which has not the other, of the same clock */
  return (__u32)(bpf_ktime_get_ns() >> TICK_SHIFT);
#else
  return (__u32)(bpf_ktime_get_coarse_ns() >> TICK_SHIFT);
#endif
}
