#include "lab/fabric.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lab/wiring.h"

namespace ocicat::lab {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<HostWiring> hosts(int count) {
  return host_wirings(*Layout::named("demo"),
                      {.hosts = count, .racks = 1, .network = {}, .dataplane = {}, .program = {}});
}

TEST(Fabric, EveryPairOfHostsGetsExactlyOneLink) {
  const auto three = hosts(3);
  EXPECT_EQ(link_lines(three, 0),
            "link add to-host2 type veth peer name to-host1 netns demo-host2\n"
            "link add to-host3 type veth peer name to-host1 netns demo-host3\n");
  EXPECT_EQ(link_lines(three, 1), "link add to-host3 type veth peer name to-host2 netns demo-host3\n");
  EXPECT_EQ(link_lines(three, 2), "");
}

TEST(Fabric, AHostReachesTheOthersNodeAddressesOverTheirLinks) {
  const auto lines = host_lines(hosts(2), 1);
  EXPECT_THAT(lines, HasSubstr("addr add 172.31.0.2/32 dev lo\n"));
  EXPECT_THAT(lines, HasSubstr("route add 172.31.0.1/32 dev to-host1 src 172.31.0.2\n"));
  EXPECT_THAT(lines, HasSubstr("route add fd31::1/128 dev to-host1 src fd31::2\n"));
  EXPECT_THAT(lines, Not(HasSubstr("to-host2")));
}

TEST(Fabric, InterfaceNamesFitAndAreNotTakenForWorkloads) {
  for (const auto& host : hosts(32)) {
    EXPECT_LE(link_name(host.name).size(), 15U);
    EXPECT_FALSE(link_name(host.name).starts_with("cali"));
  }
}

}  // namespace
}  // namespace ocicat::lab
