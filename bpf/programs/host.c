/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The program at the host's netfilter hooks, for host endpoints. */
#define OCICAT_AT_NETFILTER
#include "lib/host.h"

/* One for input, forward and output: the verifier takes as long for each that there is. */
SEC("netfilter")
int at_host(struct bpf_nf_ctx* ctx) {
  return answer_at_host(ctx, ctx->state->hook);
}

char _license[] SEC("license") = "GPL";
