/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Connections of workloads whose source the kernel translates (natOutgoing): what it has said of them, past
 * the rest of the stack, in both directions. The kernel stays the one that translates: it has had the first
 * packets, has chosen address and port, and is asked again.
 *
 *   learned  the interface, from the first answer that comes by the stack to a workload; then, with the next
 *            packet out, routes and the kernel's connection tracking are asked, together
 *   holds    as any road: a quarter of a second, or until the agent hears of other routes (roads.h)
 *   shown    once a second the stack has a packet, and so keeps its own entry
 *   room     four places for each; who is in use is not pushed out, and who finds no place takes the stack
 *   design   docs/design/ebpf.md#translated
 */
#pragma once

#include "lib/counters.h"
#include "lib/hop.h"
#include "lib/readdress.h"
#include "lib/roads.h"
#include "maps/translations.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, TRANSLATIONS_MAX);
  __type(key, __u32);
  __type(value, struct translation);
} translations SEC(".maps");

/* What the kernel says at the moment; on the stack there is no room. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct translation);
} translation_said SEC(".maps");

/* In place of a family: the source is translated, and it is named how (struct translated_road). */
#define BY_TRANSLATION 1

#define SHOWN_EVERY SECONDS(1)

static __always_inline struct translation* translation_at(__u32 place) {
  return bpf_map_lookup_elem(&translations, &place);
}

static __always_inline struct translated_road* translated_road(struct tracked* tracked) {
  return (void*)tracked->road.far;
}

/* Both words that name a translation, as one. */
static __always_inline __u64* name_in(struct translated_road* road) {
  return (__u64*)&road->place;
}

/* Where the host translates what leaves some of its pools. */
static __always_inline int translates(void) {
  const struct host* now = the_host();
  return now && now->settings[READ_ONCE(now->batch) & 1] & HOST_TRANSLATES;
}

static __always_inline int has_ports(const struct packet* packet) {
  return packet->key.protocol == IPPROTO_TCP || packet->key.protocol == IPPROTO_UDP;
}

/* Of the ends as they are outside. */
__noinline __u32 outer_digest(const struct packet* packet, const struct outer_end* own,
                              __u32 of_destination) {
  if (!packet || !own) return 0;
  const struct ends* ends = &packet->ends;
  struct connection_key key = {.protocol = packet->key.protocol};
  key.address[0] = of_destination ? ends->destination : ends->source;
  key.port[0] = of_destination ? ends->destination_port : ends->source_port;
  key.address[1] = own->address;
  key.port[1] = own->port;
  const struct host* secrets = the_host();
  return secrets ? (__u32)(hash_of(&key, &secrets->secret) >> 32) : 0;
}

static __always_inline __u32 place_of_translation(__u32 digest, __u32 way) {
  return (digest >> TRANSLATIONS_SHIFT) * TRANSLATION_WAYS + way;
}

static __always_inline int is_of_end(const struct translation* translation, const struct outer_end* end) {
  return translation->end.port == end->port && is_same(&translation->end.address, &end->address);
}

/* Whether that is what the kernel says by now as well. */
static __always_inline int is_unchanged(const struct translation* is, const struct translation* next) {
  return is_of_end(is, &next->end) && is->hop_family == next->hop_family && is->way == next->way &&
         is_same((const struct address*)is->hop, (const struct address*)next->hop);
}

enum { NEVER_TAKEN = 0x7ffffffe, ITS_OWN = 0x7fffffff };

/* Notes it in a place of those four: its own, one that was never taken, or that of whom the stack has not been
 * shown for longest, if that is over. Its place and version; 0: no room. */
__noinline __u64 put_translation(const struct translation* next, __u32 now) {
  if (!next) return 0;
  struct translation* there = 0;
  __s32 longest = 2 * SHOWN_EVERY;
  __u32 place = 0;
  for (__u32 i = 0; i < TRANSLATION_WAYS; ++i) {
    __u32 at = place_of_translation(next->digest, i);
    struct translation* other = translation_at(at);
    if (!other) return 0;
    __s32 idle = (__s32)(now - READ_ONCE(other->shown));
    if (!READ_ONCE(other->version)) idle = NEVER_TAKEN;
    if (other->place == next->place && other->connection == next->connection) idle = ITS_OWN;
    if (idle <= longest) continue;
    longest = idle;
    there = other;
    place = at;
  }
  if (!there) return 0;
  __u32 version = READ_ONCE(there->version);
  if (longest == ITS_OWN && !(version & 1) && is_unchanged(there, next)) return (__u64)version << 32 | place;
  if (version & 1 || __sync_val_compare_and_swap(&there->version, version, version | 1) != version) return 0;
  there->digest = next->digest;
  there->place = next->place;
  there->connection = next->connection;
  there->shown = now;
  there->end = next->end;
  there->hop_family = next->hop_family;
  there->way = next->way;
  __builtin_memcpy(there->hop, next->hop, sizeof there->hop);
  version += 2;
  if (!version) version = 2;
  __sync_lock_test_and_set(&there->version, version); /* behind all of it */
  return (__u64)version << 32 | place;
}

/* The name of what the kernel says now of this packet's connection; 0: that it translates no source. */
__noinline __u64 ask_translation(struct __sk_buff* skb, const struct packet* packet, struct tracked* tracked,
                                 const struct bpf_fib_lookup* route, __u32 now) {
  __u32 first = 0;
  struct translation* next = bpf_map_lookup_elem(&translation_said, &first);
  if (!packet || !tracked || !route || !next || !ask_conntrack(skb, packet, &next->end)) return 0;
  next->hop_family = route->family;
  next->way = route->ifindex;
  __builtin_memcpy(next->hop, route->ipv6_dst, sizeof next->hop);
  __u64 name = READ_ONCE(*name_in(translated_road(tracked)));
  const struct translation* known = name >> 32 ? translation_at((__u32)name) : 0;
  if (known && is_unchanged(known, next) && READ_ONCE(known->version) == name >> 32) return name;
  __u64 found = find_place(&packet->key);
  next->place = (__u32)found;
  next->connection = found >> 32;
  next->digest = outer_digest(packet, &next->end, 1);
  return found ? put_translation(next, now) : 0;
}

