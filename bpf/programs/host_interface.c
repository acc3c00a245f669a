/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The programs at interfaces of the host's own. */
#include "lib/host_interface.h"

SEC("tc")
int from_network(struct __sk_buff* skb) {
  return at_host_interface(skb);
}

SEC("tc")
int from_bare(struct __sk_buff* skb) {
  return at_bare_interface(skb);
}
