/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The same for kernels that take no programs at their netfilter hooks (host.c): rules of nftables ask these there, and
 * drop what they refuse. One for each hook, as nothing tells a program of this type where it is asked.
 */
#define OCICAT_AT_NETFILTER
#define OCICAT_ASKED_BY_RULES
#include "lib/host.h"

/* 1: refused. */
static __always_inline int is_refused(struct __sk_buff* packet, __u32 at) {
  return answer_at_host(packet, at) == NF_DROP;
}

SEC("socket")
int at_input(struct __sk_buff* packet) {
  return is_refused(packet, AT_INPUT);
}

SEC("socket")
int at_forward(struct __sk_buff* packet) {
  return is_refused(packet, AT_FORWARD);
}

SEC("socket")
int at_output(struct __sk_buff* packet) {
  return is_refused(packet, AT_OUTPUT);
}

char _license[] SEC("license") = "GPL";
