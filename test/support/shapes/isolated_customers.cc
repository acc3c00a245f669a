#include "test/support/shapes/isolated_customers.h"

#include "base/result.h"

namespace ocicat::test {

// A text of its own for each number and use.
std::string IsolatedCustomers::word(unsigned number, unsigned which, unsigned length) const {
  std::string text;
  for (auto rest = mixed(seed, std::uint64_t{number} << 8 | which); text.size() < length; rest /= 36) {
    if (rest == 0) rest = mixed(seed + text.size(), std::uint64_t{number} << 8 | which);
    text += "abcdefghijklmnopqrstuvwxyz0123456789"[rest % 36];
  }
  return text;
}

Item IsolatedCustomers::profile(unsigned number) const {
  const auto name = fmt::format("customer-{}", number);
  return namespace_profile(name, {{"pcns.projectcalico.org/name", name},
                                  {"pcns.customer-id", word(number, 0, 20)},
                                  {"pcns.production", number % 2 == 0 ? "true" : "false"}});
}

Item IsolatedCustomers::policy(unsigned number) const {
  const auto own = fmt::format("projectcalico.org/namespace == 'customer-{}'", number);
  NetworkPolicy policy;
  policy.kind = Kind::kNetworkPolicy;
  policy.metadata.ns = fmt::format("customer-{}", number);
  policy.metadata.name = "isolate";
  policy.applies_to_ingress = policy.applies_to_egress = true;
  Rule from_own, to_own, to_dns;
  from_own.source.selector = own;
  to_own.destination.selector = own;
  to_dns.protocol = ProtocolMatch{.number = kUdp};
  to_dns.destination.nets = {*Prefix::parse("10.96.0.10/32")};
  to_dns.destination.ports = {PortRange{53, 53}};
  policy.ingress = {from_own};
  policy.egress = {to_own, to_dns};
  return item(Kind::kNetworkPolicy, std::move(policy));
}

Item IsolatedCustomers::pod(unsigned number) const {
  auto pod = workload(is_local(number) ? kShapeNode : fmt::format("host-{}", number % 1000),
                      fmt::format("customer-{}", number), number, 0x0a800001 + number);
  auto& labels = pod.metadata.labels;
  constexpr std::array kUnique{20U, 20U, 10U, 20U, 8U};
  for (unsigned i = 0; i < kUnique.size(); ++i) {
    labels[fmt::format("unique-{}", i)] = word(number, i + 1, kUnique[i]);
  }
  const auto random = mixed(seed + 1, number);
  for (unsigned i = 0; i < 4; ++i) labels[fmt::format("binary-{}", i)] = random >> i & 1 ? "true" : "false";
  constexpr std::array kFew{3U, 4U, 4U, 5U};
  for (unsigned i = 0; i < kFew.size(); ++i) {
    labels[fmt::format("few-{}", i)] = fmt::format("value-{}", (random >> (8 * i + 8)) % kFew[i]);
  }
  labels["constant"] = "the-same";
  labels["one-of-5000"] = fmt::format("value-{}", (random >> 44) % 5'000);
  return item(Kind::kWorkloadEndpoint, std::move(pod));
}

void IsolatedCustomers::each(const Take& take) const {
  for (unsigned i = 0; i < customers; ++i) {
    take(profile(i));
    take(policy(i));
    take(pod(i));
  }
}

}  // namespace ocicat::test
