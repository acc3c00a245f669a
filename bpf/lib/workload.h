/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* A packet at a workload's interface, on the host's side of it: from the workload, or to it.
 *
 *   known connections   pass, by one look at the connection and at the endpoints that judged it
 *   others              are judged; what is let through is noted, so that replies pass
 *   the host            may always reach its own workloads
 *   design              docs/design/ebpf.md
 */
#pragma once

#include "lib/answer.h"
#include "lib/floating.h"
#include "lib/forward.h"
#include "lib/fragments.h"
#include "lib/news.h"
#include "lib/noting.h"
#include "lib/roads.h"
#include "lib/workbench.h"
#include "lib/workload_events.h"

static __always_inline int is_discovery(const struct packet* packet) {
  __u8 type = packet->icmp_type;
  return packet->kind == KIND_LINK && ((type >= 130 && type <= 136 && type != 134) || type == 143);
}

/* Whether the host would forward it, rather than take it for itself or know no way. */
__noinline int is_forwarded(struct __sk_buff* skb, const struct packet* packet) {
  if (!packet) return 0;
  struct bpf_fib_lookup route;
  long answer = find_route(skb, packet, 0, &route);
  return answer >= 0 && answer != BPF_FIB_LKUP_RET_NOT_FWDED && answer != BPF_FIB_LKUP_RET_FWD_DISABLED;
}

/* The connection as it would be after this packet, before it is judged; and which ends are to be judged.
 * `next`: as it has been, where it is known. */
static __always_inline __u32 draft(const struct __sk_buff* skb, const struct packet* packet, int known,
                                   __u32 slot, int from, struct connection* next) {
  int own = from ? packet->sender : !packet->sender, by_host = !from && is_by_host(skb, packet);
  if (known) {
    __u32 was = slot_at(next, own);
    if (was == slot) return BOTH_ENDS;
    next->endpoint[own & 1] = slot;
    if (by_host) next->flags |= CONNECTION_FROM_HOST;
    return was || !stands(next) ? BOTH_ENDS : 1 << own;
  }
  __builtin_memset(next, 0, sizeof *next);
  next->endpoint[own & 1] = slot;
  next->flags = (packet->sender ? CONNECTION_BEGUN_BY_SECOND : 0) | (by_host ? CONNECTION_FROM_HOST : 0);
  return BOTH_ENDS;
}

/* Judges what this packet begins; 0, or why not. Whether it is for the host itself is asked last, as a look
 * at the kernel's routes takes as long as a verdict: then it is judged again, as such. So is what no route leads
 * to; where the host takes what is for it, the stack says so to the sender. */
static __always_inline __u32 judge_new(struct __sk_buff* skb, const struct packet* packet,
                                       struct connection* next, int from) {
  __u32 why = judge(&packet->key, next, BOTH_ENDS);
  if (why || !from || is_forwarded(skb, packet)) return why;
  next->flags |= CONNECTION_TO_HOST;
  why = judge(&packet->key, next, BOTH_ENDS);
  return why == DROP_TO_HOST && !may_be_for_host(packet) ? DROP_NO_ROUTE : why;
}

