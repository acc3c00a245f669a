#include "test/support/shapes/shape.h"

#include "base/result.h"

namespace ocicat::test {

Item allow_from(const std::string& name, const std::string& selector,
                const std::vector<std::string>& sources) {
  NetworkPolicy policy;
  policy.kind = Kind::kGlobalNetworkPolicy;
  policy.metadata.name = name;
  policy.selector = selector;
  policy.applies_to_ingress = true;
  for (const auto& source : sources) {
    Rule rule;
    rule.source.selector = source;
    policy.ingress.push_back(std::move(rule));
  }
  return item(Kind::kGlobalNetworkPolicy, std::move(policy));
}

Item namespace_profile(const std::string& name, Labels labels) {
  Profile profile;
  profile.metadata.name = "kns." + name;
  profile.labels_to_apply = std::move(labels);
  return item(Kind::kProfile, std::move(profile));
}

WorkloadEndpoint workload(const std::string& node, const std::string& ns, unsigned number,
                          std::uint32_t address) {
  WorkloadEndpoint endpoint;
  endpoint.metadata.ns = ns;
  endpoint.metadata.name = fmt::format("{}-k8s-wep--{}-eth0", node, number);
  endpoint.metadata.labels["projectcalico.org/namespace"] = ns;
  endpoint.node = node;
  endpoint.orchestrator = "k8s";
  endpoint.workload = fmt::format("wep-{}", number);
  endpoint.interface_name = fmt::format("cali{}", number);
  endpoint.addresses = {IpAddress::v4(address)};
  endpoint.profiles = {"kns." + ns};
  return endpoint;
}

std::uint64_t mixed(std::uint64_t seed, std::uint64_t number) {
  // splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
  auto state = seed + (number + 1) * 0x9e3779b97f4a7c15ULL;
  state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9ULL;
  state = (state ^ (state >> 27)) * 0x94d049bb133111ebULL;
  return state ^ (state >> 31);
}

}  // namespace ocicat::test
