#include "test/support/shapes/no_two_alike.h"

#include <algorithm>
#include <numeric>

#include "base/result.h"
#include "test/support/random.h"

namespace ocicat::test {

namespace {
constexpr unsigned kLabels = 20;
constexpr unsigned kValues = 64;
}  // namespace

Item NoTwoAlike::policy(unsigned ns) const {
  NetworkPolicy policy;
  policy.kind = Kind::kNetworkPolicy;
  policy.metadata.ns = fmt::format("namespace-{}", ns);
  policy.metadata.name = "ports";
  policy.applies_to_ingress = true;
  for (unsigned i = 0; i < selectors; ++i) {
    Random random(mixed(seed, std::uint64_t{ns} << 32 | i));
    std::vector<unsigned> values(kValues);
    std::iota(values.begin(), values.end(), 0U);
    for (unsigned at = 0; at < kValues / 2; ++at)
      std::swap(values[at], values[at + random.below(kValues - at)]);
    std::string list;
    for (unsigned at = 0; at < kValues / 2; ++at)
      list += fmt::format("{}'v{}'", at == 0 ? "" : ", ", values[at]);
    Rule rule;
    rule.protocol = ProtocolMatch{.number = kTcp};
    rule.source.namespace_selector = "all()";
    rule.source.selector = fmt::format("label-{} in {{{}}}", i % kLabels, list);
    const auto port = static_cast<std::uint16_t>(1'000 + i);
    rule.destination.ports = {PortRange{port, port}};
    policy.ingress.push_back(std::move(rule));
  }
  return item(Kind::kNetworkPolicy, std::move(policy));
}

Item NoTwoAlike::remote(unsigned number, unsigned version) const {
  auto endpoint =
      workload("host", fmt::format("namespace-{}", number % namespaces), number, 0x0a000001 + number);
  for (unsigned i = 0; i < kLabels; ++i) {
    const auto random = mixed(seed + 1 + version, std::uint64_t{number} << 8 | i);
    endpoint.metadata.labels[fmt::format("label-{}", i)] = fmt::format("v{}", random % kValues);
  }
  return item(Kind::kWorkloadEndpoint, std::move(endpoint));
}

Item NoTwoAlike::local_endpoint(unsigned number) const {
  return item(Kind::kWorkloadEndpoint, workload(kShapeNode, fmt::format("namespace-{}", number % namespaces),
                                                endpoints + number, 0x0a000001 + endpoints + number));
}

void NoTwoAlike::each(const Take& take) const {
  for (unsigned i = 0; i < namespaces; ++i) {
    take(namespace_profile(fmt::format("namespace-{}", i), {}));
    take(policy(i));
  }
  for (unsigned i = 0; i < endpoints; ++i) take(remote(i));
  for (unsigned i = 0; i < local; ++i) take(local_endpoint(i));
}

}  // namespace ocicat::test
