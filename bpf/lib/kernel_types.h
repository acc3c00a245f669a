/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What programs read of the kernel's own memory: only these members, found
 * by BTF wherever the running kernel has them.
 */
#pragma once

#include <bpf/bpf_core_read.h>

#include "lib/helpers.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct netns_xfrm {
  unsigned int policy_count[3]; /* by direction: in, out, forwarded */
  __u8 policy_default[3];       /* 1: what no policy names is refused */
};

struct net {
  struct netns_xfrm xfrm;
};

typedef struct {
  struct net* net;
} possible_net_t;

struct net_device {
  char name[16];
  int ifindex;
  unsigned int mtu;
  unsigned long priv_flags;
  possible_net_t nd_net;
};

struct dst_entry {
  struct net_device* dev;
};

struct sk_buff {
  struct net_device* dev;
  unsigned int len;
  __u32 mark;
  unsigned long _nfct;       /* connection tracking: pointer | state */
  unsigned long _skb_refdst; /* route: pointer | whether it is counted */
  char cb[48]; /* what the layer that has it now remembers: struct inet_skb_parm or inet6_skb_parm */
  unsigned char* head;
  unsigned int end; /* from head: where struct skb_shared_info is */
};

struct skb_shared_info {
  unsigned short gso_size, gso_segs;
};

struct inet_skb_parm {
  __u16 frag_max_size; /* of what came in fragments: the largest of these, from its IP header on */
};

struct inet6_skb_parm {
  __u16 frag_max_size;
};

struct nf_hook_state {
  __u8 hook;
  __u8 pf;
  struct net_device* in;
  struct net_device* out;
};

struct xdp_rxq_info {
  struct net_device* dev;
};

struct xdp_buff {
  struct xdp_rxq_info* rxq;
};

struct nf_conntrack_tuple {
  struct {
    union {
      __u32 all[4];
    } u3;
    union {
      __be16 all; /* port, or ICMP type and code */
    } u;
  } dst;
};

struct nf_conntrack_tuple_hash {
  struct nf_conntrack_tuple tuple;
};

struct nf_conn {
  struct nf_conntrack_tuple_hash tuplehash[2];
  unsigned long status;
};

#pragma clang attribute pop

struct bpf_nf_ctx {
  const struct nf_hook_state* state;
  struct sk_buff* skb;
};
