// eBPF over restarts, upgrades and changes of datapath.
#include <gtest/gtest.h>

#include "dataplane/ebpf/objects.h"
#include "netns/agent_host.h"

namespace ocicat::test {
namespace {

using dataplane::Datapath;

class EbpfPersistence : public testing::Test {
 protected:
  // b lets in TCP port 80 from a; a may send anything and lets nobody in.
  dataplane::Report start(Datapath datapath) {
    agent_.reset();
    agent_.emplace(bed_, pins_.options(datapath));
    auto changes = first_state(++revision_);
    add_pod(changes, "a", a_, kDenyAll, kAllowAll);
    add_pod(changes, "b", b_, kWebFromClass1, kDenyAll);
    changes.tables.classes.update(Prefix::host(a_.address(Family::kIpv4)), policy::ClassId{1});
    if (has_host_endpoint_) add_host_endpoint(changes);
    agent_->put(changes);
    return agent_->await_revision(revision_);
  }
  // By which nothing goes out that the host forwards, and untracked policy lets nothing come in.
  static void add_host_endpoint(HostChanges& changes) {
    changes.tables.chains.update(policy::ChainId{1}, {policy::VocabularyId{1}, kDenyAll});
    HostEndpointState edge{.id = 3, .interface_name = "uplink"};
    for (auto& chains : edge.chains) {
      chains[policy::index_of({policy::ChainKind::kForward, policy::Direction::kEgress})] =
          policy::ChainId{1};
      chains[policy::index_of({policy::ChainKind::kUntracked, policy::Direction::kIngress})] =
          policy::ChainId{1};
    }
    changes.host_endpoints.update({Kind::kHostEndpoint, "", "edge"}, edge);
  }
  bool goes_out() {
    return passes(a_, bed_.outside(),
                  probe(a_.address(Family::kIpv4), bed_.outside().address(Family::kIpv4), kUdp, 53));
  }
  std::size_t host_pins() const {
    const auto folder = pins_.path() / "hosts";
    if (!std::filesystem::exists(folder)) return 0;
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
  }
  bool passes(const Station& from, const Station& to, const RawPacket& packet) {
    return !bed_.arriving(from, to, {packet}).empty();
  }
  RawPacket to_b(std::uint16_t port) {
    return probe(a_.address(Family::kIpv4), b_.address(Family::kIpv4), kTcp, port);
  }
  void expect_policy() {
    EXPECT_TRUE(passes(a_, b_, to_b(80)));
    EXPECT_FALSE(passes(a_, b_, to_b(81)));
  }
  std::filesystem::path map_file(const char* name) const {
    return pins_.path() / fmt::format("maps-v{}", static_cast<int>(bpf::LAYOUT_VERSION)) / name;
  }
  std::uint32_t attached_program() {
    for (const auto& entry : std::filesystem::directory_iterator(pins_.path() / "links")) {
      const auto link = kernel::bpf::open_pin(entry.path());
      CHECK(link);
      const auto info = kernel::bpf::info_of_link(link->get());
      CHECK(info);
      if (info->hook == kernel::bpf::Hook::kIngress) return info->program_id;
    }
    return 0;
  }

