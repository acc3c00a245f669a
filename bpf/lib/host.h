/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* A packet at the host's own netfilter hooks, and the host endpoints of the interfaces that it comes in and
 * goes out by.
 *
 *   where    where nftables judges it, too: behind others' destination translation, before source
 *            translation. What untracked and pre-DNAT policy asks about is the destination as it came, as the
 *            kernel's connection tracking remembers it
 *   known    connections pass; others are judged, and what policy lets through is noted, so that replies
 *            pass. What untracked policy allows is not
 *   whole    fragments have been put together before these hooks, or the host cuts what it sends behind them
 *   stack    everything is on it: tasks may overtake each other here, and processors' arrays would be shared
 *   design   docs/design/ebpf.md#host-endpoints
 */
#pragma once

#include "lib/counters.h"
#include "lib/events.h"
#include "lib/hook.h"
#include "lib/host_endpoints.h"
#include "lib/judge.h"
#include "lib/news.h"
#include "lib/noting.h"

enum netfilter_verdict { NF_DROP, NF_ACCEPT, AGAIN /* another batch has come to show meanwhile */ };
enum {
  LOOPBACK = 1 /* its index, always */,
  PASSES_EVERYWHERE = 576 /* RFC 791: the largest */
};

/* States of the kernel's connection tracking, in the low bits of _nfct. */
enum { TRACKED_RELATED = 1, TRACKED_REPLIES = 3, TRACKED_STATE = 7, TRACKED_DESTINATION_TRANSLATED = 1 << 5 };

/* Who has a say in a packet. */
struct passage {
  __u16 in, out;    /* numbers of the host endpoints where it comes in and goes out; 0: none */
  __u32 untracked;  /* the chain; 0: none */
  __u8 asks;        /* whether any policy is there at all */
  __u8 flags;       /* enum host_connection_flags */
  __u8 of_workload; /* whether it comes or goes by a workload's interface, that tells of what begins */
  __u8 translated;  /* the connection is to another destination than was asked for: */
  __u8 replies;     /* (and the packet is an answer) */
  __u8 pad;
  __be16 asked_port;
  struct address asked;
};
enum { TO_WORKLOAD = 1, FROM_WORKLOAD };

/* Counts why, and remembers it for tell_here(). A function of its own, as the next one: the stack is full. */
__noinline int refused(struct telling* now, __u32 why) {
  if (now && takes_over()) {
    now->begins = now->logs = 0;
    return NF_ACCEPT;
  }
  if (now) now->why = why;
  count(why);
  return NF_DROP;
}

__noinline int try_again(void) {
  count(COUNT_RETRIED);
  return AGAIN;
}

static __always_inline __u32 tracked_state(FRAME* frame) {
  if (!bpf_core_field_exists(struct sk_buff, _nfct)) return TRACKED_STATE;
  return IN_PACKET(frame, _nfct) & TRACKED_STATE;
}

/* The destination of the connection's first packet as it came. */
static __always_inline void find_asked(FRAME* frame, struct passage* passage) {
  if (!bpf_core_field_exists(struct sk_buff, _nfct) || !bpf_core_type_exists(struct nf_conn)) return;
  struct nf_conn* tracked = (struct nf_conn*)(IN_PACKET(frame, _nfct) & ~(unsigned long)TRACKED_STATE);
  if (!tracked) return;
  unsigned long status = BPF_CORE_READ(tracked, status);
  if (!(status & TRACKED_DESTINATION_TRANSLATED)) return;
  passage->translated = 1;
  passage->replies = tracked_state(frame) >= TRACKED_REPLIES;
  passage->asked_port = BPF_CORE_READ(tracked, tuplehash[0].tuple.dst.u.all);
  bpf_core_read(&passage->asked, sizeof passage->asked, &tracked->tuplehash[0].tuple.dst.u3.all);
  if (!is_ipv6(frame)) {
    passage->asked.word[3] = passage->asked.word[0];
    passage->asked.word[0] = passage->asked.word[1] = 0;
    passage->asked.word[2] = bpf_htonl(0xffff);
  }
}

