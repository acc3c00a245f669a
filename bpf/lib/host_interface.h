/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* A packet that comes in by an interface of the host's own, an overlay's included: before the stack.
 *
 *   known connections   of a workload here go to it at once, where they come by the way that has been learned
 *                       others of them go to the stack, stamped
 *   translated          what answers a connection whose source the kernel translates goes the same way
 *   all others          go to the stack: what somebody else translates is of no connection yet
 *   bare                where packets come without a frame's header, these are asked for their way back alone
 *   from nowhere        where no route leads back to the sender, that is the end (bpfEnforceRPF)
 *   design              docs/design/ebpf.md#past-the-stack
 */
#pragma once

#include <linux/if_packet.h>

#include "lib/forward.h"
#include "lib/way_back.h"
#include "lib/workbench.h"

enum { VLAN_ID = 0xfff }; /* of a tag; 0: it has a priority, and belongs to no VLAN */

static __always_inline int comes_by_its_way(const struct __sk_buff* skb, const struct packet* packet,
                                            const struct connection* known) {
  return known->endpoint[packet->sender & 1] == (END_OUTSIDE | skb->ifindex);
}

/* What the workload's interface would say of it, which does not see it. */
static __always_inline int to_known_workload(struct __sk_buff* skb, const struct packet* packet,
                                             struct connection* known, __u32 version, __u32 now) {
  if (!comes_by_its_way(skb, packet, known) || known->flags & CONNECTION_DENIED || !is_plain(skb, packet) ||
      !is_underway(packet, known) || !stands(known) || !is_still(known, version)) {
    return PASS;
  }
  int answer = forward_in(skb, packet, tracked_of(known), slot_at(known, ~packet->sender), now);
  if (answer == PASS) return PASS;
  account(skb, packet, 0, known, now);
  count(COUNT_FORWARDED);
  return answer;
}

/* The connection that a packet for an address of the host's belongs to, where that stands for a workload of
 * it, as the workload sees it: into `view`; and its version. 0: none that goes past the stack. */
static __always_inline struct tracked* behind_translation(struct __sk_buff* skb, const struct packet* packet,
                                                          struct packet* view, __u32* version, __u32 now) {
  __u32 place = 0;
  __u64 name = find_translation(packet, &place);
  struct tracked* tracked = name ? tracked_at(place) : 0;
  struct translation how;
  if (!tracked || !read_translation(name, tracked, &how)) return 0;
  struct translated_road* road = translated_road(tracked);
  const struct ends* ends = &packet->ends;
  __u32 outside =
      tracked->key.port[0] == ends->source_port && is_same(&tracked->key.address[0], &ends->source) ? 0 : 1;
  if (tracked->key.protocol != packet->key.protocol || tracked->key.at_host ||
      tracked->key.port[outside] != ends->source_port ||
      !is_same(&tracked->key.address[outside], &ends->source) || tracked->connection.endpoint[outside] ||
      tracked->hop_family != BY_TRANSLATION || READ_ONCE(*name_in(road)) != name || how.way != skb->ifindex ||
      !holds(tracked->road.asked[outside], now) || must_show(name, how.shown, now)) {
    return 0;
  }
  *view = *packet;
  view->key = tracked->key;
  view->sender = outside;
  view->ends.destination = tracked->key.address[outside ^ 1];
  view->ends.destination_port = tracked->key.port[outside ^ 1];
  *version = how.connection;
  return READ_ONCE(tracked->version) == *version ? tracked : 0;
}

/* What the stack would do with it, and the workload's interface say of it. */
__noinline int to_translated_workload(struct __sk_buff* skb, struct workbench* bench, __u32 now) {
  if (!bench || !has_ports(&bench->packet) || !is_plain(skb, &bench->packet)) return PASS;
  struct packet* view = &bench->about;
  __u32 version = 0;
  struct tracked* tracked = behind_translation(skb, &bench->packet, view, &version, now);
  if (!tracked) return PASS;
  struct connection* known = &tracked->connection;
  __u32 own = ~view->sender & 1;
  const struct endpoint* endpoint = endpoint_at(slot_at(known, own));
  if (!endpoint || !is_open(endpoint) || known->flags & CONNECTION_DENIED || !living(known, view, now) ||
      !is_underway(view, known) || !stands(known)) {
    return PASS;
  }
  __u32 interface = endpoint->interface;
  if (interface == skb->ifindex || !has_way(skb, view, tracked, interface, now)) return PASS;
  if (!is_still(known, version)) return PASS; /* what was read may be of another connection */
  struct new_end destination = {
      .end = {.address = view->ends.destination, .port = view->ends.destination_port}, .destination = 1};
  int done = readdress(skb, &bench->packet, &destination);
  if (done) return done;
  if (!hop(skb, view, macs_to(tracked, own), 0)) return drop_half_made();
  if (skb->mark) skb->mark = 0;
  account(skb, view, 0, known, now);
  count(COUNT_FORWARDED);
  count(COUNT_REDIRECTED);
  count(COUNT_TRANSLATED);
  return bpf_redirect_peer(interface, 0);
}

static __always_inline int at_host_interface(struct __sk_buff* skb) {
  int ipv6 = skb->protocol == bpf_htons(ETH_P_IPV6);
  skb->tc_index = 0;
  if (!ipv6 && skb->protocol != bpf_htons(ETH_P_IP)) return PASS;
  if (skb->pkt_type == PACKET_OTHERHOST)
    return PASS; /* for who has another MAC here, and routes of its own */
  if (skb->vlan_present && skb->vlan_tci & VLAN_ID) return PASS; /* comes by again, at the VLAN's interface */
  struct workbench* bench = workbench();
  if (!bench || !parse_ip(skb, ETH_HLEN, ipv6 ? PARSE_IPV6 : 0, &bench->packet)) return PASS;
  __u32 now = clock_now(), version;
  struct connection* known = find_connection(&bench->packet, now, &version);
  if (!known) {
    int answer = translates() ? to_translated_workload(skb, bench, now) : PASS;
    if (answer == DROP) return tell_refused_from_network(skb, &bench->packet, DROP_NO_MEMORY, ETH_HLEN);
    return answer == PASS ? check_way_back(skb, &bench->packet, ETH_HLEN) : answer;
  }
  int answer = to_known_workload(skb, &bench->packet, known, version, now);
  if (answer != PASS) return answer;
  stamp(skb, &bench->packet);
  return comes_by_its_way(skb, &bench->packet, known) ? PASS : check_way_back(skb, &bench->packet, ETH_HLEN);
}

/* Where packets come without a frame's header: all take the stack, and are of no way that is learned. */
static __always_inline int at_bare_interface(struct __sk_buff* skb) {
  int ipv6 = skb->protocol == bpf_htons(ETH_P_IPV6);
  skb->tc_index = 0;
  if (!ipv6 && skb->protocol != bpf_htons(ETH_P_IP)) return PASS;
  struct workbench* bench = workbench();
  if (!bench || !parse_ip(skb, 0, ipv6 ? PARSE_IPV6 : 0, &bench->packet)) return PASS;
  return check_way_back(skb, &bench->packet, 0);
}
