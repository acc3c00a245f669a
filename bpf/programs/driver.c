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

static __always_inline struct net_device* device_of(struct xdp_md* frame) {
  struct xdp_buff* buffer = bpf_cast_to_kern_ctx(frame);
  return buffer->rxq->dev;
}

SEC("xdp")
int at_driver(struct xdp_md* frame) {
  struct ethhdr ethernet;
  struct packet packet;
  const struct host* host = the_host();
  if (!host || !load(frame, 0, &ethernet, sizeof ethernet)) return XDP_PASS;
  __u32 ipv6 = ethernet.h_proto == bpf_htons(ETH_P_IPV6);
  if (!ipv6 && ethernet.h_proto != bpf_htons(ETH_P_IP)) return XDP_PASS;
  __u64 batch = READ_ONCE(host->batch);
  __u32 side = batch & 1, interface = host_interface_of(device_of(frame), side);
  __u32 chain = interface & INTERFACE_OF_WORKLOAD ? 0 : chain_at(interface, ipv6, HOOK_UNTRACKED_IN, side);
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
