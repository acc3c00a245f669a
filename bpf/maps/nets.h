/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Map nets: one value, the classes of addresses. The longest prefix that holds one says which it has; a single
 * address is a prefix, too.
 * Written by dataplane/ebpf/net_image.h, by memory mapping; read by bpf/lib/lookup.h.
 *
 *   tree      each node tells apart six bits. An address of IPv4 meets three at the most; where all prefixes
 *             agree about bits, the nodes for those are left out
 *   families  have roots of their own: no net of IPv6, however short, holds an address of IPv4
 *   changes   what a packet may be looking at is never written: nodes that are to say something else are
 *             written to places that nothing leads to, and show by their root, which is a pair by parity
 *   zeros     are a tree that says nothing: classes are stored as their number plus one
 *   source    after Asai and Ohara, "Poptrie: a compressed trie with population count", SIGCOMM 2015
 */
#pragma once

#include "maps/layout.h"

OCICAT_LAYOUT_BEGIN

enum {
  NET_BITS = 6,          /* that a node tells apart */
  NET_ROOT_BITS_V4 = 14, /* roots stand in an array, by the first bits of the address */
  NET_ROOT_BITS_V6 = 8,
  NET_ROOTS_V4 = 1 << NET_ROOT_BITS_V4,
  NET_ROOTS = NET_ROOTS_V4 + (1 << NET_ROOT_BITS_V6),
  NET_NODES_MAX = 256 * 1024, /* both are powers of two; the first of each is never used */
  NET_CLASSES_MAX = 1024 * 1024,
  NET_CLASSES_HERE = 4,
  NET_PLACE_SHIFT = 8,
  NET_DEPTH = (128 - NET_ROOT_BITS_V6) / NET_BITS,
};

#define NET_BITS_MASK 0x7fU
#define NET_SKIPS 0x80U /* some of those bits have not been looked at by the node above */

/* An address in halves, host order; IPv4 as IPv4-mapped. */
struct net_bits {
  __u64 high;
  __u64 low;
};

/* A cache line. In `below` and `which`, the lowest bit is that of addresses whose next six bits are zeros. */
struct net_node {
  struct net_bits first; /* of the addresses it is for: the bits that they share, and zeros */
  __u64 below;           /* of which longer prefixes say more: there is a node for those */
  __u64 which[2];        /* with two bits, which of `here` counts; where there are more classes than that, in
                            the first: from where on another counts than for those before */
  __u32 place;   /* of the nodes for `below`, which stand side by side: index of the first << NET_PLACE_SHIFT;
                    NET_SKIPS; how many bits the addresses share */
  __u32 classes; /* index of the first of the classes that begin; 0: they are all in `here` */
  __u32 here[NET_CLASSES_HERE]; /* plus one. The first counts where this node says none itself; 0: that of
                                   those above does */
};
OCICAT_SIZE(struct net_node, 64);

struct nets {
  struct net_node roots[NET_ROOTS][2]; /* by parity; of IPv4 first */
  struct net_node nodes[NET_NODES_MAX];
  __u32 classes[NET_CLASSES_MAX]; /* plus one; 0: none of that node's */
  __u32 all[2][2];                /* of all of IPv6, and of IPv4; by parity */
};
OCICAT_SIZE(struct nets, NET_ROOTS * 128 + NET_NODES_MAX * 64 + NET_CLASSES_MAX * 4 + 16);

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NET_HOST_ORDER(x) __builtin_bswap32(x)
#else
#define NET_HOST_ORDER(x) (x)
#endif

static inline __attribute__((always_inline)) struct net_bits net_bits_of(const struct address* address) {
  struct net_bits bits;
  bits.high = (__u64)NET_HOST_ORDER(address->word[0]) << 32 | NET_HOST_ORDER(address->word[1]);
  bits.low = (__u64)NET_HOST_ORDER(address->word[2]) << 32 | NET_HOST_ORDER(address->word[3]);
  return bits;
}

static inline __attribute__((always_inline)) int net_is_v4(const struct net_bits* address) {
  return !address->high && address->low >> 32 == 0xffff;
}

/* The six bits behind the first so many; zeros behind the last. */
static inline __attribute__((always_inline)) __u32 net_bits_behind(const struct net_bits* address,
                                                                   __u32 bits) {
  if (bits >= 64) return (__u32)(address->low << (bits & 63) >> (64 - NET_BITS));
  return (__u32)((address->high << bits | address->low >> 1 >> (63 - bits)) >> (64 - NET_BITS));
}

/* Whether they share the first so many bits, of which there are some. */
static inline __attribute__((always_inline)) int net_agrees(const struct net_bits* a,
                                                            const struct net_bits* b, __u32 bits) {
  if (bits <= 64) return !((a->high ^ b->high) >> ((64 - bits) & 63));
  return a->high == b->high && !((a->low ^ b->low) >> ((128 - bits) & 63));
}

/* The class of the longest net around an address; 0 where there is none. */
static inline __attribute__((always_inline)) __u32 net_class_of(const struct nets* nets,
                                                                const struct address* address, __u32 side) {
  struct net_bits bits = net_bits_of(address);
  int v4 = net_is_v4(&bits);
  const struct net_node* node = v4 ? nets->roots[(__u32)bits.low >> (32 - NET_ROOT_BITS_V4)]
                                   : nets->roots[NET_ROOTS_V4 + (bits.high >> (64 - NET_ROOT_BITS_V6))];
  __u32 said = 0;
  node += side & 1;
  for (int i = 0; i <= NET_DEPTH; ++i) {
    __u32 place = node->place, shared = place & NET_BITS_MASK;
    if (node->here[0]) said = node->here[0];
    if (place & NET_SKIPS && !net_agrees(&bits, &node->first, shared)) break;
    __u32 behind = net_bits_behind(&bits, shared);
    if (node->below >> behind & 1) {
      __u32 before = (__u32)__builtin_popcountll(node->below & ((1ULL << behind) - 1));
      node = &nets->nodes[((place >> NET_PLACE_SHIFT) + before) % NET_NODES_MAX];
      continue;
    }
    __u32 here;
    if (node->classes) {
      __u32 at = (__u32)__builtin_popcountll(node->which[0] & (~0ULL >> (63 - behind))) - 1;
      here = nets->classes[(node->classes + at) % NET_CLASSES_MAX];
    } else {
      __u32 at = (__u32)((node->which[0] >> behind & 1) | (node->which[1] >> behind & 1) << 1);
      asm("" : "+r"(at)); /* older verifiers do not see how large it can be */
      here = node->here[at % NET_CLASSES_HERE];
    }
    if (here) said = here;
    break;
  }
  return said ? said - 1 : nets->all[v4][side & 1];
}

OCICAT_LAYOUT_END
