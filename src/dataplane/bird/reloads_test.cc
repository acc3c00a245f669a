#include "dataplane/bird/reloads.h"

#include <gmock/gmock.h>

#include "network/bgp/bird_configuration.h"

namespace ocicat::dataplane {
namespace {

namespace bgp = network::bgp;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

Reload in(std::string protocol) {
  return {std::move(protocol), Reload::Direction::kIn};
}
Reload out(std::string protocol) {
  return {std::move(protocol), Reload::Direction::kOut};
}

bgp::Input three_hosts() {
  bgp::Input input;
  input.node = "host1";
  for (int i = 1; i <= 3; ++i) {
    auto& node = input.nodes[fmt::format("host{}", i)];
    node.metadata.name = fmt::format("host{}", i);
    node.ipv4 = Prefix::parse(fmt::format("10.0.0.{}/24", i));
    node.ipv6 = Prefix::parse(fmt::format("fd00::{}/64", i));
  }
  for (const auto* cidr : {"10.65.0.0/16", "fd65::/48"}) input.pools[cidr].cidr = *Prefix::parse(cidr);
  auto& filter = input.filters["strict"];
  filter.metadata.name = "strict";
  filter.import_rules[0].emplace_back().cidr = *Prefix::parse("10.9.0.0/16");
  filter.export_rules[0].emplace_back().cidr = *Prefix::parse("10.8.0.0/16");
  auto& peer = input.peers["tor"];
  peer.metadata.name = "tor";
  peer.address = *IpAddress::parse("10.1.0.1");
  peer.as_number = 65001;
  peer.filters = {"strict"};
  return input;
}

std::string text_of(const bgp::Input& input) {
  return bgp::bird_configuration(
      bgp::intent_for(input, [](const SecretKey&) -> Result<std::string> { return "word"; }));
}

std::set<Reload> after(const std::function<void(bgp::Input&)>& change) {
  auto input = three_hosts();
  const auto before = text_of(input);
  change(input);
  return reloads_between(before, text_of(input));
}

TEST(Reloads, AreNoneWhereNothingIsOther) {
  EXPECT_THAT(after([](bgp::Input&) {}), IsEmpty());
}

TEST(Reloads, AreOfWhatGoesOutInOneFamilyWhereABlockIsClaimed) {
  EXPECT_THAT(
      after([](bgp::Input& input) { input.blocks = {{*Prefix::parse("10.65.0.0/26"), "host1", true}}; }),
      ElementsAre(out("Global_10_1_0_1"), out("Mesh_10_0_0_2"), out("Mesh_10_0_0_3")));
}

TEST(Reloads, AreOfTheSessionsWhoseBgpFilterIsOtherAndOfItsWayAlone) {
  EXPECT_THAT(
      after([](bgp::Input& input) { input.filters.at("strict").import_rules[0].front().accept = true; }),
      ElementsAre(in("Global_10_1_0_1")));
  EXPECT_THAT(
      after([](bgp::Input& input) { input.filters.at("strict").export_rules[0].front().accept = true; }),
      ElementsAre(out("Global_10_1_0_1")));
  EXPECT_THAT(after([](bgp::Input& input) { input.peers.at("tor").filters.clear(); }),
              ElementsAre(in("Global_10_1_0_1"), out("Global_10_1_0_1")));
}

TEST(Reloads, AreOfWhatGoesToTheKernelWhereAPoolIsForTheAgentToWrite) {
  EXPECT_THAT(
      after([](bgp::Input& input) { input.pools.at("fd65::/48").vxlan = IpPool::Encapsulation::kAlways; }),
      ElementsAre(out("kernel6")));
}

TEST(Reloads, AreNoneOfSessionsThatComeAndGo) {
  EXPECT_THAT(after([](bgp::Input& input) { input.nodes.erase("host3"); }), IsEmpty());
  EXPECT_THAT(after([](bgp::Input& input) {
                input.nodes["host4"] = input.nodes.at("host3");
                input.nodes["host4"].ipv4 = *Prefix::parse("10.0.0.4/24");
                input.nodes["host4"].ipv6.reset();
              }),
              IsEmpty());
}

TEST(Reloads, AreOfWhatGoesOutWhereTheNextHopIsOther) {
  EXPECT_THAT(after([](bgp::Input& input) { input.peers.at("tor").next_hop = BgpPeer::NextHop::kSelf; }),
              ElementsAre(out("Global_10_1_0_1")));
}

TEST(Reloads, FollowFunctionsOverOthers) {
  const auto text = [](int limit) {
    return fmt::format(
        "function deepest()\n{{\n  if net.len > {} then reject;\n}}\n\nfunction deeper()\n{{\n  "
        "deepest();\n}}\n"
        "filter first\n{{\n  deeper();\n  accept;\n}}\n\nfilter second\n{{\n  accept;\n}}\n"
        "protocol bgp one {{\n  ipv4 {{\n    import filter second;\n    export filter first;\n  }};\n}}\n"
        "# import filter first;\nprotocol bgp two {{\n  password \"first\";\n  ipv4 {{\n    import filter "
        "second;\n"
        "    export filter second;\n  }};\n}}\n",
        limit);
  };
  EXPECT_THAT(reloads_between(text(24), text(25)), ElementsAre(out("one")));
  EXPECT_THAT(reloads_between(text(24), text(24)), IsEmpty());
}

TEST(Reloads, AreBothWaysWhereALineSaysNothingOfTheWay) {
  const auto text = [](std::string_view line) {
    return fmt::format("protocol bgp one {{\n  ipv4 {{\n    import all;\n    {};\n  }};\n}}\n", line);
  };
  EXPECT_THAT(reloads_between(text("gateway direct"), text("gateway recursive")),
              ElementsAre(in("one"), out("one")));
}

TEST(Reloads, OfAnUnknownPastAreOfEverythingThatHasFilters) {
  EXPECT_THAT(
      reloads_of(text_of(three_hosts())),
      UnorderedElementsAre(in("kernel4"), out("kernel4"), in("kernel6"), out("kernel6"), in("Mesh_10_0_0_2"),
                           out("Mesh_10_0_0_2"), in("Mesh_10_0_0_3"), out("Mesh_10_0_0_3"),
                           in("Mesh_fd00__2"), out("Mesh_fd00__2"), in("Mesh_fd00__3"), out("Mesh_fd00__3"),
                           in("Global_10_1_0_1"), out("Global_10_1_0_1")));
}

TEST(Reloads, OfTextThatIsNoConfigurationAreNone) {
  for (const auto* text :
       {"", "\"", "protocol", "protocol bgp", "protocol bgp x", "filter", "}\n{\n\"\n", "#\n\n"}) {
    EXPECT_THAT(reloads_of(text), IsEmpty()) << text;
    EXPECT_THAT(reloads_between(text, text), IsEmpty()) << text;
  }
}

}  // namespace
}  // namespace ocicat::dataplane
