// eBPF on a kernel without tcx: programs are attached by traffic control's filters.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <net/if.h>

#include "dataplane/ebpf/objects.h"
#include "kernel/bpf_abilities.h"
#include "kernel/filters.h"
#include "netns/agent_host.h"

namespace ocicat::test {
namespace {

using dataplane::Datapath;
using kernel::bpf::Hook;

class EbpfFilters : public testing::Test {
 protected:
  enum class By { kFilters, kLinks };

  // b lets in TCP port 80 from a; a may send anything and lets nobody in.
  dataplane::Report start(Datapath datapath, By by = By::kFilters) {
    agent_.reset();
    auto options = pins_.options(datapath);
    options.usable.tcx = by == By::kLinks;
    agent_.emplace(bed_, std::move(options));
    auto changes = first_state(++revision_);
    add_pod(changes, "a", a_, kDenyAll, kAllowAll);
    add_pod(changes, "b", b_, kWebFromClass1, kDenyAll);
    changes.tables.classes.update(Prefix::host(a_.address(Family::kIpv4)), policy::ClassId{1});
    agent_->put(changes);
    return agent_->await_revision(revision_);
  }
  bool passes(std::uint16_t port) {
    return !bed_.arriving(a_, b_, {probe(a_.address(Family::kIpv4), b_.address(Family::kIpv4), kTcp, port)})
                .empty();
  }
  void expect_policy() {
    EXPECT_TRUE(passes(80));
    EXPECT_FALSE(passes(81));
  }
  std::uint32_t filter(const char* interface, Hook hook) const {
    std::uint32_t program = 0;
    bed_.host().run([&] {
      auto filters = kernel::Filters::open();
      CHECK(filters);
      const auto there = filters->program(static_cast<int>(::if_nametoindex(interface)), hook);
      CHECK(there);
      program = *there;
    });
    return program;
  }
  std::size_t link_pins() const {
    const auto folder = pins_.path() / "links";
    if (!std::filesystem::exists(folder)) return 0;
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
  }

