/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Packets for benchmarks: made as XDP live frames, counted where they arrive. */
#include "load.h"

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct load_plan);
} plan SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct load_arrivals);
} arrivals SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct load_rounds);
} rounds SEC(".maps");

/* Those of flows by their number, in network order. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, LOAD_PORTS_MAX);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, __u64);
} ports_listed SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct load_tunnel);
} tunnel SEC(".maps");

static __always_inline __u32 pick(struct load_plan* load) {
  __u32 x = load->next;
  if (!load->random) {
    load->next = x + 1;
    return x & load->flow_mask;
  }
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  load->next = x;
  return (x >> 7) & load->flow_mask;
}

static __always_inline __be16 folded(__u32 sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return bpf_htons((__u16)~sum);
}

static __always_inline void note_sent(void) {
  __u32 first = 0;
  struct load_rounds* now = bpf_map_lookup_elem(&rounds, &first);
  if (!now || !now->round || now->sent++ != now->next_begin) return;
  now->next_begin += now->round;
  __u32 round = now->begun++;
  if (round <= LOAD_ROUNDS_MAX) now->begin[round] = bpf_ktime_get_ns();
}

static __always_inline void note_arrived(void) {
  __u32 first = 0;
  struct load_rounds* now = bpf_map_lookup_elem(&rounds, &first);
  if (!now || !now->round || ++now->arrived != now->next_end) return;
  now->next_end += now->round;
  __u32 round = now->ended++;
  if (round < LOAD_ROUNDS_MAX) now->end[round] = bpf_ktime_get_ns();
}

/* Frames come back with what the stack has written into them: the whole header is written each time. */
SEC("xdp")
int generate(struct xdp_md* context) {
  __u32 first = 0;
  struct load_plan* load = bpf_map_lookup_elem(&plan, &first);
  __u8* frame = (void*)(long)context->data;
  if (!load || frame + LOAD_FRAME > (__u8*)(long)context->data_end) return XDP_ABORTED;
  note_sent();
  __u32 flow = pick(load), address = load->spread + (flow & load->address_mask) * load->stride;
  __u32 ports = flow >> load->address_bits;
  __builtin_memcpy(frame, load->frame, LOAD_FRAME);
  struct iphdr* ip = (void*)(frame + ETH_HLEN);
  struct ipv6hdr* ip6 = (void*)(frame + ETH_HLEN);
  struct udphdr* udp = load->ipv6 ? (void*)(ip6 + 1) : (void*)(ip + 1);
  __be16 asking = bpf_htons((__u16)(1024 + (ports & 0x7fff)));
  __be16 asked = bpf_htons((__u16)(LOAD_ASKED + ((ports >> 15) & 0x7fff)));
  if (load->replies == 2) {
    const __u64* listed = bpf_map_lookup_elem(&ports_listed, &flow);
    if (!listed) return XDP_ABORTED;
    asking = (__be16)*listed;
  }
  udp->source = load->replies ? asked : asking;
  udp->dest = load->replies ? asking : asked;
  __u32 sum = (address >> 16) + (address & 0xffff);
  if (load->ipv6) {
    (load->by_destination ? &ip6->daddr : &ip6->saddr)->in6_u.u6_addr32[3] = bpf_htonl(address);
    sum += bpf_ntohs(udp->check) + bpf_ntohs(asking) + bpf_ntohs(asked);
    __be16 check = folded(sum);
    udp->check = check ? check : 0xffff;
  } else {
    *(load->by_destination ? &ip->daddr : &ip->saddr) = bpf_htonl(address);
    ip->check = folded(sum + bpf_ntohs(ip->check));
  }
  return load->leaves ? XDP_TX : XDP_PASS;
}

/* What a driver's program costs at the least. */
SEC("xdp")
int drop(struct xdp_md* context) {
  (void)context;
  return XDP_DROP;
}

SEC("tc")
int sink(struct __sk_buff* skb) {
  __u32 first = 0;
  struct load_arrivals* at = bpf_map_lookup_elem(&arrivals, &first);
  const struct load_plan* load = bpf_map_lookup_elem(&plan, &first);
  if (at && load && skb->len == load->arriving) {
    ++at->count;
    note_arrived();
  }
  if (at && skb->len == LOAD_OTHERS) ++at->others;
  return 2; /* dropped */
}

/* What a tunnel key costs at the least: every packet goes to the same end, and nobody is asked whether it may. */
SEC("tc")
int to_tunnel(struct __sk_buff* skb) {
  __u32 first = 0;
  const struct load_tunnel* to = bpf_map_lookup_elem(&tunnel, &first);
  __u8* frame = (void*)(long)skb->data;
  if (!to || frame + ETH_HLEN > (__u8*)(long)skb->data_end) return 2;
  __builtin_memcpy(frame, to->macs, sizeof to->macs);
  struct bpf_tunnel_key key = {.tunnel_id = to->vni, .tunnel_ttl = 64};
  if (to->ipv6) {
    __builtin_memcpy(key.remote_ipv6, to->remote, sizeof key.remote_ipv6);
  } else {
    key.remote_ipv4 = to->remote[0];
  }
  if (bpf_skb_set_tunnel_key(skb, &key, sizeof key, to->ipv6 ? BPF_F_TUNINFO_IPV6 : BPF_F_ZERO_CSUM_TX))
    return 2;
  return bpf_redirect(to->interface, 0);
}

char _license[] SEC("license") = "GPL";
