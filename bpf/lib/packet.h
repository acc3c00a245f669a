/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Headers read, and nothing believed that they say of themselves: what is cut short or contradicts itself is
 * malformed.
 *
 *   cost     two reads of the packet; one more for each IPv6 extension header, and for SCTP's chunks
 *   source   RFC 791, RFC 8200, RFC 4443, RFC 792
 */
#pragma once

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include "lib/frame.h"
#include "lib/sctp.h"
#include "maps/connections.h"

#define MAX_EXTENSION_HEADERS 8

enum fragment_kind { FRAGMENT_NONE, FRAGMENT_FIRST, FRAGMENT_LATER };

/* What may begin a connection, and what can only belong to one or to none. */
enum packet_kind {
  KIND_PLAIN,   /* of a connection, and may begin one */
  KIND_FOLLOWS, /* of a connection, but cannot begin one */
  KIND_ERROR,   /* an ICMP error: shares the lot of the connection it is about */
  KIND_LINK,    /* ICMPv6 that keeps a link going: judged by itself */
  KIND_INVALID, /* makes no sense: judged by itself, if at all */
};

struct ends {
  struct address source;
  struct address destination;
  __be16 source_port; /* as in the key */
  __be16 destination_port;
};

struct packet {
  struct connection_key key;
  struct ends ends;
  __u32 payload;     /* where it begins, behind what was read; of KIND_ERROR, the packet it is about */
  __u32 fragment_id; /* as in the packet */
  __u16 detail;      /* of the table's key: destination port, or ICMP type << 8 | code */
  __u16 source_port; /* host order */
  __u16 offset;      /* of fragments, in units of 8 bytes: where a later one begins, or the first's payload */
  __u8 sender;       /* which end of the key */
  __u8 kind;         /* enum packet_kind */
  __u8 fragment;     /* enum fragment_kind */
  __u8 tcp;          /* enum tcp_flag; of SCTP, what its chunks say in TCP's words */
  __u8 ipv6;
  __u8 icmp_type;
  __u8 hops;     /* that it has left */
  __u8 traffic;  /* type of service, or traffic class */
  __u8 floating; /* an end is known by a floating address: the key has what is behind it (floating.h) */
  __u8 headers;  /* of IP and transport together, bytes; 0: there are others, or options of IP */
};

static __always_inline int is_same(const struct address* a, const struct address* b) {
  return a->word[3] == b->word[3] && a->word[2] == b->word[2] && a->word[1] == b->word[1] &&
         a->word[0] == b->word[0];
}

/* Of IPv4. */
static __always_inline int is_mapped(const struct address* address) {
  return !address->word[0] && !address->word[1] && address->word[2] == bpf_htonl(0xffff);
}

/* Unspecified, or link-local: meant for the link, as the kernel forwards neither (RFC 4291, sections 2.5.2
 * and 2.5.6). */
static __always_inline int is_of_link(const struct address* a) {
  if ((a->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000)) return 1;
  return !(a->word[0] | a->word[1] | a->word[2] | a->word[3]);
}

static __always_inline int is_greater(const struct address* a, const struct address* b) {
  for (int i = 3; i >= 0; --i) { /* the last words differ most */
    if (a->word[i] != b->word[i]) return a->word[i] > b->word[i];
  }
  return 0;
}

/* Puts the ends into the order that both directions share. In a driver, and before the kernel tracks,
 * nobody looks for connections. */
static __always_inline void order_ends(struct packet* packet) {
#if !defined OCICAT_AT_DRIVER && !defined OCICAT_BEFORE_TRACKING
  const struct ends* ends = &packet->ends;
  int swap = is_greater(&ends->source, &ends->destination);
  if (!swap && !is_greater(&ends->destination, &ends->source))
    swap = ends->source_port > ends->destination_port;
  packet->sender = swap;
  packet->key.address[0] = swap ? ends->destination : ends->source;
  packet->key.address[1] = swap ? ends->source : ends->destination;
  packet->key.port[0] = swap ? ends->destination_port : ends->source_port;
  packet->key.port[1] = swap ? ends->source_port : ends->destination_port;
#endif
}

/* `quoted`: of a packet inside an ICMP error, which is cut short after 8 bytes of transport at the earliest.
 */