/* Whether the host endpoint has policy for either direction of a connection: replies are known by what has
 * been noted. */
static __always_inline __u32 asks_about(__u32 id, __u32 family, __u32 forwarded, __u32 side) {
  return chain_at(id, family, forwarded ? HOOK_FORWARD_IN : HOOK_NORMAL_IN, side) |
         chain_at(id, family, forwarded ? HOOK_FORWARD_OUT : HOOK_NORMAL_OUT, side) |
         chain_at(id, family, HOOK_PRE_DNAT_IN, side);
}

/* A function of its own: the stack is full. */
__noinline int find_passage(FRAME* frame, __u32 at, __u32 side, struct passage* passage) {
  if (!passage) return 0;
  __u32 in = at == AT_OUTPUT ? 0 : host_interface_of(way_in(frame, at), side);
  __u32 out =
      at == AT_INPUT ? 0 : host_interface_of(at == AT_FORWARD ? way_through(frame) : way_out(frame), side);
  __u32 family = is_ipv6(frame), workload_in = in & INTERFACE_OF_WORKLOAD;
  if (at == AT_OUTPUT && out & INTERFACE_OF_WORKLOAD) return 0; /* a host may always reach its own */
  passage->of_workload = workload_in ? FROM_WORKLOAD : out & INTERFACE_OF_WORKLOAD ? TO_WORKLOAD : 0;
  in &= ~INTERFACE_OF_WORKLOAD;
  out &= ~INTERFACE_OF_WORKLOAD;
  passage->in = (__u16)in;
  passage->out = (__u16)out;
  if (at == AT_FORWARD) passage->flags = HOST_CONNECTION_FORWARDED;
  if (at == AT_INPUT && workload_in) passage->flags = HOST_CONNECTION_FROM_WORKLOAD;
  if (at == AT_OUTPUT) passage->untracked = chain_at(out, family, HOOK_UNTRACKED_OUT, side);
  if (at != AT_OUTPUT && !workload_in) passage->untracked = chain_at(in, family, HOOK_UNTRACKED_IN, side);
  __u32 asks = passage->untracked;
  if (passage->flags & HOST_CONNECTION_FROM_WORKLOAD) {
    asks |= chain_at(in, family, HOOK_PRE_DNAT_IN, side);
  } else {
    asks |= asks_about(in, family, at == AT_FORWARD, side) | asks_about(out, family, at == AT_FORWARD, side);
  }
  passage->asks = asks != 0;
  return 1;
}

/* What a chain answers for what begins at its end, which is noted for events. */
static __always_inline __u32 ask_here(__u32 chain, const struct address* own, struct question* question,
                                      struct telling* now, __u32 end) {
  __u32 said = chain_answer(chain, own, question);
  if (is_none(said)) return said;
  now->outcome[end] = said & ANSWER_VALUE;
  now->logs |= is_logging(said);
  return said;
}

/* Whether no other batch has come to show meanwhile. */
static __always_inline int shows_still(__u64 batch) {
  const struct host* now = the_host();
  return now && READ_ONCE(now->batch) == batch;
}

/* Ends of a connection, as events number their outcomes. */
enum { AT_SENDER, AT_RECEIVER };

/* The connection of that key that the packet belongs to, and its version. */
static __always_inline struct connection* known_here(const struct packet* packet, __u32 now, __u32* version) {
  __u64 found = find_place(&packet->key);
  struct tracked* there = found ? tracked_at((__u32)found) : 0;
  *version = found >> 32;
  if (!there || READ_ONCE(there->version) != *version) return 0;
  return living(&there->connection, packet, now);
}

/* In place of the flags of a connection. */
enum { NOT_KNOWN = 1 << 8, NOT_ANY_MORE = 1 << 9 /* its place has become another's meanwhile */ };

/* The flags of the same, as workloads know it. A function of its own: the stack is full. */
__noinline __u32 known_to_workloads(struct packet* packet, __u32 now) {
  __u32 version, flags;
  if (!packet) return NOT_KNOWN;
  packet->key.at_host = 0;
  struct connection* known = known_here(packet, now, &version);
  packet->key.at_host = 1;
  if (!known) return NOT_KNOWN;
  flags = READ_ONCE(known->flags);
  return is_still(known, version) ? flags : NOT_ANY_MORE;
}

