#include "dataplane/bird/states.h"

#include <gmock/gmock.h>

#include "test/support/random.h"

namespace ocicat::dataplane {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// As BIRD 2.0.12 writes it.
constexpr std::string_view kProtocols = R"(Name       Proto      Table      State  Since         Info
device1    Device     ---        up     2026-11-26T20:19:46+0000

kernel4    Kernel     master4    up     2026-11-26T20:19:46+0000
  Channel ipv4
    State:          UP
    Routes:         1 imported, 4 exported, 1 preferred

Mesh_10_0_0_2 BGP        ---        up     2026-11-26T20:19:47+0000  Established
  BGP state:          Established
    Neighbor address: 10.0.0.2
    Last error:       Socket: Connection refused
  Channel ipv4
    State:          UP
    Input filter:   (unnamed)
    Routes:         2 imported, 1 filtered, 3 exported, 2 preferred
    Route change stats:     received   rejected   filtered    ignored   accepted
      Import updates:              2          0          0          0          2

Mesh_10_0_0_3 BGP        ---        start  2026-11-26T20:19:46+0000  Active        Socket: Connection refused
  BGP state:          Active
    Neighbor address: 10.0.0.3
    Connect delay:    0.334/1
    Last error:       Socket: Connection refused
  Channel ipv4
    State:          DOWN

Mesh_10_0_0_4 BGP        ---        start  2026-11-26T20:19:46+0000  Passive
  BGP state:          Passive

Global_10_1_0_1 BGP        ---        down   2026-11-26T20:19:46+0000
)";

TEST(BirdStates, AreReadOfBgpProtocolsAlone) {
  EXPECT_THAT(read_sessions(kProtocols),
              ElementsAre(SessionState{"Mesh_10_0_0_2", "Established", "2026-11-26T20:19:47+0000", "", 2, 3},
                          SessionState{"Mesh_10_0_0_3", "Active", "2026-11-26T20:19:46+0000",
                                       "Socket: Connection refused", 0, 0},
                          SessionState{"Mesh_10_0_0_4", "Passive", "2026-11-26T20:19:46+0000", "", 0, 0},
                          SessionState{"Global_10_1_0_1", "Down", "2026-11-26T20:19:46+0000", "", 0, 0}));
}

TEST(BirdStates, TellOfWaysByTheirDestinationsGatewaysAndMetrics) {
  constexpr std::string_view kRoutes = R"(BIRD 2.0.12 ready.
Table master4:
10.65.0.0/26         unicast [Mesh_10_0_0_2 15:12:15.995] * (100/?) [i]
	via 10.0.0.2 on to-host2
	Type: BGP univ
	BGP.origin: IGP
	BGP.next_hop: 10.0.0.2
	BGP.local_pref: 2147482623
	Kernel.metric: 1024
10.65.0.64/26        unicast [Mesh_10_0_0_3 15:12:15.995] * (100) [AS64601i]
	via 10.0.0.3 on eth0 weight 1
	via 10.0.0.4 on eth0 weight 1
	Type: BGP univ
	Kernel.metric: 2147483547
10.1.0.1/32          unicast [gateways4 15:12:14.600] * (200)
	via 10.0.0.254 on eth0
	Type: static univ
10.65.0.128/26       blackhole [blocks4 15:12:14.600] * (200)
10.0.0.0/24          unicast [direct1 15:12:14.601] * (240)
	dev eth0

Table master6:
fd65::40/122         unreachable [Mesh_fd00__2 15:12:15.399] * (100/-) [i]
fd65::8ec0/122       unicast [Mesh_fd00__2 15:12:15.399] * (100/?) [i]
	via fd00::2 on to-host2
)";
  const auto way = [](std::string_view destination, std::string_view gateway, std::uint32_t metric) {
    return Way{*Prefix::parse(destination), *IpAddress::parse(gateway), metric};
  };
  EXPECT_THAT(read_ways(kRoutes),
              testing::UnorderedElementsAre(
                  way("10.65.0.0/26", "10.0.0.2", 1024), way("10.65.0.64/26", "10.0.0.3", 2147483547),
                  way("10.65.0.64/26", "10.0.0.4", 2147483547), way("10.1.0.1/32", "10.0.0.254", 0),
                  Way{*Prefix::parse("fd65::40/122"), {}, 1024}, way("fd65::8ec0/122", "fd00::2", 1024)));
  for (std::size_t end = 0; end <= kRoutes.size(); ++end)
    EXPECT_LE(read_ways(kRoutes.substr(0, end)).size(), 7U);
}

TEST(BirdStates, TellARecoveryFromOrdinaryWork) {
  EXPECT_TRUE(
      recovers("BIRD 2.0.12\nGraceful restart recovery in progress\n  Waiting for 1 channels to recover\n"));
  EXPECT_FALSE(recovers("BIRD 2.0.12\nDaemon is up and running\n"));
}

TEST(BirdStates, OfTextThatIsCutOrGarbledAreFewerAndNoHarmIsDone) {
  const auto seed = test::any_seed();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  test::Random random(seed);
  for (std::size_t end = 0; end <= kProtocols.size(); ++end)
    EXPECT_LE(read_sessions(kProtocols.substr(0, end)).size(), 4U);
  for (int round = 0; round < 2000; ++round) {
    std::string text(kProtocols);
    for (int i = 0; i < 20; ++i) text[random.below(text.size())] = static_cast<char>(random.below(256));
    read_sessions(text);
  }
  EXPECT_THAT(read_sessions(""), IsEmpty());
}

}  // namespace
}  // namespace ocicat::dataplane
