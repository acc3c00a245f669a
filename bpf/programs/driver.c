/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The program in the driver of a host endpoint's interface (XDP): what untracked policy denies ends here, at
 * its least cost. Whatever else comes in is for the netfilter programs, which ask that policy again; so are
 * fragments, which those get whole, and frames with VLAN tags. Who sends much of that is told of by the share
 * of the interface, so that it costs the others nothing.
 */
#define OCICAT_AT_DRIVER
#include "lib/events.h"
#include "lib/host_endpoints.h"
#include "lib/packet.h"

/* What a processor remembers of an interface, in the batch it has asked in: its chains, by family. */
struct remembered {
  __u64 batch; /* plus one; 0: nothing */
  __u64 name[2];
  __u32 chain[2];
};

enum { REMEMBERED_MAX = 16 };

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, REMEMBERED_MAX);
  __type(key, __u32);
  __type(value, struct remembered);
} at_drivers SEC(".maps");

/* Whether the kernel lends its own struct of a frame, by a function that came with these maps (Linux 6.2). Reading by
 * address costs three calls in its place, 10 ns a frame. */
enum bpf_map_type___since_6_2 { BPF_MAP_TYPE_CGRP_STORAGE___since_6_2 = 32 };
#define IS_LENT \
  bpf_core_enum_value_exists(enum bpf_map_type___since_6_2, BPF_MAP_TYPE_CGRP_STORAGE___since_6_2)

extern void* bpf_cast_to_kern_ctx(void* context) __ksym __weak;

static __always_inline struct net_device* device_of(struct xdp_md* frame) {
  if (!IS_LENT) return BPF_CORE_READ((struct xdp_buff*)frame, rxq, dev);
  struct xdp_buff* buffer = bpf_cast_to_kern_ctx(frame);
  return buffer->rxq->dev;
}

/* Its name at this moment. */
static __always_inline void read_name(struct net_device* device, __u64 name[2]) {
  if (IS_LENT) {
    for (int word = 0; word < 2; ++word) name[word] = *(__u64*)&device->name[8 * word];
  } else {
    bpf_core_read(name, 2 * sizeof *name, &device->name);
  }
}

static __always_inline __u32 ask_chain(struct net_device* device, __u32 family, __u32 side) {
  __u32 interface = host_interface_of(device, side);
  return interface & INTERFACE_OF_WORKLOAD ? 0 : chain_at(interface, family, HOOK_UNTRACKED_IN, side);
}

/* The chain that untracked policy has where the frame comes in; 0: none. */
static __always_inline __u32 chain_for(struct xdp_md* frame, __u32 family, __u64 batch) {
  struct net_device* device = device_of(frame);
  __u32 at = frame->ingress_ifindex % REMEMBERED_MAX;
  struct remembered* known = bpf_map_lookup_elem(&at_drivers, &at);
  if (!known) return ask_chain(device, family, batch & 1);
  __u64 name[2];
  read_name(device, name);
  if (known->batch != batch + 1 || known->name[0] != name[0] || known->name[1] != name[1]) {
    known->chain[0] = ask_chain(device, 0, batch & 1);
    known->chain[1] = ask_chain(device, 1, batch & 1);
    known->name[0] = name[0];
    known->name[1] = name[1];
    known->batch = batch + 1;
  }
  return known->chain[family & 1];
}

SEC("xdp")
int at_driver(struct xdp_md* frame) {
  struct ethhdr ethernet WORDS;
  struct packet packet;
  const struct host* host = the_host();
  if (!host || !load(frame, 0, &ethernet, sizeof ethernet)) return XDP_PASS;
  __u32 ipv6 = ethernet.h_proto == bpf_htons(ETH_P_IPV6);
  if (!ipv6 && ethernet.h_proto != bpf_htons(ETH_P_IP)) return XDP_PASS;
  __u64 batch = READ_ONCE(host->batch);
  __u32 side = batch & 1, chain = chain_for(frame, ipv6, batch);
  if (!chain || !parse_ip(frame, ETH_HLEN, ipv6 ? PARSE_IPV6 : 0, &packet)) return XDP_PASS;
  if (packet.fragment != FRAGMENT_NONE) return XDP_PASS;
  struct question question = {
      .key = (__u32)packet.key.protocol << 16 | packet.detail,
      .source_port = packet.source_port,
      .side = side,
      .peer = class_of(&packet.ends.source, side),
  };
  __u32 said = chain_answer(chain, &packet.ends.destination, &question);
  if (!is_deny(said) || READ_ONCE(host->batch) != batch) return XDP_PASS;
  count(DROP_POLICY);
  struct telling told = {.outcome = {0, said & ANSWER_VALUE}};
  struct sight sight = {
      .interface = frame->ingress_ifindex,
      .size = length_of(frame) - ETH_HLEN,
      .flags = EVENT_COMES_IN,
      .reason = DROP_POLICY,
  };
  tell_event(&packet, &told, &sight, 1);
  return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