/* What the host endpoints of a connection say of its first packet: 0, or why not. */
__noinline __u32 judge_host_ends(const struct connection_key* key, const struct connection* connection,
                                 const struct passage* passage, __u32 side, struct telling* now) {
  if (!key || !connection || !passage || !now) return DROP_POLICY;
  int by = beginner(connection), to = !by;
  __u32 family = !is_mapped(&key->address[0]), protocol = (__u32)key->protocol << 16;
  int forwarded = connection->flags & HOST_CONNECTION_FORWARDED;
  const struct address *sender = &key->address[by & 1], *receiver = &key->address[to & 1];
  __u32 in = connection->endpoint[by & 1], out = connection->endpoint[to & 1], said = ANSWER_NONE;
  struct question question = {
      .key = protocol | bpf_ntohs(passage->translated ? passage->asked_port : key->port[to & 1]),
      .source_port = bpf_ntohs(key->port[by & 1]),
      .side = side & 1,
      .peer = class_of(sender, side),
  };
  __u32 chain = chain_at(in, family, HOOK_PRE_DNAT_IN, side);
  if (chain) {
    said = ask_here(chain, passage->translated ? &passage->asked : receiver, &question, now, AT_RECEIVER);
    if (is_deny(said)) return DROP_POLICY;
  }
  question.key = protocol | bpf_ntohs(key->port[to & 1]);
  chain = chain_at(in, family, forwarded ? HOOK_FORWARD_IN : HOOK_NORMAL_IN, side);
  int from_workload = connection->flags & HOST_CONNECTION_FROM_WORKLOAD;
  if (chain && is_none(said) && (forwarded || !from_workload)) {
    if (is_deny(ask_here(chain, receiver, &question, now, AT_RECEIVER))) return DROP_POLICY;
  }
  chain = chain_at(out, family, forwarded ? HOOK_FORWARD_OUT : HOOK_NORMAL_OUT, side);
  /* Not what a workload answers to the host, which may always reach it. */
  if (chain && (forwarded || !from_workload)) {
    question.peer = class_of(receiver, side);
    if (is_deny(ask_here(chain, sender, &question, now, AT_SENDER))) return DROP_POLICY;
  }
  return 0;
}

/* What untracked policy says: of each packet by itself. */
__noinline __u32 untracked_answer(const struct packet* packet, const struct passage* passage, __u32 outward,
                                  __u32 side) {
  if (!packet || !passage) return ANSWER_DENY;
  int as_it_came = passage->translated && !passage->replies;
  struct address source = packet->ends.source;
  struct address destination = as_it_came ? passage->asked : packet->ends.destination;
  __u16 detail = as_it_came ? bpf_ntohs(passage->asked_port) : packet->detail;
  struct question question = {
      .key = (__u32)packet->key.protocol << 16 | detail,
      .source_port = packet->source_port,
      .side = side & 1,
      .peer = class_of(outward ? &destination : &source, side),
  };
  return chain_answer(passage->untracked, outward ? &source : &destination, &question);
}

static __always_inline int has_changed(__u32 id, __u32 judged) {
  const struct host_endpoint* endpoint = host_endpoint_at(id);
  return !endpoint || (__s32)(READ_ONCE(endpoint->changed) - judged) > 0;
}

/* Whether an interface has got that host endpoint since. 0 is none, and nothing gets it. */
static __always_inline int is_given_anew(__u32 id, __u32 judged) {
  const struct host_endpoint* endpoint = host_endpoint_at(id);
  return !endpoint || (__s32)(READ_ONCE(endpoint->given) - judged) > 0;
}

/* Whether nothing that concerns it has changed since it was judged: neither the verdicts of its host endpoints,
 * nor which ones the interfaces have by which it passes here. A function of its own: the stack is full. */