/* Of no connection: policy's answer for this packet alone. */
__noinline int judge_alone(struct __sk_buff* skb, struct workbench* bench, __u32 slot, int from) {
  if (!bench) return DROP;
  const struct packet* packet = &bench->packet;
  struct connection* alone = &bench->next;
  int own = from ? packet->sender : !packet->sender;
  if (packet->key.protocol == (packet->ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
    bench->packet.key.port[0] = bench->packet.key.port[1] = bpf_htons(packet->detail);
  }
  __builtin_memset(alone, 0, sizeof *alone);
  alone->endpoint[own & 1] = slot;
  alone->flags = packet->sender ? CONNECTION_BEGUN_BY_SECOND : 0;
  __u32 why = judge_new(skb, packet, alone, from);
  count(COUNT_JUDGED);
  if (why) return drop(why);
  if (packet->fragment == FRAGMENT_FIRST) note_first_fragment(skb, packet, alone, 0, from);
  if (is_news(packet, skb->ifindex))
    tell(skb, packet, COUNT_JUDGED, from);
  else
    tell_if_logged(skb, packet, from);
  count(COUNT_FORWARDED);
  return PASS;
}

static __always_inline int judge_invalid(struct __sk_buff* skb, struct workbench* bench, __u32 slot,
                                         int from) {
  const struct host* now = the_host();
  if (!now || now->settings[READ_ONCE(now->batch) & 1] & HOST_DROPS_INVALID) return drop(DROP_INVALID);
  return judge_alone(skb, bench, slot, from);
}

/* Whether the connection begins at this workload, if the packet is let through. */
static __always_inline int begins_at(const struct connection* known, __u32 slot) {
  return known->flags & CONNECTION_DENIED || (known->endpoint[0] != slot && known->endpoint[1] != slot);
}

/* Remembers it for events, before the judgement; on the stack there is no room. */
__noinline int expect(int is_reply, int begins) {
  struct telling* now = telling();
  if (!now) return 0;
  now->is_reply = is_reply;
  now->begins = begins;
  return 1;
}

static __always_inline int has_begun(void) {
  const struct telling* now = telling();
  return now && now->begins;
}

/* The connection that the packet belongs to, and what it is at this moment. */
static __always_inline struct connection* copy_connection(const struct packet* packet, __u32 now,
                                                          struct connection* copy) {
  __u32 version;
  struct connection* known = find_connection(packet, now, &version);
  if (known) *copy = *known;
  return known && is_still(known, version) ? known : 0;
}

/* Nobody says that something has changed: what is denied has to ask. */
static __always_inline int keeps_connections(void) {
  const struct host* now = the_host();
  return now && now->settings[READ_ONCE(now->batch) & 1] & HOST_KEEPS_CONNECTIONS;
}

/* Of a connection that has not passed here, or may not pass any more. */
__noinline int judge_packet(struct __sk_buff* skb, __u32 slot, int from) {
  struct workbench* bench = workbench();
  if (!bench) return DROP;
  const struct packet* packet = &bench->packet;
  struct connection* next = &bench->next;
  __u32 now = clock_now();
  int own = from ? packet->sender : !packet->sender;
  struct connection* known = bench->is_known ? copy_connection(packet, now, next) : 0;
  /* An answer to what this workload was never asked begins a connection of its own. */
  if (known && !slot_at(next, own) && packet->sender != beginner(next)) known = 0;
  if (!known && packet->kind == KIND_FOLLOWS) {
    return !from && is_by_host(skb, packet) ? PASS : judge_invalid(skb, bench, slot, from);
  }
  if (known && next->flags & CONNECTION_DENIED && stands(next) && !keeps_connections()) {
    known->seen = now; /* denied until idle */
    return drop(DROP_REVOKED);
  }
  int begins = !known || begins_at(next, slot);
  int unanswered = known && !slot_at(next, own) && !next->packets[(packet->sender ^ 1) & 1];
  __u32 ends = draft(skb, packet, known != 0, slot, from, next);
  if (packet->floating) next->flags |= CONNECTION_FLOATING;
  expect(packet->sender != beginner(next), begins);
  __u32 why = known ? judge(&packet->key, next, ends) : judge_new(skb, packet, next, from);
  count(known && ends == BOTH_ENDS ? COUNT_REJUDGED : COUNT_JUDGED);
  next->seen = now;
  if (why) {
    if (!known || why == DROP_CHANGING) return drop(why);
    if (unanswered) {
      if (!rejects()) end_connection(known, now); /* nothing to remember, but for what answers it */
      return drop(why);
    }
    next->flags |= CONNECTION_DENIED;
    put_connection(&packet->key, next, 0, telling());
    return drop(DROP_REVOKED);
  }
  next->flags &= ~CONNECTION_DENIED;
  struct connection* noted = put_connection(&packet->key, next, !known, telling());
  if (!noted) return drop(DROP_NO_MEMORY);
  account(skb, packet, from, noted, now);
  if (!from) learn_way(skb, packet, noted);
  if (packet->fragment == FRAGMENT_FIRST)
    note_first_fragment(skb, packet, next, find_place(&packet->key), from);
  if (has_begun()) tell(skb, packet, COUNT_JUDGED, from);
  count(COUNT_FORWARDED);
  return PASS;
}

/* An ICMP error shares the lot of the connection it is about. One end of that is the workload here: the error
 * comes from whom a packet was sent to, or goes to whom it came from.
 */
__noinline int judge_error(struct __sk_buff* skb, __u32 slot, int from) {
  struct workbench* bench = workbench();
  if (!bench) return DROP;
  const struct packet* packet = &bench->packet;
  struct packet* about = &bench->about;
  if (!parse_ip(skb, packet->payload, PARSE_QUOTED | (packet->ipv6 ? PARSE_IPV6 : 0), about) ||
      about->fragment == FRAGMENT_LATER) {
    return judge_invalid(skb, bench, slot, from);
  }
  int own = from ? !about->sender : about->sender;
  if (knows_floating() && see_through(about, !own)) own = from ? !about->sender : about->sender;
  __u32 now = clock_now(), version;
  struct connection* known = look_up(&about->key, &version);
  struct connection* next = &bench->next;
  if (known) *next = *known;
  if (!known || !is_still(known, version) || next->endpoint[own & 1] != slot ||
      has_expired(next, about->key.protocol, now)) {
    return judge_invalid(skb, bench, slot, from);
  }
  if (!stands(next)) {
    __u32 why = judge(&about->key, next, BOTH_ENDS);
    count(COUNT_REJUDGED);
    if (why == DROP_CHANGING) return drop(why);
    next->flags = why ? next->flags | CONNECTION_DENIED : next->flags & ~CONNECTION_DENIED;
    put_connection(&about->key, next, 0, telling());
  }
  if (next->flags & CONNECTION_DENIED) return drop(DROP_REVOKED);
  count(COUNT_FORWARDED);
  return PASS;
}

/* Whether the other end is known here by a floating address; and, if so, whether the packet is of a connection
 * that has passed here by that, and still may: it does, by the stack. */
__noinline int at_floating(struct __sk_buff* skb, struct workbench* bench, __u32 slot, int from) {
  if (!bench) return 0;
  struct packet* packet = &bench->packet;
  if (!see_through(packet, from ? !packet->sender : packet->sender)) return 0;
  __u32 now = clock_now(), version;
  int own = from ? packet->sender : !packet->sender;
  struct connection* known = find_connection(packet, now, &version);
  bench->is_known = known != 0;
  if (!known || !stands(known) ||
      (known->flags & (CONNECTION_DENIED | CONNECTION_FLOATING)) != CONNECTION_FLOATING ||
      known->endpoint[own & 1] != slot || !is_still(known, version)) {
    return 0;
  }
  account(skb, packet, from, known, now);
  if (packet->fragment == FRAGMENT_FIRST)
    note_first_fragment(skb, packet, known, find_place(&packet->key), from);
  count(COUNT_FORWARDED);
  return 1;
}

/* Of no connection that has passed here and still may. */
__noinline int unknown(struct __sk_buff* skb, struct workbench* bench, int from) {
  if (!bench) return DROP;
  const struct packet* packet = &bench->packet;
  const struct address* address = from ? &packet->ends.source : &packet->ends.destination;
  __u32 slot = slot_of(skb->ifindex, address);
  if (!slot) slot = slot_of_source(skb->ifindex, address);
  int by_host = !from && is_by_host(skb, packet);
  begin_telling();
  if (!slot) {
    if (by_host) return PASS;
    if (from && is_discovery(packet) && is_of_link(address)) return PASS;
    return drop(from ? DROP_SPOOFED : DROP_NOT_OURS);
  }
  if (skb->mark && is_answer(skb, packet)) return PASS;
  if (from && is_discovery(packet) && !is_forwarded(skb, packet)) return PASS;
  if (by_host && packet->kind != KIND_PLAIN && packet->kind != KIND_FOLLOWS) return PASS;
  if (knows_floating() && at_floating(skb, bench, slot, from)) return PASS;
  switch (packet->kind) {
    case KIND_ERROR:
      return judge_error(skb, slot, from);
    case KIND_LINK:
      return judge_alone(skb, bench, slot, from);
    case KIND_INVALID:
      return judge_invalid(skb, bench, slot, from);
    default:
      return judge_packet(skb, slot, from);
  }
}

__noinline int drop_not_ip(struct workbench* bench) {
  if (!bench) return DROP;
  __builtin_memset(&bench->packet, 0, sizeof bench->packet);
  return drop_unread(DROP_NOT_IP);
}

/* From a workload, of a known connection: on its way, and what it carries counted. That comes last, as an atomic
 * addition waits for the connection, and what comes behind it for the addition. */
static __always_inline int send_on(struct __sk_buff* skb, const struct packet* packet,
                                   const struct endpoint* workload, struct connection* known, __u32 now) {
  struct carried carried = carried_by(skb, packet);
  int answer = is_open(workload) ? forward(skb, packet, tracked_of(known), now) : PASS;
  if (answer != DROP) add_sent(known, packet->sender, carried.bytes, carried.packets);
  return answer;
}

static __always_inline int at_workload(struct __sk_buff* skb, int from) {
  int ipv6 = skb->protocol == bpf_htons(ETH_P_IPV6);
  struct workbench* bench = workbench();
  if (!bench) return drop(DROP_NO_MEMORY);
  if (from) skb->tc_index = 0; /* no stamp of ours */
  struct packet* packet = &bench->packet;
  if (!ipv6 && skb->protocol != bpf_htons(ETH_P_IP)) {
    if ((!from && !skb->ingress_ifindex) || skb->protocol == bpf_htons(ETH_P_ARP)) return PASS;
    return drop_not_ip(bench);
  }
  if (!parse_ip(skb, ETH_HLEN, ipv6 ? PARSE_IPV6 : 0, packet)) {
    int is_own = !from && !skb->ingress_ifindex && skb->sk; /* as it may be a fragment */
    return is_own ? PASS : drop_unread(DROP_MALFORMED);
  }
  if (packet->fragment == FRAGMENT_LATER) return later_fragment(skb, packet, from);

  __u32 now = clock_now(), version;
  int own = from ? packet->sender : !packet->sender;
  struct connection* known = find_connection(packet, now, &version);
  const struct endpoint* workload = known ? standing_at(known, own, skb->ifindex) : 0;
  if (!workload || known->flags & CONNECTION_DENIED || !is_still(known, version)) {
    bench->is_known = known != 0;
    return unknown(skb, bench, from);
  }
  if (from) {
    note(packet, known, now);
  } else {
    account(skb, packet, from, known, now);
    learn_way(skb, packet, known);
    learn_translated_way(skb, packet, known);
  }
  if (packet->fragment == FRAGMENT_FIRST) {
    note_first_fragment(skb, packet, known, find_place(&packet->key), from);
  }
  count(COUNT_FORWARDED);
  return from ? send_on(skb, packet, workload, known, now) : PASS;
}
