// Connections that are open when the datapath changes, on a real kernel: nothing that may go on ends, nothing
// opens.
#include <gtest/gtest.h>

#include "netns/agent_host.h"

namespace ocicat::test {
namespace {

using dataplane::Datapath;
using policy::ProgramId;

constexpr std::uint8_t kSynAck = kSyn | kAck;

RawPacket answer_to(RawPacket packet, std::uint8_t tcp_flags = kAck) {
  std::swap(packet.packet.source, packet.packet.destination);
  std::swap(packet.packet.source_port, packet.packet.destination_port);
  packet.tcp_flags = tcp_flags;
  packet.token = new_token();
  return packet;
}

RawPacket once_more(RawPacket packet) {
  packet.tcp_flags = kAck;
  packet.token = new_token();
  return packet;
}

// a may send what it likes and lets nobody in; b lets in TCP port 80 of a and says nothing by itself.
class Handover : public testing::TestWithParam<Family> {
 protected:
  void start(Datapath datapath, ProgramId egress_of_a = kAllowAll) {
    agent_.reset();
    agent_.emplace(bed_, pins_.options(datapath));
    auto changes = first_state(++revision_);
    add_pod(changes, "a", a_, kDenyAll, egress_of_a);
    add_pod(changes, "b", b_, kWebFromClass1, kDenyAll);
    for (const auto family : kFamilies)
      changes.tables.classes.update(Prefix::host(a_.address(family)), policy::ClassId{1});
    agent_->put(changes);
    agent_->await_revision(revision_);
  }
  bool passes(const Station& from, const Station& to, const RawPacket& packet) {
    return !bed_.arriving(from, to, {packet}).empty();
  }
  RawPacket from_a(const Station& to, Protocol protocol, std::uint16_t port) {
    return probe(a_.address(GetParam()), to.address(GetParam()), protocol, port);
  }
  // Both have been asked, and have not answered yet.
  void open() {
    ASSERT_TRUE(passes(a_, b_, web_));
    ASSERT_TRUE(passes(a_, outside_, question_));
  }
  void expect_open() {
    EXPECT_TRUE(passes(b_, a_, answer_to(web_)));
    EXPECT_TRUE(passes(a_, b_, once_more(web_)));
    EXPECT_TRUE(passes(outside_, a_, answer_to(question_)));
    EXPECT_TRUE(passes(a_, outside_, once_more(question_)));
  }
  void expect_closed() {
    EXPECT_FALSE(passes(b_, a_, answer_to(web_)));
    EXPECT_FALSE(passes(a_, b_, once_more(web_)));
    EXPECT_FALSE(passes(outside_, a_, answer_to(question_)));
    EXPECT_FALSE(passes(a_, outside_, once_more(question_)));
  }
  // Nobody else may begin anything with a, nor b with anybody.
  void expect_nothing_opened() {
    auto stranger = answer_to(question_);
    stranger.packet.source_port = 54;
    EXPECT_FALSE(passes(outside_, a_, stranger));
    auto other = answer_to(web_, 0x02);
    other.packet.source_port = 81;
    EXPECT_FALSE(passes(b_, a_, other));
  }

  std::uint64_t revision_ = 0;
  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Station& b_ = bed_.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  Station& outside_ = bed_.outside();
  PinFolder pins_;
  std::optional<AgentHost> agent_;
  RawPacket web_ = from_a(b_, kTcp, 80), question_ = from_a(outside_, kUdp, 53);
};

TEST_P(Handover, WhatOneSideMayOpenGoesOnInBothDirections) {
  start(Datapath::kNftables);
  open();
  start(Datapath::kEbpf);
  ASSERT_TRUE(passes(b_, a_, answer_to(web_, kSynAck)));
  expect_open();
  expect_nothing_opened();
  start(Datapath::kNftables);
  expect_open();
  expect_nothing_opened();
  start(Datapath::kEbpf);
  expect_open();
  expect_nothing_opened();
}

TEST_P(Handover, WhatTheKernelNeverKnewOrHasForgottenGoesOnAsWell) {
  start(Datapath::kEbpf);
  open();
  ASSERT_TRUE(passes(b_, a_, answer_to(web_, kSynAck)));
  expect_open();
  bed_.forget_connections();
  start(Datapath::kNftables);
  expect_open();
  expect_nothing_opened();
}

TEST_P(Handover, WhatPolicyDeniesByNowEndsWithTheSwitch) {
  start(Datapath::kNftables);
  open();
  start(Datapath::kEbpf, kDenyAll);
  expect_closed();
  expect_nothing_opened();
  start(Datapath::kNftables, kDenyAll);
  expect_closed();
  expect_nothing_opened();
}

TEST_P(Handover, WhatNobodyHasAskedAboutSinceItWasDeniedEndsWithTheSwitchBack) {
  start(Datapath::kEbpf);
  open();
  ASSERT_TRUE(passes(b_, a_, answer_to(web_, kSynAck)));
  expect_open();
  start(Datapath::kNftables, kDenyAll);
  expect_closed();
  expect_nothing_opened();
}

INSTANTIATE_TEST_SUITE_P(Families, Handover, testing::ValuesIn(kFamilies),
                         [](const auto& of) { return of.param == Family::kIpv4 ? "IPv4" : "IPv6"; });

}  // namespace
}  // namespace ocicat::test
