// What belongs to a connection where host endpoints and workloads judge the same packets: found by
// host_agreement_test.cc.
#include <gtest/gtest.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <cerrno>
#include <cstring>

#include "base/unique_fd.h"
#include "netns/agent_host.h"
#include "netns/host_ear.h"

namespace ocicat::test {
namespace {

using dataplane::Datapath;
using policy::ChainId;
using policy::ChainKind;
using policy::Direction;
using policy::Hook;

constexpr ChainId kOpen{1}, kClosed{2}, kWeb{3};

enum class How { kNftables, kEbpf, kEbpfByRules };

class HostConnections : public testing::TestWithParam<How> {
 protected:
  // a: what it may be sent, and send.
  void start(policy::ProgramId ingress, policy::ProgramId egress) {
    auto changes = first_state(0);
    changes.tables.chains.update(kOpen, {policy::VocabularyId{1}, kAllowAll});
    changes.tables.chains.update(kClosed, {policy::VocabularyId{1}, kDenyAll});
    changes.tables.chains.update(kWeb, {policy::VocabularyId{1}, kWebFromClass1});
    add_pod(changes, "a", a_, ingress, egress);
    add_host_endpoint(changes);
    agent_.apply(std::move(changes));
  }
  void set_chain(Hook hook, ChainId chain) {
    for (auto& chains : endpoint_.chains) chains[policy::index_of(hook)] = chain;
  }
  void add_host_endpoint(HostChanges& changes) const {
    changes.host_endpoints.update({Kind::kHostEndpoint, "", "edge"}, endpoint_);
  }
  bool passes(const Station& from, const Station& to, const RawPacket& packet) {
    return !bed_.arriving(from, to, {packet}).empty();
  }
  // Whether an ICMP error of a's comes to who has sent this.
  bool tells_an_error_of(const RawPacket& asked) {
    RawPacket error{.token = new_token()};
    auto quoted = asked;
    quoted.token = error.token;
    error.packet = {asked.packet.destination, asked.packet.source, kIcmp, 0, 0, 3, 1};
    error.about = bytes_of(quoted);
    return bed_.arriving(bed_.outside(), [&] { a_.send_past_rules({bytes_of(error)}); })
        .contains(error.token);
  }
  sockaddr_in address_of_a() const {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(80);
    std::memcpy(&to.sin_addr, a_.address(Family::kIpv4).bytes().data() + 12, sizeof to.sin_addr);
    return to;
  }
  // How it ends that somebody outside connects to a (errno; 0: it is connected).
  int connecting() {
    int error = 0;
    bed_.outside().ns().run([&] {
      constexpr timeval kPatience{20, 0};
      const auto to = address_of_a();
      const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      CHECK(::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience) == 0);
      if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) error = errno;
    });
    return error;
  }
  static RawPacket answer_to(RawPacket packet) {
    std::swap(packet.packet.source, packet.packet.destination);
    std::swap(packet.packet.source_port, packet.packet.destination_port);
    packet.tcp_flags = kSyn | kAck;
    packet.answers = true;
    packet.token = new_token();
    return packet;
  }

  dataplane::Options options() const {
    auto options = pins_.options(GetParam() == How::kNftables ? Datapath::kNftables : Datapath::kEbpf);
    if (GetParam() == How::kEbpfByRules) options.usable.netfilter = false;
    return options;
  }

  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  HostEndpointState endpoint_{.id = 3, .interface_name = "uplink"};
  PinFolder pins_;
  AgentHost agent_{bed_, options()};
};

TEST_P(HostConnections, OfAHostToItsWorkloadAreAnsweredWhereTheHostMaySendNothing) {
  endpoint_.interface_name = "*";
  set_chain({ChainKind::kPreDnat, Direction::kIngress}, kOpen);
  set_chain({ChainKind::kNormal, Direction::kIngress}, kOpen);
  set_chain({ChainKind::kNormal, Direction::kEgress}, kClosed);
  start(kDenyAll, kDenyAll);
  for (const auto family : kFamilies) {
    const HostEar ear(bed_, family);
    for (const auto protocol : {kTcp, kUdp, kSctp}) {
      const auto& host = Testbed::host_address(family);
      const auto request = probe(host, a_.address(family), protocol, 80);
      const auto answer = answer_to(request);
      EXPECT_FALSE(
          ear.arriving(bed_.outside(), [&] { a_.send({probe(a_.address(family), host, protocol, 80)}); })
              .contains(answer.token));
      EXPECT_TRUE(bed_.arriving(a_, [&] { bed_.send_of_host({request}); }).contains(request.token));
      EXPECT_TRUE(ear.arriving(bed_.outside(), [&] { a_.send_past_rules({bytes_of(answer)}); })
                      .contains(answer.token))
          << int{protocol};
    }
  }
}