__noinline int stands_here(const struct connection* connection, const struct passage* passage) {
  if (!connection || !passage) return 0;
  __u32 judged = connection->judged;
  return !has_changed(0, judged) && !has_changed(connection->endpoint[0], judged) &&
         !has_changed(connection->endpoint[1], judged) && !is_given_anew(passage->in, judged) &&
         !is_given_anew(passage->out, judged);
}

/* The host endpoint of an end; the compiler may not leave out what bounds it, as it knows and older verifiers do not. */
static __always_inline __u32 host_endpoint_of(const struct connection* connection, __u32 end) {
  asm("" : "+r"(end));
  return connection->endpoint[end & 1];
}

/* A known connection, at this place: whether the packet passes without another word. What begins it may come
 * by twice, out and in, by the loopback interface.
 */
static __always_inline int is_settled(const struct connection* known, const struct packet* packet,
                                      const struct passage* passage) {
  if (!stands_here(known, passage)) return 0;
  if (packet->sender != beginner(known)) return 1;
  return (!passage->in || host_endpoint_of(known, packet->sender)) &&
         (!passage->out || host_endpoint_of(known, !packet->sender));
}

static __always_inline void set_ends(struct connection* connection, __u32 sender, __u32 in, __u32 out) {
  connection->endpoint[0] = sender ? out : in;
  connection->endpoint[1] = sender ? in : out;
}

/* The connection as it would be after this packet: judged where that is now. Whether it is known who began
 * it; AGAIN: what was known of it is so no more. */
__noinline int draft_here(struct packet* packet, const struct passage* passage,
                          const struct connection* known, struct connection* next) {
  if (!packet || !passage || !next) return 0;
  __u32 sender = packet->sender & 1, now = clock_now(), in = passage->in, out = passage->out;
  int is_sure = 1;
  if (known) {
    *next = *known;
  } else {
    /* Of a workload's connection that has passed before anybody asked here, it is known who began it. */
    __u32 workloads = known_to_workloads(packet, now);
    __builtin_memset(next, 0, sizeof *next);
    if (workloads == NOT_ANY_MORE) return AGAIN;
    is_sure = workloads != NOT_KNOWN;
    if (is_sure ? workloads & CONNECTION_BEGUN_BY_SECOND : sender) next->flags = CONNECTION_BEGUN_BY_SECOND;
    next->flags |= passage->flags;
  }
  if (known) {
    /* What a host says to itself goes out and comes in by the same interface: the end that does not show here has
     * that host endpoint as well, whichever it had. */
    int to_itself = !(passage->flags & HOST_CONNECTION_FORWARDED) && known->endpoint[0] && known->endpoint[1];
    if (!in) in = to_itself ? out : known->endpoint[sender];
    if (!out) out = to_itself ? in : known->endpoint[sender ^ 1];
  }
  set_ends(next, sender, in, out);
  note(packet, next, now);
  return is_sure;
}

enum begun_back {
  NOT_BACK = 0,
  BACK,
  BACK_OR_OF_NONE, /* workloads here do not know it: the packet begins one, if packets of its kind do */
};

/* Whether workloads here know it as begun by the other end, which has passed nothing here yet: what has passed here may be
 * refused at a workload, which then begins a connection of its own, or says what is of none. A function of its own: the stack
 * is full. */
__noinline int is_begun_back(const struct connection* known, struct packet* packet,
                             const struct passage* passage) {
  if (!known || !packet || !passage || !passage->of_workload ||
      READ_ONCE(known->packets[~beginner(known) & 1])) {
    return NOT_BACK;
  }
  __u32 workloads = known_to_workloads(packet, clock_now());
  if (workloads == NOT_KNOWN) return passage->of_workload == FROM_WORKLOAD ? BACK_OR_OF_NONE : NOT_BACK;
  if (workloads == NOT_ANY_MORE) return NOT_BACK;
  return (workloads ^ known->flags) & CONNECTION_BEGUN_BY_SECOND ? BACK : NOT_BACK;
}

