// Interfaces that take programs in one way, in another, or not at all: none of them stops what concerns others.
#include <gtest/gtest.h>

#include <net/if.h>

#include "base/command.h"
#include "dataplane/ebpf/attachments.h"
#include "netns/agent_host.h"

namespace ocicat::test {
namespace {

using dataplane::Datapath;
using dataplane::ebpf::Attachments;
using dataplane::ebpf::Place;
using dataplane::ebpf::ProgramIds;
using dataplane::ebpf::Programs;
using dataplane::ebpf::Role;
using kernel::bpf::Hook;

const ResourceKey kEdge{Kind::kHostEndpoint, "", "edge"};

// Untracked policy at the uplink lets nothing in.
class EbpfPlaces : public testing::Test {
 protected:
  void put(bool at_driver = true) {
    auto changes = first_state(1);
    changes.settings->at_driver = at_driver;
    add_pod(changes, "a", a_, kAllowAll, kAllowAll);
    add_pod(changes, "b", b_, kAllowAll, kAllowAll);
    agent_.put(changes);
    agent_.await_revision(1);
  }
  dataplane::Report add_host_endpoint() {
    auto changes = at_revision(2);
    changes.tables.chains.update(policy::ChainId{1}, {policy::VocabularyId{1}, kDenyAll});
    HostEndpointState edge{.id = 3, .interface_name = "uplink"};
    for (auto& chains : edge.chains)
      chains[policy::index_of({policy::ChainKind::kUntracked, policy::Direction::kIngress})] =
          policy::ChainId{1};
    changes.host_endpoints.update(kEdge, edge);
    agent_.put(changes);
    return agent_.await_revision(2);
  }
  // How the kernel shows the uplink's XDP program: "xdp" in the driver, "xdpgeneric" on the stack; or nothing.
  std::string mode_at_uplink() const {
    std::string mode;
    bed_.host().run([&] {
      const auto shown = run({"ip", "-d", "link", "show", "uplink"});
      CHECK(shown);
      for (const auto* word : {"xdpgeneric", "xdp"}) {
        if (mode.empty() && shown->contains(fmt::format(" {} ", word))) mode = word;
      }
    });
    return mode;
  }
  bool passes(const Station& from, const Station& to) {
    return !bed_.arriving(from, to, {probe(from.address(Family::kIpv6), to.address(Family::kIpv6), kUdp, 53)})
                .empty();
  }
  void expect_policy() {
    EXPECT_TRUE(passes(a_, b_));
    EXPECT_TRUE(passes(a_, bed_.outside()));
    for (const auto family : kFamilies) {
      const auto& from = bed_.outside().address(family);
      const auto sure = probe(a_.address(family), b_.address(family), kUdp, 53);
      std::set<std::uint32_t> seen;
      const auto refused = probe(from, b_.address(family), kUdp, 53);
      bed_.outside().send({refused});
      a_.send({sure});
      b_.await(sure.token, seen);
      EXPECT_FALSE(seen.contains(refused.token));
    }
  }

  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Station& b_ = bed_.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  PinFolder pins_;
  AgentHost agent_{bed_, pins_.options(Datapath::kEbpf)};
};

TEST_F(EbpfPlaces, AreInTheDriverForWhatDoNotTrackDenies) {
  put();
  EXPECT_EQ(mode_at_uplink(), "");
  EXPECT_EQ(add_host_endpoint().notes, std::vector<std::string>());
  EXPECT_EQ(mode_at_uplink(), "xdp");
  expect_policy();
}

// A veth takes no XDP program while its other side may send frames that are larger than a page (ERANGE).
TEST_F(EbpfPlaces, AreBehindADriverThatRefuses) {
  bed_.outside().ns().run([] { shell("ip link set eth0 mtu 9000"); });
  put();
  EXPECT_EQ(add_host_endpoint().notes, std::vector<std::string>());
  EXPECT_EQ(mode_at_uplink(), "xdpgeneric");
  expect_policy();
}

TEST_F(EbpfPlaces, AreNotInDriversWhereTheSettingSaysSo) {
  put(false);
  EXPECT_EQ(add_host_endpoint().notes, std::vector<std::string>());
  EXPECT_EQ(mode_at_uplink(), "");
  expect_policy();
}

TEST_F(EbpfPlaces, AreToldOfWhereTheyAreTakenAndStopNothingElse) {
  put();
  UniqueFd of_another;
  bed_.host().run([&] {
    const auto program = kernel::bpf::open_pin(pins_.path() / "programs/at_driver");
    CHECK(program);
    auto link = kernel::bpf::attach_to_driver(program->get(), static_cast<int>(::if_nametoindex("uplink")));
    CHECK(link);
    of_another = std::move(*link);
  });
  const auto notes = add_host_endpoint().notes;
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_TRUE(notes[0].starts_with(
      "uplink takes no XDP program, so what doNotTrack denies there ends behind the driver: "))
      << notes[0];
  EXPECT_TRUE(notes[0].ends_with("has another XDP program")) << notes[0];
  expect_policy();
}

// Some take nothing.
class FewPlaces final : public dataplane::ebpf::ProgramPlaces {
 public:
  explicit FewPlaces(std::set<int> refusing) : refusing_(std::move(refusing)) {}
  Result<ProgramIds> read(const std::set<int>&) override { return there_; }
  Result<void> put(const Place& place, int program) override {
    if (refusing_.contains(place.interface)) return fail(ErrorCode::kInternal, "no room");
    TRY(there_[place], kernel::bpf::id_of_program(program));
    return {};
  }
  Result<void> remove(const Place& place) override {
    there_.erase(place);
    return {};
  }
  bool has(int interface, Hook hook) const { return there_.contains({interface, hook}); }

 private:
  std::set<int> refusing_;
  ProgramIds there_;
};

TEST_F(EbpfPlaces, OfOneInterfaceThatRefusesHoldNoOtherUp) {
  put();
  Programs programs;
  for (const auto& [role, hook, name] : {std::tuple{Role::kWorkload, Hook::kIngress, "from_workload"},
                                         {Role::kWorkload, Hook::kEgress, "to_workload"},
                                         {Role::kHost, Hook::kIngress, "from_network"}}) {
    auto program = kernel::bpf::open_pin(pins_.path() / "programs" / name);
    ASSERT_TRUE(program);
    programs.at(role, hook) = std::move(*program);
  }
  FewPlaces places({1, 3});
  Attachments attachments;
  const auto done =
      attachments.sync(places, nullptr, programs, {1, 2, 3, 4},
                       {{1, Role::kHost}, {2, Role::kHost}, {3, Role::kWorkload}, {4, Role::kWorkload}});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_TRUE(places.has(2, Hook::kIngress));
  EXPECT_EQ(attachments.workloads(), std::set{4});
  EXPECT_EQ(attachments.refused(), (std::map<int, std::string>{{1, "no room"}, {3, "no room"}}));
}

}  // namespace
}  // namespace ocicat::test
