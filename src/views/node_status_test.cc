#include "views/node_status.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <boost/json.hpp>

namespace ocicat::views {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

boost::json::object document(std::string_view bgp) {
  return boost::json::parse(
             fmt::format(R"({{"metadata": {{"name": "host1"}}, "status": {{"dataplane": "nftables",
    "endpoints": {{"wanted": 2, "ready": 2}}{}}}}})",
                         bgp))
      .as_object();
}

constexpr std::string_view kBgp =
    R"(, "bgp": {"running": true, "recovering": false, "established": 1, "wanted": 2,
  "sessions": [{"peerIP": "10.0.0.3", "node": "host3", "type": "NodeMesh", "state": "Active", "since": "now",
                "reason": "Socket: Connection refused", "imported": 0, "exported": 0},
               {"peerIP": "10.0.0.2", "node": "", "type": "GlobalPeer", "state": "Established", "since": "then",
                "reason": "", "imported": 7, "exported": 3}],
  "leftOut": [{"object": "BGPPeer tor", "reason": "there is no BGPFilter edge"}], "error": ""})";

TEST(NodeStatus, ShowsSessionsAndWhyOneIsDown) {
  const auto status = NodeStatus::read(document(kBgp));
  const auto text = to_text(status, {});
  EXPECT_THAT(text, HasSubstr("BGP: 1 of 2 sessions established"));
  EXPECT_THAT(text, HasSubstr("left out: BGPPeer tor: there is no BGPFilter edge"));
  EXPECT_THAT(text, testing::ContainsRegex(
                        "10.0.0.3 +host3 +NodeMesh +Active +now +0 +0 +Socket: Connection refused"));
  EXPECT_THAT(text, testing::ContainsRegex("10.0.0.2 +- +GlobalPeer +Established +then +7 +3\n"));
  EXPECT_THAT(bgp_troubles(status),
              ElementsAre("host1: BGPPeer tor is left out: there is no BGPFilter edge",
                          "host1: the session with 10.0.0.3 (host3) is Active: Socket: Connection refused"));
}

TEST(NodeStatus, NamesWhatTheAgentCannotReadOfBgp) {
  const auto read = document(R"(, "bgp": {"running": true, "established": 0, "wanted": 0, "sessions": []},
      "refused": [{"object": "BGPConfiguration default", "reason": "spec.nodeMeshMaxRestartTime: too long"},
                  {"object": "IPPool x", "reason": "odd"}])");
  const auto status = NodeStatus::read(read);
  EXPECT_THAT(
      bgp_troubles(status),
      ElementsAre("host1: BGPConfiguration default is left out: spec.nodeMeshMaxRestartTime: too long"));
  EXPECT_THAT(to_text(status, {}), HasSubstr("left out: BGPConfiguration default: spec.nodeMesh"));
  const auto json = to_json(status, read, {});
  const auto& left_out = json.at("bgp").at("leftOut").as_array();
  ASSERT_EQ(left_out.size(), 1U);
  EXPECT_EQ(left_out[0].at("object"), "BGPConfiguration default");
}

TEST(NodeStatus, ShowsTheMtuAndWhatTheKernelIsKeptFromDoing) {
  const auto read = document(R"(, "mtu": 1450, "routes": {"wanted": 7, "ready": 7},
      "tunnels": [{"interface": "tunl0", "mtu": 1480},
                  {"interface": "vxlan.calico", "mtu": 1450, "address": "10.0.0.1", "hosts": 3, "ends": 2}],
      "notes": ["vxlan.calico does not offload checksums: old"])");
  const auto status = NodeStatus::read(read);
  EXPECT_THAT(to_text(status, {}),
              HasSubstr("  workloads may send 1450 bytes at once (MTU)\n  tunnel tunl0: MTU 1480\n"
                        "  tunnel vxlan.calico: MTU 1450, address 10.0.0.1, ends of 2 of 3 other hosts\n"
                        "  routes: 7, all in the kernel\n"
                        "  note: vxlan.calico does"));
  const auto json = to_json(status, read, {});
  EXPECT_EQ(json.at("mtu"), 1450U);
  EXPECT_EQ(json.at("tunnels").at(0).at("mtu"), 1480U);
  EXPECT_EQ(json.at("tunnels").at(1).at("address"), "10.0.0.1");
  EXPECT_EQ(json.at("tunnels").at(1).at("ends"), 2U);
  EXPECT_EQ(json.at("routes").at("ready"), 7U);
  EXPECT_EQ(json.at("notes").as_array().size(), 1U);
}

TEST(NodeStatus, SaysWhereToLookWhereRoutesAreNotInTheKernel) {
  const auto status = NodeStatus::read(document(R"(, "routes": {"wanted": 7, "ready": 5})"));
  EXPECT_THAT(to_text(status, {}),
              HasSubstr("  routes: 5 of 7 in the kernel; see: ocicat routes --node host1\n"));
}

TEST(NodeStatus, OfAnAgentWithoutARouterSaysSoAndIsNoTrouble) {
  const auto status = NodeStatus::read(document(""));
  EXPECT_FALSE(status.bgp);
  EXPECT_THAT(to_text(status, {}), HasSubstr("BGP: this agent keeps no router"));
  EXPECT_THAT(bgp_troubles(status), IsEmpty());
}

TEST(NodeStatus, OfOddDocumentsIsReadAsFarAsItGoes) {
  const auto status =
      NodeStatus::read(document(R"(, "bgp": {"sessions": [1, {}, "x"], "leftOut": {}, "running": 5})"));
  ASSERT_TRUE(status.bgp);
  EXPECT_EQ(status.bgp->sessions.size(), 1U);
  EXPECT_FALSE(status.bgp->running);
  EXPECT_THAT(to_text(status, {}), HasSubstr("BIRD does not run"));
}

}  // namespace
}  // namespace ocicat::views