/* Whether what cannot begin a connection is of none, and only passes as what is invalid is judged. Where that is dropped the
 * workload's interface has dropped it, and what comes from there all the same is our refusal, or known there by an address
 * that somebody has translated. */
static __always_inline int is_of_none(int back, __u32 settings) {
  return back == BACK_OR_OF_NONE && !(settings & HOST_DROPS_INVALID);
}

/* An ICMP error shares the lot of the connection it is about, which `packet` now says. Where that has to be judged
 * again, this is for the error alone: it may have come another way, and the connection's next packet tells.
 */
static __always_inline int error_here(FRAME* frame, struct packet* packet, const struct passage* passage,
                                      __u32 settings, __u64 batch, struct telling* told) {
  __u32 now = clock_now(), version;
  struct connection* known = known_here(packet, now, &version);
  int back = known ? is_begun_back(known, packet, passage) : NOT_BACK;
  if (is_of_none(back, settings)) return -1; /* the workload has refused it, whatever the kernel tracks */
  if (known && !back) {
    struct connection next = *known;
    if (!is_still(known, version)) return AGAIN;
    if (stands_here(&next, passage))
      return next.flags & CONNECTION_DENIED ? refused(told, DROP_REVOKED) : NF_ACCEPT;
    __u32 first = packet->sender ? passage->in : passage->out;
    __u32 second = packet->sender ? passage->out : passage->in;
    if (first) next.endpoint[0] = first;
    if (second) next.endpoint[1] = second;
    __u32 why = judge_host_ends(&packet->key, &next, passage, batch & 1, told);
    if (!shows_still(batch)) return AGAIN;
    count(COUNT_REJUDGED);
    return why ? refused(told, DROP_REVOKED) : NF_ACCEPT;
  }
  __u32 workloads = known_to_workloads(packet, now);
  if (workloads == NOT_ANY_MORE) return AGAIN;
  if (workloads != NOT_KNOWN) {
    if (workloads & CONNECTION_DENIED) return refused(told, DROP_REVOKED);
    if (!(passage->flags & HOST_CONNECTION_FORWARDED)) return NF_ACCEPT;
    /* What a workload's interface has let through and noted may have been refused here. The error goes to whom a
     * packet came from. */
    struct connection next = {.flags = passage->flags | (workloads & CONNECTION_BEGUN_BY_SECOND)};
    set_ends(&next, packet->sender, passage->out, passage->in);
    __u32 why = judge_host_ends(&packet->key, &next, passage, batch & 1, told);
    if (!shows_still(batch)) return AGAIN;
    count(COUNT_JUDGED);
    return why ? refused(told, why) : NF_ACCEPT;
  }
  /* Of one that passes here and that nobody has to judge. */
  return tracked_state(frame) % TRACKED_REPLIES == TRACKED_RELATED && tracked_state(frame) != TRACKED_STATE
             ? NF_ACCEPT
             : -1;
}

static __always_inline __u32 index_of(struct net_device* device) {
  return device ? (__u32)BPF_CORE_READ(device, ifindex) : 0;
}

static __always_inline __u32 workload_at(struct net_device* device, const struct address* address) {
  __u32 interface = index_of(device), slot = slot_of(interface, address);
  return slot ? slot : slot_of_source(interface, address);
}

#define WORKLOAD_BEGAN 0x1000

/* The slot of the workload here that began what the packet belongs to, and WORKLOAD_BEGAN; or else of the one that it goes
 * to; 0: none. A function of its own: the stack is full. */
__noinline __u32 workload_of(FRAME* frame, __u32 at, const struct packet* packet, __u32 is_reply) {
  if (!packet) return 0;
  __u32 sender = at == AT_OUTPUT ? 0 : workload_at(way_in(frame, at), &packet->ends.source);
  __u32 receiver = at == AT_FORWARD ? workload_at(way_through(frame), &packet->ends.destination) : 0;
  __u32 began = is_reply ? receiver : sender;
  return began ? began | WORKLOAD_BEGAN : is_reply ? sender : receiver;
}

