/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The programs at the host's netfilter hooks, for host endpoints. */
#define OCICAT_AT_NETFILTER
#include "lib/host.h"

SEC("netfilter")
int host_input(struct bpf_nf_ctx* ctx) {
  return at_host(ctx, AT_INPUT);
}

SEC("netfilter")
int host_forward(struct bpf_nf_ctx* ctx) {
  return at_host(ctx, AT_FORWARD);
}

SEC("netfilter")
int host_output(struct bpf_nf_ctx* ctx) {
  return at_host(ctx, AT_OUTPUT);
}

char _license[] SEC("license") = "GPL";
