#include "test/support/shapes/tag_policies.h"

#include <array>

#include "base/result.h"

namespace ocicat::test {

std::string TagPolicies::marker(std::size_t number) {
  return fmt::format("cluster/marker-{}", number % kMarkers % 29);
}

Item TagPolicies::policy(unsigned number) {
  std::vector<std::string> sources;
  for (unsigned i = 0; i < 5; ++i) sources.push_back(fmt::format("has({})", marker(number + i)));
  return allow_from(fmt::format("tag-pol-{}", number), fmt::format("has({})", marker(number)), sources);
}

Item TagPolicies::from_outside() {
  NetworkPolicy policy;
  policy.kind = Kind::kGlobalNetworkPolicy;
  policy.metadata.name = "from-outside";
  policy.selector = "all()";
  policy.applies_to_ingress = true;
  Rule rule;
  rule.source.nets = {*Prefix::parse("0.0.0.0/0")};
  rule.source.not_nets = {*Prefix::parse("10.0.0.0/8")};
  policy.ingress = {rule};
  return item(Kind::kGlobalNetworkPolicy, policy);
}

Item TagPolicies::profile(unsigned number) {
  const auto name = fmt::format("namespace-{}", number);
  return namespace_profile(name, {{"pcns.projectcalico.org/name", name}});
}

Item TagPolicies::endpoint(unsigned number, std::size_t marker_number) const {
  const bool is_local = number >= remote;
  auto endpoint = workload(is_local ? kShapeNode : "remote-host",
                           fmt::format("namespace-{}", number % kNamespaces), number, 0x0a000001 + number);
  constexpr std::array kRatios{10U, 11U, 20U, 30U, 40U};
  for (const auto ratio : kRatios) {
    endpoint.metadata.labels[fmt::format("one-in-{}", ratio)] = fmt::format("value-{}", (number + 1) % ratio);
  }
  endpoint.metadata.labels[marker(marker_number)] = "true";
  return item(Kind::kWorkloadEndpoint, std::move(endpoint));
}

void TagPolicies::each(const Take& take) const {
  for (unsigned i = 0; i < policies; ++i) take(policy(i));
  for (unsigned i = 0; i < kNamespaces; ++i) take(profile(i));
  for (unsigned i = 0; i < remote + local; ++i) take(endpoint(i));
}

}  // namespace ocicat::test