static __always_inline void note_workload(struct connection* next, __u32 workload) {
  set_workload_at_host(next, workload);
  if (workload & WORKLOAD_BEGAN) next->flags |= HOST_CONNECTION_FROM_WORKLOAD;
}

/* Of what has come in fragments, the size of the largest; of what leaves, that which its interface takes. */
static __always_inline __u32 largest_fragment(FRAME* frame, __u32 at) {
  __u32 size = is_ipv6(frame) ? IN_MEMORY_OF(frame, struct inet6_skb_parm, frag_max_size)
                              : IN_MEMORY_OF(frame, struct inet_skb_parm, frag_max_size);
  if (size || at != AT_OUTPUT || length_of(frame) <= PASSES_EVERYWHERE) return size;
  struct net_device* out = way_out(frame);
  return out ? BPF_CORE_READ(out, mtu) : 0;
}

/* A packet as the fragments that it has come in, or leaves in; each carries a multiple of eight bytes (RFC 791; RFC
 * 8200, section 4.5: behind a header of its own, eight bytes as well). */
static __always_inline void count_fragments(FRAME* frame, __u32 at, const struct packet* packet,
                                            struct connection* connection) {
  __u32 length = length_of(frame), largest = largest_fragment(frame, at), count = 1, more = 0;
  __u32 ip = packet->ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr), extra = packet->ipv6 ? 8 : 0;
  if (largest >= ip + extra + 8 && (length > largest || at != AT_OUTPUT)) {
    count = (length - ip - 1) / ((largest - ip - extra) & ~7) + 1;
    more = (count - 1) * ip + count * extra;
  }
  add_sent(connection, packet->sender, length + more, count);
}

/* Counts what is on the wire: of a large packet those that it is cut into, or has been put together from, each with
 * its headers. What comes by the loopback interface has counted as it left. A function of its own: the stack is full.
 */
__noinline int count_here(FRAME* frame, __u32 at, const struct packet* packet,
                          struct connection* connection) {
  if (!packet || !connection) return 0;
  if (at == AT_INPUT && index_of(way_in(frame, at)) == LOOPBACK) return 0;
  __u32 segments = segments_of(frame, packet->payload);
  if (segments > 1) {
    add_sent(connection, packet->sender, bytes_of(packet, length_of(frame), segments), segments);
  } else {
    count_fragments(frame, at, packet, connection);
  }
  return 1;
}