  // Whether the kernel asks the programs of host endpoints, and rules ask none but for untracked policy.
  const bool kernel_asks_ = usable_abilities().netfilter;
  bool has_host_endpoint_ = false;
  std::uint64_t revision_ = 0;
  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Station& b_ = bed_.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  PinFolder pins_;
  std::optional<AgentHost> agent_;
};

RawPacket answer_to(RawPacket packet) {
  std::swap(packet.packet.source, packet.packet.destination);
  std::swap(packet.packet.source_port, packet.packet.destination_port);
  packet.tcp_flags = 0x12;
  ++packet.token;
  return packet;
}

TEST_F(EbpfPersistence, RestartsWithoutASingleWrite) {
  start(Datapath::kEbpf);
  const auto request = to_b(80);
  EXPECT_TRUE(passes(a_, b_, request));
  agent_.reset();
  expect_policy();  // nobody is there, and policy is
  const auto report = start(Datapath::kEbpf);
  EXPECT_EQ(report.kernel_writes, 0U);
  EXPECT_TRUE(passes(b_, a_, answer_to(request)));
}

// By the programs' numbers in the kernel, as descriptors are others in every process.
TEST_F(EbpfPersistence, KnowsTheRulesAgainThatAskItsPrograms) {
  has_host_endpoint_ = true;
  start(Datapath::kEbpf);
  const auto asking = [&] {
    int count = -1;
    bed_.host().run([&] {
      auto* rules = ::popen("nft list table inet ocicat 2> /dev/null | grep -ci 'xt match'", "r");
      CHECK(rules != nullptr && std::fscanf(rules, "%d", &count) == 1);
      ::pclose(rules);
    });
    return count;
  };
  EXPECT_EQ(asking(), kernel_asks_ ? 2 : 5);
  agent_.reset();
  EXPECT_EQ(start(Datapath::kEbpf).kernel_writes, 0U);
  has_host_endpoint_ = false;
  start(Datapath::kEbpf);
  EXPECT_EQ(asking(), 0);
}

// A program that this build has by no name, and a link at a place of the host's that it does not know.
TEST_F(EbpfPersistence, LeavesNothingPinnedThatOnlyAnotherBuildKnows) {
  has_host_endpoint_ = true;
  start(Datapath::kEbpf);
  const auto pinned = host_pins();
  agent_.reset();
  pins_.change_build();
  const auto again = [&](const char* what, const char* as) {
    const auto object = kernel::bpf::open_pin(pins_.path() / what);
    ASSERT_TRUE(object);
    ASSERT_TRUE(kernel::bpf::pin(object->get(), pins_.path() / as));
  };
  const auto* own = kernel_asks_ ? "programs/at_host" : "programs/at_input";
  const auto link = std::filesystem::directory_iterator(pins_.path() / "hosts")->path().filename().string();
  again(own, "programs/host_input");
  again(("hosts/" + link).c_str(), "hosts/prerouting-4");
  start(Datapath::kEbpf);
  EXPECT_FALSE(std::filesystem::exists(pins_.path() / "programs/host_input"));
  EXPECT_TRUE(std::filesystem::exists(pins_.path() / own));
  EXPECT_FALSE(std::filesystem::exists(pins_.path() / "hosts/prerouting-4"));
  EXPECT_EQ(host_pins(), pinned);
  EXPECT_FALSE(goes_out());
}

TEST_F(EbpfPersistence, ProgramsOfAnotherBuildAreReplacedAndConnectionsStay) {
  start(Datapath::kEbpf);
  const auto request = to_b(80);
  EXPECT_TRUE(passes(a_, b_, request));
  agent_.reset();
  pins_.change_build();
  const auto old_program = attached_program();
  start(Datapath::kEbpf);
  EXPECT_NE(attached_program(), old_program);
  EXPECT_TRUE(passes(b_, a_, answer_to(request)));
  expect_policy();
}

TEST_F(EbpfPersistence, DecisionMapsOfAnotherLayoutAreMadeAnewAndConnectionsStay) {
  start(Datapath::kEbpf);
  const auto request = to_b(80);
  EXPECT_TRUE(passes(a_, b_, request));
  agent_.reset();
  std::filesystem::rename(map_file("cells"), map_file("classes"));     // which is none of ours any more
  std::filesystem::rename(map_file("counters"), map_file("entries"));  // of another shape
  start(Datapath::kEbpf);
  EXPECT_FALSE(std::filesystem::exists(map_file("classes")));
  EXPECT_TRUE(passes(b_, a_, answer_to(request)));
  expect_policy();
}

TEST_F(EbpfPersistence, MapsThatAnOlderDatapathDidNotHaveAreMadeAndConnectionsStay) {
  start(Datapath::kEbpf);
  const auto request = to_b(80);
  EXPECT_TRUE(passes(a_, b_, request));
  agent_.reset();
  for (const auto* name : {"chains", "sources", "host_endpoints", "host_interfaces"})
    EXPECT_TRUE(std::filesystem::remove(map_file(name)));
  start(Datapath::kEbpf);
  EXPECT_TRUE(passes(b_, a_, answer_to(request)));
  expect_policy();
}

TEST_F(EbpfPersistence, HostEndpointsStayInForceWithoutTheAgentAndOverRestartsAndUpgrades) {
  start(Datapath::kEbpf);
  EXPECT_TRUE(goes_out());
  EXPECT_EQ(host_pins(), 0U);  // nothing is attached where there is none
  has_host_endpoint_ = true;
  start(Datapath::kEbpf);
  EXPECT_FALSE(goes_out());
  const auto pinned = kernel_asks_ ? 7U : 1U;  // three hooks, two families, and the driver
  EXPECT_EQ(host_pins(), pinned);
  agent_.reset();
  EXPECT_FALSE(goes_out());
  EXPECT_EQ(start(Datapath::kEbpf).kernel_writes, 0U);
  EXPECT_FALSE(goes_out());
  agent_.reset();
  pins_.change_build();
  start(Datapath::kEbpf);
  EXPECT_FALSE(goes_out());
  EXPECT_EQ(host_pins(), pinned);
  has_host_endpoint_ = false;
  start(Datapath::kEbpf);
  EXPECT_TRUE(goes_out());
  EXPECT_EQ(host_pins(), 0U);
}

TEST_F(EbpfPersistence, TakesOverFromNftablesAndGivesBack) {
  start(Datapath::kNftables);
  expect_policy();
  start(Datapath::kEbpf);
  expect_policy();
  bed_.host().run([] { shell("nft list set inet ocicat attached > /dev/null"); });
  start(Datapath::kNftables);
  EXPECT_FALSE(std::filesystem::exists(pins_.path()));
  expect_policy();
}

TEST_F(EbpfPersistence, GuardKeepsAnInterfaceClosedThatNobodyHasAttachedTo) {
  start(Datapath::kEbpf);
  agent_.reset();  // nobody hears of it
  auto& stranger = bed_.add_pod("x", "10.65.0.4", "fd00:65::4");
  EXPECT_FALSE(
      passes(stranger, bed_.outside(),
             probe(stranger.address(Family::kIpv4), bed_.outside().address(Family::kIpv4), kUdp, 53)));
  EXPECT_FALSE(
      passes(bed_.outside(), stranger,
             probe(bed_.outside().address(Family::kIpv4), stranger.address(Family::kIpv4), kUdp, 53)));
}

TEST_F(EbpfPersistence, CleanUpLeavesNothingBehind) {
  start(Datapath::kEbpf);
  agent_.reset();
  const auto options = pins_.options(Datapath::kEbpf);
  bed_.host().run([&] {
    ASSERT_TRUE(dataplane::remove_all(options));
    shell("! nft list tables | grep ocicat");
  });
  EXPECT_FALSE(std::filesystem::exists(pins_.path()));
}

}  // namespace
}  // namespace ocicat::test