  std::uint64_t revision_ = 0;
  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Station& b_ = bed_.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  PinFolder pins_;
  std::optional<AgentHost> agent_;
};

TEST_F(EbpfFilters, EnforcePolicyAndOutliveTheAgent) {
  start(Datapath::kEbpf);
  EXPECT_NE(filter("calia", Hook::kIngress), 0U);
  EXPECT_NE(filter("calia", Hook::kEgress), 0U);
  EXPECT_NE(filter("uplink", Hook::kIngress), 0U);
  EXPECT_EQ(filter("uplink", Hook::kEgress), 0U);
  EXPECT_EQ(link_pins(), 0U);
  expect_policy();
  agent_.reset();
  expect_policy();
  EXPECT_EQ(start(Datapath::kEbpf).kernel_writes, 0U);
  expect_policy();
}

TEST_F(EbpfFilters, OfAnotherBuildAreReplacedInTheirPlaces) {
  start(Datapath::kEbpf);
  const auto before = filter("calia", Hook::kIngress);
  agent_.reset();
  pins_.change_build();
  start(Datapath::kEbpf);
  EXPECT_NE(filter("calia", Hook::kIngress), before);
  EXPECT_NE(filter("calia", Hook::kIngress), 0U);
  expect_policy();
}

TEST_F(EbpfFilters, AreMadeAgainWhereSomebodyRemovesThem) {
  start(Datapath::kEbpf);
  bed_.host().run([] { shell("tc qdisc del dev calib clsact"); });
  agent_->await([&](const auto&) { return filter("calib", Hook::kEgress) != 0; });
  expect_policy();
}

TEST_F(EbpfFilters, MakeRoomForLinksAndLinksForThem) {
  start(Datapath::kEbpf);
  start(Datapath::kEbpf, By::kLinks);
  EXPECT_EQ(filter("calia", Hook::kIngress), 0U);
  EXPECT_EQ(link_pins(), 5U);
  expect_policy();
  start(Datapath::kEbpf);
  EXPECT_NE(filter("calia", Hook::kIngress), 0U);
  EXPECT_EQ(link_pins(), 0U);
  expect_policy();
}

// As soon as somebody asks for it, with the agent as it is.
TEST_F(EbpfFilters, AreUsedInsteadOfLinksWhereSomebodyAsksForThem) {
  using AttachType = HostSettings::AttachType;
  const auto can = kernel::bpf::abilities();
  ASSERT_TRUE(can) << can.error().message;
  if (!can->tcx) GTEST_SKIP() << "this kernel has no links at interfaces";
  start(Datapath::kEbpf, By::kLinks);
  for (const auto& [type, filters, links] : {std::tuple{AttachType::kTc, true, 0U},
                                             {AttachType::kBest, false, 5U},
                                             {AttachType::kTc, true, 0U},
                                             {AttachType::kTcx, false, 5U}}) {
    auto changes = at_revision(++revision_);
    changes.settings.emplace().attach_type = type;
    agent_->put(changes);
    EXPECT_THAT(agent_->await_revision(revision_).notes,
                testing::Not(testing::Contains(testing::HasSubstr("TCX"))));
    EXPECT_EQ(filter("calia", Hook::kIngress) != 0, filters);
    EXPECT_EQ(link_pins(), links);
    expect_policy();
  }
}

TEST_F(EbpfFilters, AreUsedAndItIsSaidWhereTheKernelHasNotWhatIsAskedFor) {
  start(Datapath::kEbpf);
  auto changes = at_revision(++revision_);
  changes.settings.emplace().attach_type = HostSettings::AttachType::kTcx;
  agent_->put(changes);
  EXPECT_THAT(agent_->await_revision(revision_).notes,
              testing::Contains(testing::HasSubstr("bpfAttachType: TCX")));
  EXPECT_EQ(link_pins(), 0U);
  expect_policy();
}

TEST_F(EbpfFilters, GoWithTheDatapath) {
  start(Datapath::kEbpf);
  start(Datapath::kNftables);
  EXPECT_EQ(filter("calia", Hook::kIngress), 0U);
  EXPECT_EQ(filter("calia", Hook::kEgress), 0U);
  bed_.host().run([] { shell("! tc qdisc show dev calia | grep -q clsact"); });
  expect_policy();
}

TEST_F(EbpfFilters, StandBesideThoseOfOthers) {
  constexpr const char* kTheirs =
      "tc filter add dev calia egress protocol all pref 7 bpf bytecode '1,6 0 0 4294967295,'";
  bed_.host().run([&] { shell(fmt::format("tc qdisc add dev calia clsact; {}", kTheirs)); });
  start(Datapath::kEbpf);
  expect_policy();
  start(Datapath::kNftables);
  bed_.host().run([] { shell("tc filter show dev calia egress | grep -q 'pref 7 bpf'"); });
}

// Nothing is left half enforced: who has host endpoints is told what to do.
TEST_F(EbpfFilters, HostEndpointsAreRefusedWhereTheKernelHasNoPlaceForTheirPrograms) {
  auto options = pins_.options(Datapath::kEbpf);
  options.usable.netfilter = options.usable.asking = false;
  agent_.emplace(bed_, options);
  auto changes = first_state(1);
  add_pod(changes, "a", a_, kAllowAll, kAllowAll);
  add_pod(changes, "b", b_, kAllowAll, kAllowAll);
  agent_->put(changes);
  agent_->await_revision(1);
  EXPECT_TRUE(passes(81));
  auto more = at_revision(2);
  more.tables.chains.update(policy::ChainId{1}, {policy::VocabularyId{1}, kDenyAll});
  HostEndpointState edge{.id = 3, .interface_name = "uplink"};
  edge.chains[0][policy::index_of({policy::ChainKind::kForward, policy::Direction::kEgress})] =
      policy::ChainId{1};
  more.host_endpoints.update({Kind::kHostEndpoint, "", "edge"}, edge);
  agent_->put(more);
  const auto report = agent_->await([](const auto& one) { return !one.error.empty(); });
  EXPECT_NE(report.error.find("host endpoints"), std::string::npos) << report.error;
  EXPECT_EQ(report.host_endpoints.begin()->second, dataplane::HostEndpointStatus::kError);
}

}  // namespace
}  // namespace ocicat::test
