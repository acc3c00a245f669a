/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What all map layouts share. A layout is stated once, in bpf/maps/, and is valid C and C++.
 *
 *   versions   Almost every value is a pair, one for each parity of the host's batch number. A packet reads
 *              the number once and takes the side of its parity; a change writes the other side, shows it by
 *              writing the number, and then makes both sides equal again. docs/design/ebpf.md#batches
 *   order      what comes from a packet is in network order and says so (__be16, __be32); the rest in host
 *              order
 */
#pragma once

#ifdef __cplusplus
#include <cstddef>
#include <type_traits>
#endif
#include <linux/bpf.h>
#include <linux/types.h>

#ifdef __cplusplus
#define OCICAT_LAYOUT_BEGIN namespace ocicat::bpf {
#define OCICAT_LAYOUT_END }
/* The second proves that there is no hidden padding. */
#define OCICAT_SIZE(type, size)                 \
  static_assert(sizeof(type) == (size), #type); \
  static_assert(std::has_unique_object_representations_v<type>, #type)
#else
#define OCICAT_LAYOUT_BEGIN
#define OCICAT_LAYOUT_END
#define OCICAT_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type)
#endif

/* For layouts that are written and read whole, in one access. */
#define OCICAT_WHOLE __attribute__((aligned(8)))

OCICAT_LAYOUT_BEGIN

/* Bump with any layout, and with what says where things lie in it: maps of another version are not adopted. */
enum { LAYOUT_VERSION = 5 };

/* Of either family; IPv4 as ::ffff:a.b.c.d. */
struct address {
  __be32 word[4];
};
OCICAT_SIZE(struct address, 16);

OCICAT_LAYOUT_END
