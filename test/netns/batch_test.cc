// A label and a policy that change in one batch: packets see both changes or neither.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "engine/engine.h"
#include "netns/agent_host.h"
#include "test/support/random.h"
#include "test/support/world.h"

namespace ocicat::test {
namespace {

using dataplane::Datapath;

// a has a role; b lets in who has a role.
class OneBatch : public testing::TestWithParam<std::tuple<Datapath, Family>> {
 protected:
  OneBatch() { become("red", "blue"); }

  void become(const std::string& role, const std::string& allowed) {
    World next;
    next.with_namespace("shop")
        .with_pod("shop/a", {"10.65.0.2", "fd00:65::2"}, {{"role", role}})
        .with_pod("shop/b", {"10.65.0.3", "fd00:65::3"}, {{"app", "b"}});
    Rule allow{.action = Action::kAllow};
    allow.source.selector = "role == '" + allowed + "'";
    auto policy = ingress_in("shop", "roles", {allow});
    policy.selector = "app == 'b'";
    next.with_policy(policy);
    agent_.apply(engine_.update(ResourceChanges::between(world_.snapshot, next.snapshot)));
    world_ = next;
  }
  RawPacket to_b() const { return probe(a_.address(family()), b_.address(family()), kUdp, 53); }
  bool passes() const { return !bed_.arriving(a_, b_, {to_b()}).empty(); }
  Family family() const { return std::get<Family>(GetParam()); }

  World world_;
  Engine engine_{{.node = "host1", .dictionary = {}}};
  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Station& b_ = bed_.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  PinFolder pins_;
  AgentHost agent_{bed_, pins_.options(std::get<Datapath>(GetParam()))};
};

// Red one time and blue the next, a may never speak to b; either change alone would let it.
TEST_P(OneBatch, OfALabelAndAPolicyHasNoMomentInBetween) {
  constexpr int kFlips = 60, kFlooded = 600;  // at least
  std::atomic<bool> ended = false;
  std::atomic<int> sent = 0;
  b_.received();
  std::thread flood([&] {
    while (!ended) {
      std::vector<RawPacket> packets(16);
      for (auto& packet : packets) packet = to_b();  // each a new connection
      a_.send(packets);
      sent += static_cast<int>(packets.size());
    }
  });
  for (int i = 0; i < kFlips || sent < kFlooded; ++i) {
    if (i % 2 == 0) become("blue", "red");
    if (i % 2 != 0) become("red", "blue");
  }
  ended = true;
  flood.join();
  EXPECT_FALSE(passes());
  EXPECT_EQ(b_.received().size(), 0U);
}

TEST_P(OneBatch, IsWhatKeepsThemApartFromTwo) {
  EXPECT_FALSE(passes());
  become("blue", "blue");
  EXPECT_TRUE(passes());
  become("blue", "red");
  EXPECT_FALSE(passes());
}

// a is of a class that b lets nobody of in; addresses beside it are of one that b lets in, one time, and of
// others or of none the next.
TEST(AddressesBesideOneAnother, ComeAndGoWithoutAMomentInWhichOneIsTakenForAnother) {
  constexpr int kRounds = 300, kFlooded = 600;  // at least
  const auto seed = any_seed();
  SCOPED_TRACE(fmt::format("OCICAT_SEED={}", seed));
  Random random(seed);
  Testbed bed;
  Station& a = bed.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Station& b = bed.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  PinFolder pins;
  AgentHost agent(bed, pins.options(Datapath::kEbpf));
  auto state = first_state(0);
  add_pod(state, "a", a, kDenyAll, kAllowAll);
  add_pod(state, "b", b, kWebFromClass1, kDenyAll);
  state.tables.classes.update(Prefix::host(a.address(Family::kIpv4)), policy::ClassId{2});
  agent.apply(std::move(state));
  std::atomic<bool> ended = false;
  std::atomic<int> sent = 0;
  b.received();
  std::thread flood([&] {
    for (std::uint16_t port = 1024; !ended;) {
      std::vector<RawPacket> packets(16);
      for (auto& packet : packets) {
        packet = probe(a.address(Family::kIpv4), b.address(Family::kIpv4), kTcp, 80);
        packet.packet.source_port = port++;  // each a new connection
      }
      a.send(packets);
      sent += static_cast<int>(packets.size());
    }
  });
  for (int i = 0; i < kRounds || sent < kFlooded; ++i) {
    HostChanges changes;
    for (auto left = 1 + random.below(6); left > 0; --left) {
      const auto address = IpAddress::v4(0x0a410000 + static_cast<std::uint32_t>(random.below(80)));
      const Prefix beside{address, static_cast<std::uint8_t>(random.percent(80) ? 32 : 26 + random.below(6))};
      if (address == a.address(Family::kIpv4)) continue;
      if (random.percent(30)) {
        changes.tables.classes.remove(beside.masked());
      } else {
        changes.tables.classes.update(beside.masked(),
                                      policy::ClassId{1 + 2 * static_cast<unsigned>(random.below(8))});
      }
    }
    agent.apply(std::move(changes));
  }
  ended = true;
  flood.join();
  EXPECT_EQ(b.received().size(), 0U);
  HostChanges last;
  last.tables.classes.update(Prefix::host(a.address(Family::kIpv4)), policy::ClassId{1});
  agent.apply(std::move(last));
  EXPECT_FALSE(
      bed.arriving(a, b, {probe(a.address(Family::kIpv4), b.address(Family::kIpv4), kTcp, 80)}).empty());
}

INSTANTIATE_TEST_SUITE_P(All, OneBatch,
                         testing::Combine(testing::Values(Datapath::kNftables, Datapath::kEbpf),
                                          testing::ValuesIn(kFamilies)),
                         [](const auto& param) {
                           return fmt::format(
                               "{}{}", std::get<0>(param.param) == Datapath::kEbpf ? "Ebpf" : "Nftables",
                               std::get<1>(param.param) == Family::kIpv4 ? "Ipv4" : "Ipv6");
                         });

}  // namespace
}  // namespace ocicat::test