static __always_inline int parse_ports(FRAME* skb, __u32 at, __u32 end, int quoted, struct packet* packet) {
  __be16 ports[4] WORDS; /* of UDP, the length is the third word */
  if (at + sizeof ports > end || !load(skb, at, ports, sizeof ports)) return 0;
  if (packet->key.protocol == IPPROTO_UDP && !quoted && packet->fragment == FRAGMENT_NONE &&
      !may_be_longer(skb)) {
    __u32 length = bpf_ntohs(ports[2]);
    if (length < sizeof ports || at + length > end) return 0;
  }
  packet->ends.source_port = ports[0];
  packet->ends.destination_port = ports[1];
  if (packet->headers) packet->headers += 8;
  packet->payload = at + 8;
  return 1;
}

static __always_inline int parse_tcp(FRAME* skb, __u32 at, __u32 end, struct packet* packet) {
  struct tcphdr tcp;
  if (!load(skb, at, &tcp, sizeof tcp) || tcp.doff < 5 || at + tcp.doff * 4 > end) return 0;
  packet->ends.source_port = tcp.source;
  packet->ends.destination_port = tcp.dest;
  __u8 flags = ((__u8*)&tcp)[13] & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK | TCP_URG);
  packet->tcp = flags;
  if (packet->headers) packet->headers += tcp.doff * 4;
  packet->payload = at + tcp.doff * 4;
  switch (flags & ~TCP_URG) {
    case TCP_SYN:
    case TCP_ACK: /* of a connection that began before we looked */
      packet->kind = KIND_PLAIN;
      break;
    case TCP_SYN | TCP_ACK:
    case TCP_RST:
    case TCP_RST | TCP_ACK:
    case TCP_FIN | TCP_ACK:
      packet->kind = KIND_FOLLOWS;
      break;
    default:
      packet->kind = KIND_INVALID;
  }
  return 1;
}

static __always_inline int parse_sctp(FRAME* skb, __u32 at, __u32 end, struct packet* packet) {
  struct sctp_header sctp;
  struct sctp_chunk chunk WORDS;
  int alone = 0, follows = 0;
  if (at + sizeof sctp > end || !load(skb, at, &sctp, sizeof sctp)) return 0;
  packet->ends.source_port = sctp.source;
  packet->ends.destination_port = sctp.destination;
  if (packet->headers) packet->headers += sizeof sctp;
  packet->kind = KIND_INVALID;
  at += sizeof sctp;
  packet->payload = at;
  for (int i = 0; i < SCTP_CHUNKS; ++i) {
    if (at + sizeof chunk > end || !load(skb, at, &chunk, sizeof chunk)) {
      if (i == 0) return 1; /* says nothing at all */
      break;
    }
    __u32 length = bpf_ntohs(chunk.length);
    packet->payload = at + sizeof chunk;
    alone |= sctp_is_alone(chunk.type);
    if (length < sizeof chunk || (alone && i > 0) || (chunk.type == SCTP_INIT) != !sctp.tag) return 1;
    if (at + length > end && packet->fragment == FRAGMENT_NONE) return 1;
    packet->tcp |= sctp_flags(chunk.type);
    follows |= sctp_follows(chunk.type);
    at += (length + 3) & ~3U;
  }
  packet->kind = follows ? KIND_FOLLOWS : KIND_PLAIN;
  return 1;
}

/* Which request a type answers; the type itself where it is one; else 255. */
static __always_inline __u8 icmp_request(__u8 type, int ipv6) {
  if (ipv6) {
    if (type == 128 || type == 129) return 128; /* echo */
    if (type == 139 || type == 140) return 139; /* node information */
    return 255;
  }
  if (type == 8 || type == 0) return 8;    /* echo */
  if (type == 13 || type == 14) return 13; /* timestamp */
  if (type == 15 || type == 16) return 15; /* information */
  if (type == 17 || type == 18) return 17; /* address mask */
  return 255;
}