/* Of no connection: policy's answer for this packet alone. */
static __always_inline int alone_here(struct packet* packet, const struct passage* passage, __u64 batch,
                                      struct telling* told) {
  struct connection alone = {.flags = passage->flags | (packet->sender ? CONNECTION_BEGUN_BY_SECOND : 0)};
  set_ends(&alone, packet->sender, passage->in, passage->out);
  if (packet->key.protocol == (packet->ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
    packet->key.port[0] = packet->key.port[1] = bpf_htons(packet->detail);
  }
  __u32 why = judge_host_ends(&packet->key, &alone, passage, batch & 1, told);
  if (!shows_still(batch)) return AGAIN;
  count(COUNT_JUDGED);
  if (why) return refused(told, why);
  told->begins = !passage->of_workload && is_news(packet, 0);
  count(COUNT_FORWARDED);
  return NF_ACCEPT;
}

/* Whether the packet is the first that may pass where it is now. */
static __always_inline int begins_here(const struct connection* known, const struct packet* packet,
                                       const struct passage* passage) {
  if (!known || known->flags & CONNECTION_DENIED) return 1;
  return packet->sender == beginner(known) && ((passage->in && !host_endpoint_of(known, packet->sender)) ||
                                               (passage->out && !host_endpoint_of(known, !packet->sender)));
}

/* Of a connection that has not passed here, or may not pass any more, or that the other end begins now (`back`). */
static __always_inline int judge_here(FRAME* frame, __u32 at, struct packet* packet,
                                      const struct passage* passage, struct connection* known, __u32 version,
                                      int back, __u64 batch, struct telling* told) {
  struct connection next = {};
  int begins = back || begins_here(known, packet, passage);
  /* Else one of its ends is new here. */
  int again = known && (known->flags & CONNECTION_DENIED || !stands_here(known, passage));
  told->begins = begins && !passage->of_workload;
  int is_sure = draft_here(packet, passage, known, &next);
  if (is_sure == AGAIN) return AGAIN;
  if (known && !is_still(known, version)) return AGAIN; /* its place has become another's */
  if (back) next.flags ^= CONNECTION_BEGUN_BY_SECOND;
  __u32 why = judge_host_ends(&packet->key, &next, passage, batch & 1, told);
  if (why && !is_sure && packet->tcp & TCP_ACK) {
    /* Older than the datapath, and nobody knows who began it: as good as the one end says as the other. A
     * packet that begins a connection is none of these. */
    next.flags ^= CONNECTION_BEGUN_BY_SECOND;
    why = judge_host_ends(&packet->key, &next, passage, batch & 1, told);
  }
  told->is_reply = packet->sender != beginner(&next);
  if (!known && passage->of_workload) note_workload(&next, workload_of(frame, at, packet, told->is_reply));
  if (!shows_still(batch)) return AGAIN;
  count(again ? COUNT_REJUDGED : COUNT_JUDGED);
  next.judged = (__u32)batch;
  if (why && (!known || back)) return refused(told, why);
  if (why) {
    next.flags |= CONNECTION_DENIED;
  } else {
    next.flags &= ~CONNECTION_DENIED;
    if (!begins) told->logs = 0; /* said already */
  }
  struct connection* noted = put_connection(&packet->key, &next, !why && !known, told);
  if (why) return refused(told, DROP_REVOKED);
  if (!noted) return refused(told, DROP_NO_MEMORY);
  count_here(frame, at, packet, noted);
  count(COUNT_FORWARDED);
  return NF_ACCEPT;
}

/* Part of a connection that is tracked, or to be. */
static __always_inline int tracked_here(FRAME* frame, __u32 at, struct packet* packet,
                                        const struct passage* passage, __u32 settings, __u64 batch,
                                        struct telling* told) {
  if (packet->kind == KIND_ERROR) {
    int answer = -1;
    __u32 how = packet->ipv6 ? PARSE_IPV6 : 0;
    if (parse_ip(frame, packet->payload, PARSE_QUOTED | how, packet) && packet->fragment != FRAGMENT_LATER) {
      packet->key.at_host = 1;
      answer = error_here(frame, packet, passage, settings, batch, told);
    }
    if (answer == NF_ACCEPT) count(COUNT_FORWARDED);
    if (answer >= 0) return answer;
    if (!parse_ip(frame, 0, how, packet)) return refused(told, DROP_MALFORMED);
    packet->key.at_host = 1;
    packet->kind = KIND_INVALID;
  }
  if (packet->kind == KIND_LINK) return alone_here(packet, passage, batch, told);
  __u32 now = clock_now(), version = 0;
  struct connection* known = 0;
  if (packet->kind != KIND_INVALID) known = known_here(packet, now, &version);
  int back = NOT_BACK;
  if (known && packet->sender != beginner(known)) back = is_begun_back(known, packet, passage);
  if (is_of_none(back, settings) && packet->kind == KIND_FOLLOWS)
    return alone_here(packet, passage, batch, told);
  __u32 workloads = 0;
  if (!known && packet->kind != KIND_PLAIN)
    workloads = packet->kind == KIND_FOLLOWS ? known_to_workloads(packet, now) : NOT_KNOWN;
  if (workloads == NOT_ANY_MORE) return AGAIN;
  if (workloads == NOT_KNOWN) {
    if (settings & HOST_DROPS_INVALID) return refused(told, DROP_INVALID);
    return alone_here(packet, passage, batch, told);
  }
  int asks_again = known && known->flags & CONNECTION_DENIED && settings & HOST_KEEPS_CONNECTIONS;
  if (known && !asks_again && !back && is_settled(known, packet, passage)) {
    int denied = known->flags & CONNECTION_DENIED;
    if (!is_still(known, version)) return AGAIN; /* its place has become another's */
    if (denied) {
      known->seen = now; /* denied until idle */
      told->is_reply = packet->sender != beginner(known);
      return refused(told, DROP_REVOKED);
    }
    note(packet, known, now);
    count_here(frame, at, packet, known);
    count(COUNT_FORWARDED);
    return NF_ACCEPT;
  }
  return judge_here(frame, at, packet, passage, known, version, back, batch, told);
}

/* One attempt, by what is in force when it begins. */
__noinline int attempt_here(FRAME* frame, __u32 at, struct telling* told) {
  const struct host* host = the_host();
  if (!host || !told) return NF_DROP;
  __builtin_memset(told, 0, sizeof *told);
  __u64 batch = READ_ONCE(host->batch);
  struct passage passage = {};
  struct packet packet;
  find_passage(frame, at, batch & 1, &passage);
  if (!passage.asks) return READ_ONCE(host->batch) == batch ? NF_ACCEPT : AGAIN;
  __u32 settings = host->settings[batch & 1];
  __u32 mark = 1U << (settings >> HOST_MARK_SHIFT & HOST_MARK_BITS);
  if (at != AT_FORWARD && settings & HOST_MARKS_TUNNELS && mark_of(frame) & mark) return NF_ACCEPT;
  if (!parse_ip(frame, 0, is_ipv6(frame) ? PARSE_IPV6 : 0, &packet)) return refused(told, DROP_MALFORMED);
  packet.key.at_host = 1;
  if (packet.fragment == FRAGMENT_LATER) return refused(told, DROP_FRAGMENT);
  find_asked(frame, &passage);
  if (passage.untracked) {
    __u32 said = untracked_answer(&packet, &passage, at == AT_OUTPUT, batch & 1);
    if (!is_none(said) && !shows_still(batch)) return AGAIN;
    if (!is_none(said)) {
      told->outcome[at == AT_OUTPUT ? AT_SENDER : AT_RECEIVER] = said & ANSWER_VALUE;
      told->logs = is_logging(said);
    }
    if (is_deny(said)) return refused(told, DROP_POLICY);
    if (is_allow(said)) {
      passage.in = 0;
      if (at == AT_FORWARD) return alone_here(&packet, &passage, batch, told);
      told->begins = !passage.of_workload && is_news(&packet, 0);
      count(COUNT_FORWARDED);
      return NF_ACCEPT;
    }
  }
  return tracked_here(frame, at, &packet, &passage, settings, batch, told);
}

/* Tells of the packet. It is read once more: what was made of it before is not on the stack any longer, and
 * may have been what an ICMP error is about. */
__noinline int tell_here(FRAME* frame, __u32 at, const struct telling* told, __u32 reason) {
  struct packet packet;
  if (!told) return 0;
  parse_ip(frame, 0, is_ipv6(frame) ? PARSE_IPV6 : 0, &packet);
  if (reason == COUNT_LOGGED) count(COUNT_LOGGED);
  struct sight sight = {
      .interface = index_of(at == AT_OUTPUT ? way_out(frame) : way_in(frame, at)),
      .size = length_of(frame),
      .flags = at == AT_OUTPUT ? EVENT_FROM_ENDPOINT | EVENT_FROM_HOST : EVENT_COMES_IN,
      .reason = reason,
  };
  return tell_event(&packet, told, &sight, 0);
}

static __always_inline int answer_at_host(FRAME* frame, __u32 at) {
  struct telling told;
  __u64 answer = AGAIN;
  for (int i = 0; i < MAX_JUDGEMENTS && answer == AGAIN; ++i) {
    if (i > 0) try_again();
    answer = (__u32)attempt_here(frame, at, &told);
  }
  if (answer == AGAIN) answer = refused(&told, DROP_CHANGING);
  if (answer == NF_DROP) {
    tell_here(frame, at, &told, told.why);
  } else if (told.begins || told.logs) {
    tell_here(frame, at, &told, told.begins ? COUNT_JUDGED : COUNT_LOGGED);
  }
  asm volatile("%0 &= 1" : "+r"(answer)); /* so that the verifier sees that it is an answer */
  return answer;
}
