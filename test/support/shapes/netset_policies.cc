#include "test/support/shapes/netset_policies.h"

#include <array>

#include "base/result.h"

namespace ocicat::test {

namespace {
constexpr std::array kSizes{1U, 1U, 1U, 1U, 2U, 3U, 4U, 5U, 100U, 1000U};
}

Item NetsetPolicies::policy(unsigned number) {
  return allow_from(fmt::format("network-set-pol-{}", number), "all()",
                    {fmt::format("network-set-name == 'network-set-{}'", number)});
}

Item NetsetPolicies::set(unsigned number) {
  std::uint32_t first = 0x0a000001;
  std::uint32_t cycle = 0;
  for (const auto size : kSizes) cycle += size;
  constexpr auto kCycle = static_cast<unsigned>(kSizes.size());
  first += number / kCycle * cycle;
  for (unsigned i = 0; i < number % kCycle; ++i) first += kSizes[i];
  NetworkSet set;
  set.metadata.name = fmt::format("network-set-{}", number);
  set.metadata.labels["network-set-name"] = set.metadata.name;
  for (unsigned i = 0; i < kSizes[number % kCycle]; ++i) {
    set.nets.push_back(Prefix::host(IpAddress::v4(first + i)));
  }
  return item(Kind::kGlobalNetworkSet, std::move(set));
}

void NetsetPolicies::each(const Take& take) const {
  const TagPolicies cluster{.remote = remote, .local = local, .policies = 0};
  for (unsigned i = 0; i < TagPolicies::kNamespaces; ++i) take(TagPolicies::profile(i));
  for (unsigned i = 0; i < remote; ++i) take(cluster.endpoint(i));
  for (unsigned i = 0; i < sets; ++i) {
    take(set(i));
    take(policy(i));
  }
  for (unsigned i = 0; i < local; ++i) take(cluster.endpoint(remote + i));
}

}  // namespace ocicat::test
