/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What every part of the datapath stands on. */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define READ_ONCE(x) (*(const volatile __typeof__(x)*)&(x))
#define WRITE_ONCE(x, value) (*(volatile __typeof__(x)*)&(x) = (value))

#define barrier() asm volatile("" ::: "memory") /* for the compiler */

/* What a program at a tcx hook answers (enum tcx_action_base; the same numbers at clsact). */
enum action {
  PASS = -1, /* others at the hook have their say as well */
  DROP = 2,
};
