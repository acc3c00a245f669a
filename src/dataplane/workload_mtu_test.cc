#include "dataplane/workload_mtu.h"

#include <gtest/gtest.h>

namespace ocicat::dataplane {
namespace {

Links links(std::initializer_list<std::pair<const char*, std::uint32_t>> mtus) {
  Links links{{"down0", {.index = 1, .name = "down0", .up = false, .mtu = 100}}};
  for (const auto& [name, mtu] : mtus) links[name] = {.index = 2, .name = name, .up = true, .mtu = mtu};
  return links;
}

TEST(WorkloadMtu, IsWhatUplinksTakeAndTunnelsWhereThereAreAny) {
  HostSettings plain;
  EXPECT_EQ(workload_mtu(links({}), plain), 1500);
  const auto host = links({{"lo", 65536},
                           {"eth0", 9000},
                           {"ens3", 8000},
                           {"cali1", 1400},
                           {"docker0", 1500},
                           {"ocicat-i1f", 1500},
                           {"vxlan.calico", 7950}});
  EXPECT_EQ(workload_mtu(host, plain), 8000);
  HostSettings tunnelled;
  tunnelled.overlays.vxlan4 = true;
  EXPECT_EQ(workload_mtu(host, tunnelled), 7950);
  HostSettings named;
  named.uplinks = "^eth";
  EXPECT_EQ(workload_mtu(host, named), 9000);
}

TEST(TunnelsInUse, HaveTheAddressOfTheirFamilyThatIsNotOfTheKernelsMaking) {
  Links host = links({{"vxlan-v6.calico", 1430}, {"vxlan.calico", 1450}});
  host["vxlan-v6.calico"].addresses = {*IpAddress::parse("fd65::7"), *IpAddress::parse("fe80::7")};
  host["vxlan.calico"].addresses = {*IpAddress::parse("fe80::7")};
  HostSettings settings;
  settings.overlays.vxlan4 = settings.overlays.vxlan6 = true;
  EXPECT_EQ(tunnels_in_use(host, settings),
            (std::vector<TunnelLink>{{"vxlan.calico", 1450},
                                     {"vxlan-v6.calico", 1430, IpAddress::parse("fd65::7")}}));
}

TEST(WorkloadMtu, IsThatOfAllInterfacesButWorkloadsWhereNoneIsNamedAsAnUplink) {
  const auto host = links({{"lo", 65536}, {"uplink", 1450}, {"cali1", 1400}, {"ocicat-i1f", 1300}});
  HostSettings settings;
  EXPECT_EQ(workload_mtu(host, settings), 1450);
  settings.uplinks = "(";
  EXPECT_EQ(workload_mtu(host, settings), 1450);
}

}  // namespace
}  // namespace ocicat::dataplane