/* Asks the kernel's routes, and its connection tracking, about a packet that leaves: for the name of how it is
 * translated; 0: it takes the stack. What the answer was, or that there was none, holds as any road. */
__noinline __u64 ask_translated_road(struct __sk_buff* skb, const struct packet* packet,
                                     struct tracked* tracked, __u32 size, __u32 now) {
  if (!packet || !tracked) return 0;
  struct bpf_fib_lookup route;
  struct translated_road* road = translated_road(tracked);
  __u32 end = ~packet->sender & 1, way = road->way;
  long said = find_route(skb, packet, size, &route);
  if (said == BPF_FIB_LKUP_RET_FRAG_NEEDED) return 0;
  __u64 name = 0;
  if (!said && route.ifindex == way && !tunnel_to(&route) && !has_ipsec(skb))
    name = ask_translation(skb, packet, tracked, &route, now);
  WRITE_ONCE(*name_in(road), name);
  tracked->road.mtu[end] = route.mtu_result;
  tracked->traffic[end] = packet->traffic;
  WRITE_ONCE(tracked->road.asked[end], clock_now());
  return name;
}

/* Notes by which interface the outer end's packets come, of one that comes to a workload by the stack, and was
 * of no connection before that. */
static __always_inline void learn_translated_way(const struct __sk_buff* skb, const struct packet* packet,
                                                 struct connection* connection) {
  __u32 interface = skb->ingress_ifindex, outside = packet->sender & 1;
  if (connection->endpoint[outside] || skb->tc_index || !interface || !has_ports(packet) || !translates())
    return;
  struct tracked* tracked = tracked_of(connection);
  struct translated_road* road = translated_road(tracked);
  if (tracked->hop_family == BY_TRANSLATION && road->way == interface) return;
  WRITE_ONCE(*name_in(road), 0);
  road->way = interface;
  forget_roads(tracked);
  tracked->hop_family = BY_TRANSLATION;
}

/* Copies what is translated how; false where that is no more. */
static __always_inline int read_translation(__u64 name, const struct tracked* tracked,
                                            struct translation* copy) {
  const struct translation* there = name >> 32 ? translation_at((__u32)name) : 0;
  if (!there) return 0;
  *copy = *there;
  barrier();
  return READ_ONCE(there->version) == name >> 32 && copy->version == name >> 32 &&
         copy->connection == READ_ONCE(tracked->version);
}

/* Whether it is time for the stack to have a packet again. */
static __always_inline int must_show(__u64 name, __u32 shown, __u32 now) {
  if (now - shown < SHOWN_EVERY) return 0;
  struct translation* there = translation_at((__u32)name);
  if (there) WRITE_ONCE(there->shown, now);
  return 1;
}

/* The name of how a packet is translated that leaves; 0: it takes the stack. */
static __always_inline __u64 translation_of(struct __sk_buff* skb, const struct packet* packet,
                                            struct tracked* tracked, __u32 now) {
  if (tracked->hop_family != BY_TRANSLATION || !has_ports(packet) || !translates()) return 0;
  __u32 end = ~packet->sender & 1, size = size_on_wire(skb, packet);
  if (size >= TOO_LARGE) return 0;
  if (!is_known_road(tracked, end, packet->traffic, now))
    return ask_translated_road(skb, packet, tracked, size, now);
  return size <= tracked->road.mtu[end] ? READ_ONCE(*name_in(translated_road(tracked))) : 0;
}

#define SHOW (-2) /* in place of an answer: the stack is to have this one */

/* Translates it, and sends it out. A function of its own: what it has on the stack is not there while others
 * are asked. */
__noinline int send_translated(struct __sk_buff* skb, const struct packet* packet, struct tracked* tracked,
                               __u64 name, __u32 now) {
  struct translation how;
  if (!packet || !tracked) return PASS;
  if (!read_translation(name, tracked, &how)) return PASS;
  if (must_show(name, how.shown, now)) return SHOW;
  struct new_end source = {.end = how.end};
  int done = readdress(skb, packet, &source);
  if (done) return done;
  if (!hop(skb, packet, 0, 0)) return drop_half_made();
  struct bpf_redir_neigh next = {.nh_family = how.hop_family};
  __builtin_memcpy(next.ipv6_nh, how.hop, sizeof next.ipv6_nh);
  count(COUNT_REDIRECTED);
  count(COUNT_TRANSLATED);
  return bpf_redirect_neigh(how.way, &next, sizeof next, 0);
}

/* The name of the translation of what comes in for this end, and where its connection is; 0: none. */
__noinline __u64 find_translation(const struct packet* packet, __u32* place) {
  if (!packet || !place) return 0;
  struct outer_end own = {.address = packet->ends.destination, .port = packet->ends.destination_port};
  __u32 digest = outer_digest(packet, &own, 0);
  for (__u32 i = 0; i < TRANSLATION_WAYS; ++i) {
    __u32 at = place_of_translation(digest, i);
    const struct translation* there = translation_at(at);
    if (!there) return 0;
    __u32 version = READ_ONCE(there->version);
    if (!version) return 0;
    if (there->digest != digest || version & 1 || !is_of_end(there, &own)) continue;
    *place = there->place;
    return (__u64)version << 32 | at;
  }
  return 0;
}
