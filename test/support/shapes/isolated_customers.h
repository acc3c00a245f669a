// S3: customers who keep to themselves, each with a namespace, a policy and a pod.
//
//   source   projectcalico/calico pull request 11866
#pragma once

#include "test/support/shapes/shape.h"

namespace ocicat::test {

// A customer: a namespace with three labels; a policy in it that allows ingress from and egress to the
// namespace, and to the cluster's DNS; a pod with 15 labels, most of them its own. Local pods lie among the
// others at a fixed distance.
struct IsolatedCustomers {
  unsigned customers = 100'000;
  unsigned local = 100;
  std::uint64_t seed = 1;

  bool is_local(unsigned number) const { return number % (customers / local) == 0; }
  Item profile(unsigned number) const;
  Item policy(unsigned number) const;
  Item pod(unsigned number) const;

  void each(const Take& take) const;

 private:
  std::string word(unsigned number, unsigned which, unsigned length) const;
};

}  // namespace ocicat::test
