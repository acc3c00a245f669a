/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The programs at the host's side of a workload's interface. */
#include "lib/workload.h"

SEC("tc")
int from_workload(struct __sk_buff* skb) {
  int answer = at_workload(skb, 1);
  return answer == DROP ? refuse(skb, 1) : answer;
}

SEC("tc")
int to_workload(struct __sk_buff* skb) {
  int answer = at_workload(skb, 0);
  return answer == DROP ? refuse(skb, 0) : answer;
}