// What has passed the host endpoint, the workload refuses: then it has no answer to that, and what it sends between
// the same ports it begins itself.
TEST_P(HostConnections, ThatAWorkloadRefusesAreNotItsToAnswer) {
  set_chain({ChainKind::kForward, Direction::kIngress}, kOpen);
  set_chain({ChainKind::kForward, Direction::kEgress}, kClosed);
  start(kDenyAll, kAllowAll);
  std::vector<RawPacket> asked;
  for (const auto family : kFamilies) {
    for (const auto protocol : {kUdp, kTcp}) {
      asked.push_back(probe(bed_.outside().address(family), a_.address(family), protocol, 80));
      auto back = answer_to(asked.back());
      back.tcp_flags = kSyn;
      back.answers = false;
      EXPECT_FALSE(passes(bed_.outside(), a_, asked.back()));
      EXPECT_FALSE(passes(a_, bed_.outside(), back));
    }
  }
  // And once it may begin it, it is answered.
  set_chain({ChainKind::kForward, Direction::kEgress}, kOpen);
  set_chain({ChainKind::kForward, Direction::kIngress}, kClosed);
  HostChanges open;
  add_host_endpoint(open);
  agent_.apply(std::move(open));
  for (const auto& request : asked) {
    if (request.packet.protocol != kUdp) continue;
    EXPECT_TRUE(passes(a_, bed_.outside(), answer_to(request)));
    EXPECT_TRUE(passes(bed_.outside(), a_, request));
  }
}

// Nor does an ICMP error of the workload's pass that tells of it.
TEST_P(HostConnections, ThatAWorkloadRefusesAreNotItsToTellErrorsOf) {
  set_chain({ChainKind::kForward, Direction::kIngress}, kOpen);
  set_chain({ChainKind::kForward, Direction::kEgress}, kClosed);
  start(kDenyAll, kAllowAll);
  const auto asked = probe(bed_.outside().address(Family::kIpv4), a_.address(Family::kIpv4), kUdp, 80);
  EXPECT_FALSE(passes(bed_.outside(), a_, asked));
  EXPECT_FALSE(passes(a_, bed_.outside(), answer_to(asked)));
  EXPECT_FALSE(tells_an_error_of(asked));
}

// What can begin nothing, and belongs to nothing, is judged by itself where the setting says so, and not remembered.
TEST_P(HostConnections, AreNotBegunByAnAnswerToWhatTheWorkloadHasRefused) {
  set_chain({ChainKind::kForward, Direction::kIngress}, kOpen);
  set_chain({ChainKind::kForward, Direction::kEgress}, kWeb);
  const auto& outside = bed_.outside().address(Family::kIpv4);
  start(kDenyAll, kAllowAll);
  HostChanges lenient;
  lenient.settings.emplace().drop_invalid = false;
  lenient.tables.classes.update(Prefix::host(outside), policy::ClassId{1});
  agent_.apply(std::move(lenient));
  auto asked = probe(outside, a_.address(Family::kIpv4), kTcp, 2000);
  asked.packet.source_port = 80;
  EXPECT_FALSE(passes(bed_.outside(), a_, asked));
  EXPECT_TRUE(passes(a_, bed_.outside(), answer_to(asked)));
  EXPECT_FALSE(tells_an_error_of(asked));
  // It would come, if policy let it.
  set_chain({ChainKind::kForward, Direction::kEgress}, kOpen);
  HostChanges open;
  add_host_endpoint(open);
  agent_.apply(std::move(open));
  EXPECT_TRUE(tells_an_error_of(asked));
}

// The refusal is the host's, though it comes from the workload's interface.
TEST_P(HostConnections, ThatAWorkloadRefusesAreRefusedToTheirBeginnerWhereTheSettingSaysSo) {
  set_chain({ChainKind::kForward, Direction::kIngress}, kOpen);
  start(kDenyAll, kAllowAll);
  HostChanges reject;
  reject.settings.emplace().reject = true;
  agent_.apply(std::move(reject));
  EXPECT_EQ(connecting(), ECONNREFUSED);
}

// Where somebody else translates what comes to a workload, that knows the connection by another address.
TEST_P(HostConnections, WhoseBeginnerIsTranslatedAreAnswered) {
  set_chain({ChainKind::kForward, Direction::kIngress}, kOpen);
  start(kAllowAll, kAllowAll);
  bed_.host().run([] {
    shell(
        "nft 'add table inet others; add chain inet others out { type nat hook postrouting priority 100; }; "
        "add rule inet others out oifname \"cali*\" ip saddr 192.0.2.1 masquerade'");
  });
  UniqueFd listening;
  a_.ns().run([&] {
    shell("nft flush ruleset");
    const auto own = address_of_a();
    listening = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(::bind(listening.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0);
    CHECK(::listen(listening.get(), 1) == 0);
  });
  EXPECT_EQ(connecting(), 0);
}

const auto kNameOfHow = [](const auto& one) {
  return one.param == How::kNftables ? "Nftables" : one.param == How::kEbpf ? "Ebpf" : "by_rules";
};
INSTANTIATE_TEST_SUITE_P(All, HostConnections, testing::Values(How::kNftables, How::kEbpf, How::kEbpfByRules),
                         kNameOfHow);

}  // namespace
}  // namespace ocicat::test
