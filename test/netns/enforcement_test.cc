// What workloads can and cannot do on a host that a dataplane keeps.
#include <gtest/gtest.h>

#include <sys/wait.h>
#include <array>

#include "netns/agent_host.h"

namespace ocicat::test {
namespace {

class Enforcement : public testing::TestWithParam<Family> {
 protected:
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
    return passes(from, to, probe(from.address(GetParam()), to.address(GetParam()), protocol, port));
  }
  Protocol icmp() const { return GetParam() == Family::kIpv4 ? kIcmp : kIcmpV6; }
  // Whether a connection from a to b is answered by a reset within so many seconds. b itself sends none.
  bool is_refused(double seconds) {
    int status = 0;
    a_.ns().run([&] {
      const char* family = GetParam() == Family::kIpv4 ? "AF_INET" : "AF_INET6";
      status = std::system(fmt::format("python3 -c \"import socket, sys\n"
                                       "s = socket.socket(socket.{})\n"
                                       "s.settimeout({})\n"
                                       "sys.exit(42 if s.connect_ex(('{}', 80)) == 111 else 0)\"",
                                       family, seconds, b_.address(GetParam()).to_string())
                               .c_str());
    });
    return WIFEXITED(status) && WEXITSTATUS(status) == 42;
  }
  // How many packets a chain of somebody else, after ours, has seen since the last call.
  int seen_by_host_input() {
    int packets = -1;
    bed_.host().run([&] {
      FILE* out =
          ::popen("nft reset counter inet other seen | sed -n 's/.*packets \\([0-9]*\\).*/\\1/p'", "r");
      CHECK(out != nullptr && std::fscanf(out, "%d", &packets) == 1);
      ::pclose(out);
    });
    return packets;
  }

  std::uint64_t revision_ = 1;
  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Station& b_ = bed_.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  AgentHost agent_{bed_};
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
  joins.tables.classes.update(Prefix::host(a_.address(GetParam())), policy::ClassId{1});
  change(joins);
  EXPECT_TRUE(passes(a_, b_, kTcp, 80));
  EXPECT_FALSE(passes(a_, b_, kTcp, 81));
  HostChanges leaves;
  leaves.tables.classes.remove(Prefix::host(a_.address(GetParam())));
  change(leaves);
  EXPECT_FALSE(passes(a_, b_, kTcp, 80));
}

TEST_P(Enforcement, DropsPacketsFromAddressesThatAreNotTheSenders) {
  start(kAllowAll, kAllowAll);
  const bool v4 = GetParam() == Family::kIpv4;
  const auto& target = bed_.outside().address(GetParam());
  const std::array v4_forged{"10.65.0.3", "192.0.2.254", "203.0.113.9"};
  const std::array v6_forged{"fd00:65::3", "2001:db8::fe", "2001:db8:f::9"};
  for (const auto* forged : v4 ? v4_forged : v6_forged) {
    EXPECT_FALSE(passes(a_, bed_.outside(), probe(*IpAddress::parse(forged), target, kUdp, 53))) << forged;
  }
  EXPECT_TRUE(passes(a_, bed_.outside(), kUdp, 53));
}

TEST_P(Enforcement, DropsPacketsToAnAddressThatIsNotTheReceivers) {
  start(kAllowAll, kAllowAll);
  const auto* other = GetParam() == Family::kIpv4 ? "10.65.0.9" : "fd00:65::9";
  bed_.host().run([&] {
    shell(fmt::format(
        "ip route add {0} dev calib; ip neigh add {0} dev calib lladdr 02:00:00:00:00:01 nud permanent",
        other));
  });
  EXPECT_FALSE(passes(a_, b_, probe(a_.address(GetParam()), *IpAddress::parse(other), kUdp, 53)));
}

TEST_P(Enforcement, DropsInvalidPacketsUnlessToldOtherwise) {
  start(kAllowAll, kAllowAll);
  auto odd = probe(a_.address(GetParam()), b_.address(GetParam()), kTcp, 80);
  odd.tcp_flags = 0x03;  // SYN and FIN at once
  EXPECT_FALSE(passes(a_, b_, odd));
  HostChanges lenient;
  lenient.settings.emplace().drop_invalid = false;
  change(lenient);
  EXPECT_TRUE(passes(a_, b_, odd));
}

TEST_P(Enforcement, LetsRepliesThroughAndOpenConnectionsOutliveANewDeny) {
  start(kAllowAll, kAllowAll);
  auto request = probe(a_.address(GetParam()), b_.address(GetParam()), kUdp, 53);
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

TEST_P(Enforcement, AsksTheSettingWhetherAWorkloadMayReachItsHost) {
  start(kAllowAll, kAllowAll);
  bed_.host().run([] {
    shell(
        "nft 'add table inet other; add counter inet other seen;"
        "add chain inet other in { type filter hook input priority 50; };"
        "add rule inet other in udp dport 7 counter name seen'");
  });
  const auto* host = GetParam() == Family::kIpv4 ? "192.0.2.254" : "2001:db8::fe";
  const auto sent_to_host = [&] { return probe(a_.address(GetParam()), *IpAddress::parse(host), kUdp, 7); };
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
}

TEST_P(Enforcement, ServesInterfacesOutsideTheWorkloadPrefixesToo) {
  start(kAllowAll, kAllowAll);
  HostChanges renamed;  // now no prefix covers cali…
  renamed.settings.emplace().workload_prefixes = {"tap"};
  add_pod(renamed, "b", b_, kDenyAll, kAllowAll);
  change(renamed);
  EXPECT_FALSE(passes(a_, b_, kTcp, 80));
  EXPECT_TRUE(passes(b_, a_, kTcp, 80));
  const auto forged = GetParam() == Family::kIpv4 ? "10.65.0.3" : "fd00:65::3";
  EXPECT_FALSE(passes(a_, bed_.outside(),
                      probe(*IpAddress::parse(forged), bed_.outside().address(GetParam()), kUdp, 53)));
}

INSTANTIATE_TEST_SUITE_P(BothFamilies, Enforcement, testing::ValuesIn(kFamilies),
                         [](const auto& family) { return family.param == Family::kIpv4 ? "Ipv4" : "Ipv6"; });

TEST(NeighbourDiscovery, FindsTheHostWithoutAnyHelp) {
  Testbed bed;
  auto& a = bed.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  AgentHost agent(bed);
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

}  // namespace
}  // namespace ocicat::test
