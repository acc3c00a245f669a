/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Time as connections count it (maps/timeouts.h). */
#pragma once

#include "lib/helpers.h"
#include "maps/timeouts.h"

static __always_inline __u32 clock_now(void) {
#ifdef OCICAT_AT_NETFILTER /* which has not the other, of the same clock */
  return (__u32)(bpf_ktime_get_ns() >> TICK_SHIFT);
#else
  return (__u32)(bpf_ktime_get_coarse_ns() >> TICK_SHIFT);
#endif
}
