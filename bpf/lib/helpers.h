/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What every part of the datapath stands on. */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define READ_ONCE(x) (*(const volatile __typeof__(x)*)&(x))
#define WRITE_ONCE(x, value) (*(volatile __typeof__(x)*)&(x) = (value))

/* Copies a constant number of bytes by words. Packets lie at any address, and clang would copy them byte by byte; the
 * processors that this runs on read words there (of others the verifier says no). What stands on the stack has to be
 * aligned all the same. */
#define copy_words(to, from, size) \
  __builtin_memcpy(__builtin_assume_aligned(to, 4), __builtin_assume_aligned(from, 4), size)
#define WORDS __attribute__((aligned(4)))

#define barrier() asm volatile("" ::: "memory") /* for the compiler */

/* What a program at a tcx hook answers (enum tcx_action_base; the same numbers at clsact). */
enum action {
  PASS = -1, /* others at the hook have their say as well */
  DROP = 2,
};
