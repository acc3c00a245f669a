#include "test/support/shapes/chains_of_sets.h"

#include "base/result.h"

namespace ocicat::test {

Item ChainsOfSets::set(unsigned number, unsigned without) const {
  NetworkSet set;
  set.metadata.name = fmt::format("set-{}", number);
  set.metadata.labels["set"] = fmt::format("set-{}", number);
  for (unsigned i = 0; i + without < members; ++i) {
    set.nets.push_back(Prefix::host(IpAddress::v4(0x0a000001 + number * members + i)));
  }
  return item(Kind::kGlobalNetworkSet, std::move(set));
}

Item ChainsOfSets::chain(unsigned number, unsigned shift) const {
  NetworkPolicy policy;
  policy.kind = Kind::kGlobalNetworkPolicy;
  policy.metadata.name = fmt::format("chain-{}", number);
  policy.selector = "all()";
  policy.applies_to_ingress = true;
  for (unsigned i = 0; i < rules; ++i) {
    Rule rule;
    rule.protocol = ProtocolMatch{.number = kTcp};
    rule.source.selector = fmt::format("set == 'set-{}'", (number * rules + i) % sets);
    const auto port = static_cast<std::uint16_t>(1'024 + (number * rules + i + shift) % 60'000);
    rule.destination.ports = {PortRange{port, port}};
    policy.ingress.push_back(std::move(rule));
  }
  return item(Kind::kGlobalNetworkPolicy, std::move(policy));
}

Item ChainsOfSets::endpoint(unsigned number) {
  return item(Kind::kWorkloadEndpoint, workload(kShapeNode, "shop", number, 0xc0a80001 + number));
}

void ChainsOfSets::each(const Take& take) const {
  for (unsigned i = 0; i < sets; ++i) take(set(i));
  for (unsigned i = 0; i < chains; ++i) take(chain(i));
}

}  // namespace ocicat::test
