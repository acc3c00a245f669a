// What workloads can and cannot do on a host that a dataplane keeps.
#include <gtest/gtest.h>

#include <sys/wait.h>
#include <array>
#include <cerrno>

#include "netns/agent_host.h"
#include "netns/host_ear.h"

namespace ocicat::test {
namespace {

using dataplane::Datapath;

class Enforcement : public testing::TestWithParam<std::tuple<Datapath, Family>> {
 protected:
  Family family() const { return std::get<Family>(GetParam()); }
  void start(policy::ProgramId ingress, policy::ProgramId egress) {
    auto changes = first_state(1);
    add_pod(changes, "a", a_, kAllowAll, egress);
    add_pod(changes, "b", b_, ingress, kAllowAll);
    agent_.put(changes);
    agent_.await_revision(1);
  }
  void change(HostChanges changes) {
    changes.revisions[Kind::kPod].revision = ++revision_;
    agent_.put(std::move(changes));
    agent_.await_revision(revision_);
  }
  bool passes(const Station& from, const Station& to, const RawPacket& packet) {
    return !bed_.arriving(from, to, {packet}).empty();
  }
  bool passes(const Station& from, const Station& to, Protocol protocol, std::uint16_t port) {
    return passes(from, to, probe(from.address(family()), to.address(family()), protocol, port));
  }
  Protocol icmp() const { return family() == Family::kIpv4 ? kIcmp : kIcmpV6; }
  // Whether what a sends to b is answered by a reset, or of UDP an error, within so many seconds. b itself
  // sends none.
  bool is_refused(double seconds, bool udp = false) {
    return error_for(b_.address(family()), seconds, udp) == ECONNREFUSED;
  }
  // What the network tells a within so many seconds of what it sends there (errno); another one, or 0, where it
  // says nothing. The first answer ends it: a socket that went on would ask more often than is told (see below).
  int error_for(const IpAddress& destination, double seconds, bool udp) {
    int status = 0;
    a_.ns().run([&] {
      const char* socket_family = family() == Family::kIpv4 ? "AF_INET" : "AF_INET6";
      status = std::system(fmt::format("python3 -c \"import socket, sys\n"
                                       "s = socket.socket(socket.{}, socket.{})\n"
                                       "s.settimeout({})\n"
                                       "s.setsockopt(*{}, 1)\n"  // to hear of what may pass as well
                                       "done = s.connect_ex(('{}', 80))\n"
                                       "if done: sys.exit(done)\n"
                                       "s.send(b'x')\n"
                                       "try: s.recv(1)\n"
                                       "except OSError as failed: done = failed.errno\n"
                                       "sys.exit(done or 0)\"",
                                       socket_family, udp ? "SOCK_DGRAM" : "SOCK_STREAM", seconds,
                                       family() == Family::kIpv4 ? "(0, 11)" : "(41, 25)",  // IP_RECVERR
                                       destination.to_string())
                               .c_str());
    });
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
  }
  // How many packets a chain of somebody else, after ours, has seen since the last call.
  int seen_by_host_input() { return bed_.counted_by("other", "seen"); }

