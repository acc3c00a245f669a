#include "cni/delegation.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace ocicat::cni {
namespace {

boost::json::object config(std::string_view ipam) {
  return boost::json::parse(fmt::format(R"({{"name":"pods","ipam":{}}})", ipam)).as_object();
}

TEST(Delegation, IsWhereAnotherPluginIsNamed) {
  EXPECT_EQ(address_plugin_in(config(R"({"type":"host-local"})")), "host-local");
  for (const auto* own :
       {R"({"type":"calico-ipam"})", R"({"type":"ocicat-cni"})", "{}", R"({"type":7})", "7"})
    EXPECT_EQ(address_plugin_in(config(own)), "") << own;
}

TEST(Delegation, OfHostLocalAloneWordsForPodNetsBecomeThese) {
  const auto asks =
      config(R"({"type":"host-local","ranges":[[{"subnet":"usepodcidr"},{"subnet":"10.0.0.0/24"}],
                               [{"subnet":"usePodCidrIPv6","rangeStart":"fd00::5"}]]})");
  EXPECT_TRUE(asks_for_pod_nets(asks));
  EXPECT_EQ(with_pod_nets(asks, {"10.9.0.0/24", "fd09::/64"}),
            config(R"({"type":"host-local","ranges":[[{"subnet":"10.9.0.0/24"},{"subnet":"10.0.0.0/24"}],
                       [{"subnet":"fd09::/64","rangeStart":"fd00::5"}]]})"));
  EXPECT_EQ(with_pod_nets(config(R"({"type":"host-local","subnet":"usePodCidr"})"), kAnyNets),
            config(R"({"type":"host-local","subnet":"0.0.0.0/0"})"));
  const auto missing = with_pod_nets(asks, {"10.9.0.0/24", ""});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message, "ipam asks for usePodCidrIPv6, and the node has no IPv6 pod CIDR");
  for (const auto* none :
       {R"({"type":"static","subnet":"usePodCidr"})", R"({"type":"host-local","subnet":"10.0.0.0/24"})",
        R"({"type":"host-local","ranges":[7,[7]]})"}) {
    EXPECT_FALSE(asks_for_pod_nets(config(none))) << none;
    EXPECT_EQ(with_pod_nets(config(none), {}), config(none));
  }
}

}  // namespace
}  // namespace ocicat::cni