static __always_inline int is_icmp_error(__u8 type, int ipv6) {
  if (ipv6) return type >= 1 && type <= 4;
  return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

/* Whether the IP packet that an ICMP error quotes at `at` came from whom the error is for: else the error is of
 * nobody's making but its sender's. Who translates addresses does so in both. */
static __always_inline int is_for_sender(FRAME* skb, __u32 at, const struct packet* packet) {
  struct address sender = packet->ends.destination;
  int there = packet->ipv6
                  ? load(skb, at + __builtin_offsetof(struct ipv6hdr, saddr), &sender, sizeof sender)
                  : load(skb, at + __builtin_offsetof(struct iphdr, saddr), &sender.word[3], sizeof(__be32));
  return there && is_same(&sender, &packet->ends.destination);
}

/* The part that ICMP and ICMPv6 have in common, and what follows it in a query. */
struct icmp_header {
  __u8 type;
  __u8 code;
  __be16 checksum;
  __be16 id;
  __be16 sequence;
};

static __always_inline int parse_icmp(FRAME* skb, __u32 at, __u32 end, struct packet* packet) {
  struct icmp_header icmp WORDS;
  if (at + sizeof icmp > end || !load(skb, at, &icmp, sizeof icmp)) return 0;
  packet->icmp_type = icmp.type;
  if (packet->headers) packet->headers += sizeof icmp;
  packet->payload = at + sizeof icmp;
  packet->detail = (__u16)icmp.type << 8 | icmp.code;
  __u8 request = icmp_request(icmp.type, packet->ipv6);
  if (request != 255) {
    __be16 asked = bpf_htons((__u16)request << 8 | icmp.code);
    int answers = icmp.type != request;
    packet->ends.source_port = answers ? asked : icmp.id;
    packet->ends.destination_port = answers ? icmp.id : asked;
    packet->kind = answers ? KIND_FOLLOWS : KIND_PLAIN;
    packet->key.asks = answers ? 2 : 1; /* as if the source were end 0: see parse_transport() */
  } else if (is_icmp_error(icmp.type, packet->ipv6)) {
    packet->kind = is_for_sender(skb, packet->payload, packet) ? KIND_ERROR : KIND_INVALID;
  } else if (packet->ipv6 && ((icmp.type >= 130 && icmp.type <= 137) || icmp.type == 143)) {
    packet->kind = KIND_LINK;
  } else {
    packet->kind = KIND_INVALID;
  }
  return 1;
}

/* `end`: where the packet itself says that it ends. */
static __always_inline int parse_transport(FRAME* skb, __u32 at, __u32 end, int quoted,
                                           struct packet* packet) {
  __u8 protocol = packet->key.protocol;
  if (packet->fragment == FRAGMENT_LATER) { /* has no such header */
    order_ends(packet);
    return 1;
  }
  if (protocol == IPPROTO_TCP && !quoted) {
    if (!parse_tcp(skb, at, end, packet)) return 0;
  } else if (protocol == IPPROTO_SCTP && !quoted) {
    if (!parse_sctp(skb, at, end, packet)) return 0;
  } else if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
             protocol == IPPROTO_SCTP) {
    if (!parse_ports(skb, at, end, quoted, packet)) return 0;
  } else if (protocol == (packet->ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
    if (!parse_icmp(skb, at, end, packet)) return 0;
    order_ends(packet);
    if (packet->key.asks) packet->key.asks = 1 + (packet->sender ^ (packet->key.asks - 1));
    return 1;
  }
  order_ends(packet);
  packet->detail = bpf_ntohs(packet->ends.destination_port);
  packet->source_port = bpf_ntohs(packet->ends.source_port);
  return 1;
}

static __always_inline void set_v4(struct address* address, __be32 value) {
  address->word[0] = address->word[1] = 0;
  address->word[2] = bpf_htonl(0xffff);
  address->word[3] = value;
}

/* Where the transport header begins, and where the packet itself says that it ends. */
struct extent {
  __u32 at;
  __u32 end;
  __u32 cut; /* of a fragment: where that begins which has been cut */
};

static __always_inline int parse_ipv4(FRAME* skb, struct extent* extent, int quoted, struct packet* packet) {
  struct iphdr ip;
  __u32 at = extent->at;
  if (!load(skb, at, &ip, sizeof ip) || ip.version != 4 || ip.ihl < 5) return 0;
  __u32 length = bpf_ntohs(ip.tot_len), header = ip.ihl * 4;
  if (quoted || (length == 0 && may_be_longer(skb)))
    length = length_of(skb) - at; /* or longer than the field can say */
  if (length < header || at + length > length_of(skb)) return 0;
  set_v4(&packet->ends.source, ip.saddr);
  set_v4(&packet->ends.destination, ip.daddr);
  packet->key.protocol = ip.protocol;
  packet->hops = ip.ttl;
  packet->traffic = ip.tos;
  if (header == sizeof ip) packet->headers = sizeof ip;
  __u16 fragment = bpf_ntohs(ip.frag_off);
  if (fragment & 0x3fff) {
    packet->fragment = fragment & 0x1fff ? FRAGMENT_LATER : FRAGMENT_FIRST;
    packet->fragment_id = ip.id;
    packet->offset = fragment & 0x1fff;
  }
  extent->at = extent->cut = at + header;
  extent->end = at + length;
  return 1;
}

/* An authentication header is a protocol of its own, as in IPv4, and so is a mobility header: nftables takes them for
 * that, too, and what would follow says whoever sends it. */
static __always_inline int is_extension(__u8 next) {
  return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_FRAGMENT ||
         next == IPPROTO_DSTOPTS;
}

/* Walks the extension headers, to the transport header or to what a later fragment carries. */
static __always_inline int skip_extensions(FRAME* skb, struct extent* extent, __u8 next,
                                           struct packet* packet) {
  for (int i = 0; i < MAX_EXTENSION_HEADERS; ++i) {
    if (!is_extension(next) || packet->fragment == FRAGMENT_LATER) {
      packet->key.protocol = next;
      return 1;
    }
    __u8 header[8] WORDS;
    if (extent->at + sizeof header > extent->end || !load(skb, extent->at, header, sizeof header)) return 0;
    if (next == IPPROTO_FRAGMENT) {
      __u16 offset = (__u16)header[2] << 8 | header[3];
      if (packet->fragment != FRAGMENT_NONE) return 0;
      if (offset & ~0x6) { /* else a whole packet (RFC 6946), which nothing follows */
        packet->fragment = offset & 0xfff8 ? FRAGMENT_LATER : FRAGMENT_FIRST;
        __builtin_memcpy(&packet->fragment_id, header + 4, sizeof packet->fragment_id);
        packet->offset = offset >> 3;
      }
      extent->at += 8;
      extent->cut = extent->at;
    } else {
      extent->at += ((__u32)header[1] + 1) * 8;
    }
    next = header[0];
  }
  return 0; /* no honest packet has so many */
}

static __always_inline int parse_ipv6(FRAME* skb, struct extent* extent, int quoted, struct packet* packet) {
  struct ipv6hdr ip;
  if (!load(skb, extent->at, &ip, sizeof ip) || ip.version != 6) return 0;
  extent->at += sizeof ip;
  extent->end = extent->at + bpf_ntohs(ip.payload_len);
  if (quoted || (ip.payload_len == 0 && may_be_longer(skb))) extent->end = length_of(skb);
  if (extent->end > length_of(skb)) return 0;
  __builtin_memcpy(&packet->ends.source, &ip.saddr, sizeof packet->ends.source);
  __builtin_memcpy(&packet->ends.destination, &ip.daddr, sizeof packet->ends.destination);
  if (is_mapped(&packet->ends.source) || is_mapped(&packet->ends.destination))
    return 0; /* would pass for IPv4 */
  packet->ipv6 = 1;
  packet->hops = ip.hop_limit;
  packet->traffic = ip.priority << 4 | ip.flow_lbl[0] >> 4;
  if (!is_extension(ip.nexthdr)) packet->headers = sizeof ip;
  return skip_extensions(skb, extent, ip.nexthdr, packet);
}

enum parse_how { PARSE_IPV6 = 1, PARSE_QUOTED = 2 };

/* Reads the IP packet at `at`. False where it is malformed. A function of its own to the verifier. */
__noinline int parse_ip(FRAME* skb, __u32 at, __u32 how, struct packet* packet) {
  struct extent extent = {.at = at};
  if (!packet) return 0;
  __builtin_memset(packet, 0, sizeof *packet);
  int quoted = (how & PARSE_QUOTED) != 0;
  if (!(how & PARSE_IPV6 ? parse_ipv6(skb, &extent, quoted, packet)
                         : parse_ipv4(skb, &extent, quoted, packet))) {
    return 0;
  }
  packet->payload = extent.at;
  if (!parse_transport(skb, extent.at, extent.end, quoted, packet)) return 0;
  if (packet->fragment == FRAGMENT_FIRST) packet->offset = (packet->payload - extent.cut + 7) / 8;
  return 1;
}
