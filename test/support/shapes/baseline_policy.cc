#include "test/support/shapes/baseline_policy.h"

#include <array>

#include "base/result.h"

namespace ocicat::test {

namespace {

struct Bucket {
  unsigned sets, smallest, largest;
  // Sizes lie in the first so manieth part of the span, so that all together are what was measured.
  unsigned lean;
};
constexpr std::array<Bucket, 6> kSizes{{{4, 0, 0, 1},
                                        {3'035, 1, 9, 1},
                                        {446, 10, 99, 6},
                                        {64, 100, 999, 6},
                                        {158, 1'000, 9'999, 100},
                                        {1, 54'566, 54'566, 1}}};

constexpr unsigned kDenyRules = 10;  // at random places; one Allow; all others Pass
constexpr unsigned kSetsInThousand = 242;

}  // namespace

unsigned BaselinePolicy::set_size(unsigned number) {
  auto at = number;
  for (const auto& bucket : kSizes) {
    if (at < bucket.sets) {
      const auto span = bucket.largest - bucket.smallest + 1;
      return bucket.smallest + static_cast<unsigned>(mixed(1, number) % span / bucket.lean);
    }
    at -= bucket.sets;
  }
  return 0;
}

Item BaselinePolicy::set(unsigned number, unsigned first) {
  NetworkSet set;
  set.metadata.name = fmt::format("bench-{:04}", number);
  set.metadata.labels["bench-set"] = set.metadata.name;
  for (unsigned i = 0; i < set_size(number); ++i) {
    set.nets.push_back(Prefix::host(IpAddress::v4(0x0a000000 + first + i)));
  }
  return item(Kind::kGlobalNetworkSet, std::move(set));
}

Item BaselinePolicy::policy(unsigned number) const {
  NetworkPolicy policy;
  policy.kind = Kind::kGlobalNetworkPolicy;
  policy.metadata.name = fmt::format("policy-{:03}", number);
  policy.tier = kTier;
  policy.selector = "all()";
  policy.applies_to_ingress = true;
  const auto total = policies * rules;
  for (unsigned i = 0; i < rules; ++i) {
    const auto at = number * rules + i;
    Rule rule;
    rule.action = Action::kPass;
    for (unsigned deny = 0; deny < kDenyRules; ++deny) {
      if (mixed(seed, deny) % total == at) rule.action = Action::kDeny;
    }
    if (mixed(seed, kDenyRules) % total == at) rule.action = Action::kAllow;
    rule.protocol = ProtocolMatch{.number = kTcp};
    const auto port = static_cast<std::uint16_t>(kFirstPort + at % ports);
    const auto random = mixed(seed + 1, at);
    const auto refers = random % 1'000 < kSetsInThousand;
    auto& side = refers && (random >> 20 & 1) == 0 ? rule.source : rule.destination;
    if (refers) side.selector = fmt::format("bench-set == 'bench-{:04}'", (random >> 24) % kSets);
    side.ports = {PortRange{port, port}};
    policy.ingress.push_back(std::move(rule));
  }
  return item(Kind::kGlobalNetworkPolicy, std::move(policy));
}

Item BaselinePolicy::endpoint(unsigned number) {
  return item(Kind::kWorkloadEndpoint, workload(kShapeNode, "shop", number, 0xc0a80001 + number));
}

void BaselinePolicy::each(const Take& take) const {
  Tier tier;
  tier.metadata.name = kTier;
  tier.order = 10;
  take(item(Kind::kTier, tier));
  take(namespace_profile("shop", {}));
  unsigned first = 0;
  for (unsigned i = 0; i < kSets; first += set_size(i), ++i) take(set(i, first));
  for (unsigned i = 0; i < policies; ++i) take(policy(i));
}

}  // namespace ocicat::test