  std::uint64_t revision_ = 1;
  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Station& b_ = bed_.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  PinFolder pins_;
  AgentHost agent_{bed_, pins_.options(std::get<Datapath>(GetParam()))};
};

TEST_P(Enforcement, LetsThroughWhatBothSidesAllow) {
  start(kAllowAll, kAllowAll);
  EXPECT_TRUE(passes(a_, b_, kTcp, 80));
  EXPECT_TRUE(passes(a_, b_, kUdp, 53));
  EXPECT_TRUE(passes(a_, b_, kSctp, 5000));
  EXPECT_TRUE(passes(a_, b_, icmp(), 0));
  EXPECT_TRUE(passes(bed_.outside(), b_, kTcp, 80));
}

TEST_P(Enforcement, DropsWhatTheReceiversIngressDenies) {
  start(kDenyAll, kAllowAll);
  EXPECT_FALSE(passes(a_, b_, kTcp, 80));
  EXPECT_FALSE(passes(bed_.outside(), b_, kUdp, 53));
  EXPECT_TRUE(passes(b_, a_, kTcp, 80));
}

TEST_P(Enforcement, DropsWhatTheSendersEgressDenies) {
  start(kAllowAll, kDenyAll);
  EXPECT_FALSE(passes(a_, b_, kTcp, 80));
  EXPECT_FALSE(passes(a_, bed_.outside(), kTcp, 80));
  EXPECT_TRUE(passes(bed_.outside(), a_, kTcp, 80));
}

TEST_P(Enforcement, FollowsAnAddressThatJoinsAClass) {
  start(kWebFromClass1, kAllowAll);
  EXPECT_FALSE(passes(a_, b_, kTcp, 80));
  HostChanges joins;
  joins.tables.classes.update(Prefix::host(a_.address(family())), policy::ClassId{1});
  change(joins);
  EXPECT_TRUE(passes(a_, b_, kTcp, 80));
  EXPECT_FALSE(passes(a_, b_, kTcp, 81));
  HostChanges leaves;
  leaves.tables.classes.remove(Prefix::host(a_.address(family())));
  change(leaves);
  EXPECT_FALSE(passes(a_, b_, kTcp, 80));
}

TEST_P(Enforcement, TakesForNoneOfAProtocolWhatIsOfItBehindAnAuthenticationOrMobilityHeader) {
  start(kWebFromClass1, kAllowAll);
  HostChanges web;
  web.tables.classes.update(Prefix::host(a_.address(family())), policy::ClassId{1});
  change(web);
  EXPECT_FALSE(passes(a_, b_, kAuthentication, 80));
  EXPECT_FALSE(passes(a_, b_, kMobility, 80));
  EXPECT_TRUE(passes(a_, b_, kTcp, 80));
  HostChanges all;
  add_pod(all, "b", b_, kAllowAll, kAllowAll);
  change(all);
  EXPECT_TRUE(passes(a_, b_, kMobility, 80));
}

TEST_P(Enforcement, DropsPacketsFromAddressesThatAreNotTheSenders) {
  start(kAllowAll, kAllowAll);
  const bool v4 = family() == Family::kIpv4;
  const auto& target = bed_.outside().address(family());
  const std::array v4_forged{"10.65.0.3", "192.0.2.254", "203.0.113.9"};
  const std::array v6_forged{"fd00:65::3", "2001:db8::fe", "2001:db8:f::9"};
  for (const auto* forged : v4 ? v4_forged : v6_forged) {
    EXPECT_FALSE(passes(a_, bed_.outside(), probe(*IpAddress::parse(forged), target, kUdp, 53))) << forged;
  }
  EXPECT_TRUE(passes(a_, bed_.outside(), kUdp, 53));
}

TEST_P(Enforcement, DropsPacketsToAnAddressThatIsNotTheReceivers) {
  start(kAllowAll, kAllowAll);
  const auto* other = family() == Family::kIpv4 ? "10.65.0.9" : "fd00:65::9";
  bed_.host().run([&] {
    shell(fmt::format(
        "ip route add {0} dev calib; ip neigh add {0} dev calib lladdr 02:00:00:00:00:01 nud permanent",
        other));
  });
  EXPECT_FALSE(passes(a_, b_, probe(a_.address(family()), *IpAddress::parse(other), kUdp, 53)));
}

TEST_P(Enforcement, DropsInvalidPacketsUnlessToldOtherwise) {
  start(kAllowAll, kAllowAll);
  auto odd = probe(a_.address(family()), b_.address(family()), kTcp, 80);
  odd.tcp_flags = 0x03;  // SYN and FIN at once
  EXPECT_FALSE(passes(a_, b_, odd));
  HostChanges lenient;
  lenient.settings.emplace().drop_invalid = false;
  change(lenient);
  EXPECT_TRUE(passes(a_, b_, odd));
}

TEST_P(Enforcement, TellsAWorkloadThatNoRouteLeadsThereAndNothingOfWhatIsForTheHost) {
  start(kAllowAll, kAllowAll);
  bed_.host().run([] { shell("ip route del default; ip -6 route del default"); });
  const bool v4 = family() == Family::kIpv4;
  const auto nowhere = *IpAddress::parse(v4 ? "198.51.100.9" : "3fff::9");
  for (const bool udp : {false, true}) {
    EXPECT_EQ(error_for(nowhere, 5, udp), ENETUNREACH) << udp;
    EXPECT_NE(error_for(Testbed::host_address(family()), 0.3, udp), ENETUNREACH) << udp;
  }
  bed_.host().run(
      [&] { shell(fmt::format("ip addr add {}/{} dev lo", nowhere.to_string(), v4 ? 32 : 128)); });
  for (int tries = 0; error_for(nowhere, 0.3, false) == ENETUNREACH; ++tries) ASSERT_LT(tries, 100);
  bed_.host().run(
      [&] { shell(fmt::format("ip addr del {}/{} dev lo", nowhere.to_string(), v4 ? 32 : 128)); });
  // The kernel tells a sender once in two seconds: who asks more often is never told (ip_error() and icmp_send() each take a
  // second's worth of what that sender may be told).
  for (int tries = 0; error_for(nowhere, 2.5, true) != ENETUNREACH; ++tries) ASSERT_LT(tries, 20);
}

// What only one of them does.
class EnforcementByNftables : public Enforcement {};
class EnforcementByEbpf : public Enforcement {};

TEST_P(EnforcementByNftables, LetsRepliesThroughAndOpenConnectionsThatMayStayOutliveANewDeny) {
  start(kAllowAll, kAllowAll);
  HostChanges lenient;
  lenient.settings.emplace().open_connections = OpenConnections::kStay;
  change(lenient);
  auto request = probe(a_.address(family()), b_.address(family()), kUdp, 53);
  EXPECT_TRUE(passes(a_, b_, request));
  auto reply = request;
  std::swap(reply.packet.source, reply.packet.destination);
  std::swap(reply.packet.source_port, reply.packet.destination_port);
  HostChanges closed;
  add_pod(closed, "a", a_, kDenyAll, kDenyAll);
  change(closed);
  EXPECT_TRUE(passes(b_, a_, reply));
  EXPECT_TRUE(passes(a_, b_, request));
  EXPECT_FALSE(passes(a_, b_, kUdp, 54));
}

TEST_P(Enforcement, DropsWhatComesFromAWorkloadInterfaceThatNobodyKnows) {
  start(kAllowAll, kAllowAll);
  auto& stranger = bed_.add_pod("x", "10.65.0.4", "fd00:65::4");
  EXPECT_FALSE(passes(stranger, b_, kTcp, 80));
  EXPECT_FALSE(passes(b_, stranger, kTcp, 80));
  HostChanges known;
  add_pod(known, "x", stranger, kAllowAll, kAllowAll);
  change(known);
  EXPECT_TRUE(passes(stranger, b_, kTcp, 80));
}

// As one whose policy would take more entries than there may be.
TEST_P(Enforcement, DeniesAllToAWorkloadWhoseAddressesHaveNoPrograms) {
  start(kAllowAll, kAllowAll);
  EXPECT_TRUE(passes(a_, b_, kTcp, 80));
  HostChanges denied;
  denied.endpoints.update(pod_key("b"), EndpointState{b_.interface(), {}});
  denied.revisions[Kind::kPod].revision = ++revision_;
  agent_.put(std::move(denied));
  // It is in force, and b is not ready: nobody is told that it works.
  agent_.await([&](const dataplane::Report& report) {
    const auto found = report.revisions.find(Kind::kPod);
    return found != report.revisions.end() && found->second.revision == revision_ &&
           report.endpoints_ready == report.endpoints - 1;
  });
  EXPECT_FALSE(passes(a_, b_, kTcp, 81));
  EXPECT_FALSE(passes(bed_.outside(), b_, kUdp, 53));
  EXPECT_FALSE(passes(b_, a_, kTcp, 80));
  HostChanges again;
  add_pod(again, "b", b_, kAllowAll, kAllowAll);
  change(again);
  EXPECT_TRUE(passes(a_, b_, kTcp, 82));
}

TEST_P(Enforcement, AsksTheSettingWhetherAWorkloadMayReachItsHost) {
  start(kAllowAll, kAllowAll);
  bed_.host().run([] {
    shell(
        "nft 'add table inet other; add counter inet other seen;"
        "add chain inet other in { type filter hook input priority 50; };"
        "add rule inet other in udp dport 7 counter name seen'");
  });
  const auto* host = family() == Family::kIpv4 ? "192.0.2.254" : "2001:db8::fe";
  const auto sent_to_host = [&] { return probe(a_.address(family()), *IpAddress::parse(host), kUdp, 7); };
  bed_.arriving(a_, b_, {sent_to_host()});  // and waits until it has been dealt with
  EXPECT_EQ(seen_by_host_input(), 0);
  for (const auto action : {HostSettings::ToHost::kAccept, HostSettings::ToHost::kReturn}) {
    HostChanges open;
    open.settings.emplace().endpoint_to_host = action;
    change(open);
    bed_.arriving(a_, b_, {sent_to_host()});
    EXPECT_EQ(seen_by_host_input(), 1);
  }
  HostChanges denied;  // egress policy comes first
  add_pod(denied, "a", a_, kAllowAll, kDenyAll);
  change(denied);
  bed_.arriving(a_, b_, {sent_to_host()});
  EXPECT_EQ(seen_by_host_input(), 0);
}

TEST_P(Enforcement, RefusesInsteadOfDroppingWhereTheSettingSaysSo) {
  start(kDenyAll, kAllowAll);
  EXPECT_FALSE(is_refused(0.3));
  HostChanges reject;
  reject.settings.emplace().reject = true;
  change(reject);
  EXPECT_TRUE(is_refused(30));
  EXPECT_TRUE(is_refused(30, true));
  HostChanges at_sender;
  add_pod(at_sender, "a", a_, kAllowAll, kDenyAll);
  add_pod(at_sender, "b", b_, kAllowAll, kAllowAll);
  change(at_sender);
  EXPECT_TRUE(is_refused(30));
  EXPECT_TRUE(is_refused(30, true));
}

TEST_P(Enforcement, ServesInterfacesOutsideTheWorkloadPrefixesToo) {
  start(kAllowAll, kAllowAll);
  HostChanges renamed;  // now no prefix covers cali…
  renamed.settings.emplace().workload_prefixes = {"tap"};
  add_pod(renamed, "b", b_, kDenyAll, kAllowAll);
  change(renamed);
  EXPECT_FALSE(passes(a_, b_, kTcp, 80));
  EXPECT_TRUE(passes(b_, a_, kTcp, 80));
  const auto forged = family() == Family::kIpv4 ? "10.65.0.3" : "fd00:65::3";
  EXPECT_FALSE(passes(a_, bed_.outside(),
                      probe(*IpAddress::parse(forged), bed_.outside().address(family()), kUdp, 53)));
}

TEST_P(EnforcementByEbpf, StopsOpenConnectionsByANewDenyAndResumesThemByANewAllow) {
  start(kAllowAll, kAllowAll);
  const auto request = probe(a_.address(family()), b_.address(family()), kUdp, 53);
  auto reply = request;
  std::swap(reply.packet.source, reply.packet.destination);
  std::swap(reply.packet.source_port, reply.packet.destination_port);
  ++reply.token;
  EXPECT_TRUE(passes(a_, b_, request));
  EXPECT_TRUE(passes(b_, a_, reply));
  HostChanges closed;
  add_pod(closed, "b", b_, kDenyAll, kAllowAll);
  change(closed);
  EXPECT_FALSE(passes(b_, a_, reply));  // what the other side says belongs to it
  EXPECT_FALSE(passes(a_, b_, request));
  EXPECT_TRUE(passes(b_, a_, kUdp, 53));  // a connection of its own
  HostChanges open;
  add_pod(open, "b", b_, kAllowAll, kAllowAll);
  change(open);
  EXPECT_TRUE(passes(a_, b_, request));
  EXPECT_TRUE(passes(b_, a_, reply));
}

TEST_P(EnforcementByEbpf, StopsOpenConnectionsOfAnAddressThatLeavesItsClassAndNoOthers) {
  start(kWebFromClass1, kAllowAll);
  HostChanges joins;
  joins.tables.classes.update(Prefix::host(a_.address(family())), policy::ClassId{1});
  joins.tables.classes.update(Prefix::host(bed_.outside().address(family())), policy::ClassId{1});
  change(joins);
  const auto of_pod = probe(a_.address(family()), b_.address(family()), kTcp, 80);
  const auto of_outside = probe(bed_.outside().address(family()), b_.address(family()), kTcp, 80);
  EXPECT_TRUE(passes(a_, b_, of_pod));
  EXPECT_TRUE(passes(bed_.outside(), b_, of_outside));
  HostChanges leaves;
  leaves.tables.classes.remove(Prefix::host(a_.address(family())));
  change(leaves);
  EXPECT_FALSE(passes(a_, b_, of_pod));
  EXPECT_TRUE(passes(bed_.outside(), b_, of_outside));
}

std::string name_of(const testing::TestParamInfo<std::tuple<Datapath, Family>>& info) {
  const auto& [datapath, family] = info.param;
  return fmt::format("{}{}", datapath == Datapath::kEbpf ? "Ebpf" : "Nftables",
                     family == Family::kIpv4 ? "Ipv4" : "Ipv6");
}

INSTANTIATE_TEST_SUITE_P(All, Enforcement,
                         testing::Combine(testing::Values(Datapath::kNftables, Datapath::kEbpf),
                                          testing::ValuesIn(kFamilies)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(All, EnforcementByNftables,
                         testing::Combine(testing::Values(Datapath::kNftables), testing::ValuesIn(kFamilies)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(All, EnforcementByEbpf,
                         testing::Combine(testing::Values(Datapath::kEbpf), testing::ValuesIn(kFamilies)),
                         name_of);

class NeighbourDiscovery : public testing::TestWithParam<Datapath> {};

TEST_P(NeighbourDiscovery, FindsTheHostWithoutAnyHelp) {
  Testbed bed;
  auto& a = bed.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  const PinFolder pins;
  AgentHost agent(bed, pins.options(GetParam()));
  auto changes = first_state(1);
  changes.settings->endpoint_to_host = HostSettings::ToHost::kAccept;
  add_pod(changes, "a", a, kAllowAll, kAllowAll);
  agent.put(changes);
  agent.await_revision(1);
  a.ns().run([] {
    shell("ip neigh del fe80::ecee:eeff:feee:eeee dev eth0");
    shell("ping -6 -c 1 -W 10 2001:db8::fe > /dev/null");
  });
}

TEST_P(NeighbourDiscovery, OfTheKindsThatAWorkloadNeedsReachesItsHostWhateverPolicySays) {
  Testbed bed;
  auto& a = bed.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  auto& b = bed.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  const PinFolder pins;
  AgentHost agent(bed, pins.options(GetParam()));
  auto changes = first_state(1);
  changes.settings->endpoint_to_host = HostSettings::ToHost::kAccept;
  add_pod(changes, "a", a, kDenyAll, kDenyAll);
  add_pod(changes, "b", b, kAllowAll, kAllowAll);
  agent.put(changes);
  agent.await_revision(1);
  const HostEar ear(bed, Family::kIpv6);
  std::vector<RawPacket> packets;
  for (const auto type :
       {127U, 128U, 129U, 130U, 131U, 132U, 133U, 134U, 135U, 136U, 137U, 138U, 142U, 143U, 144U}) {
    RawPacket packet{.packet = {}, .token = type};
    packet.packet.source = a.address(Family::kIpv6);
    packet.packet.destination = Testbed::host_address(Family::kIpv6);
    packet.packet.protocol = kIcmpV6;
    packet.packet.icmp_type = static_cast<std::uint8_t>(type);
    packets.push_back(packet);
  }
  EXPECT_EQ(ear.arriving(a, b, packets), (std::set<std::uint32_t>{130, 131, 132, 133, 135, 136, 143}));
}

INSTANTIATE_TEST_SUITE_P(All, NeighbourDiscovery, testing::Values(Datapath::kNftables, Datapath::kEbpf),
                         [](const auto& one) { return one.param == Datapath::kEbpf ? "Ebpf" : "Nftables"; });

}  // namespace
}  // namespace ocicat::test
