// Another build of the agent takes over from programs whose connections are laid out otherwise
// (other_layout.cmake): open connections go on, and nothing opens.
#include <gtest/gtest.h>

#include <net/if.h>

#include <atomic>
#include <thread>

#include "dataplane/ebpf/objects.h"
#include "dataplane/ebpf/program_places.h"
#include "netns/agent_host.h"
#include "other_datapath.skel.h"
#include "other_host.skel.h"
#include "other_host_rules.skel.h"

namespace ocicat::test {
namespace {

using dataplane::Datapath;
using kernel::bpf::Hook;

RawPacket answer_to(RawPacket packet) {
  std::swap(packet.packet.source, packet.packet.destination);
  std::swap(packet.packet.source_port, packet.packet.destination_port);
  packet.tcp_flags = 0x12;
  packet.token = new_token();
  return packet;
}

// a may send anything and is sent nothing but answers; b the same.
class EbpfUpgrade : public testing::Test {
 protected:
  // `more`: what the first state says as well.
  void start(policy::ProgramId egress_of_a = kAllowAll, const HostChanges& more = {}) {
    agent_.reset();
    agent_.emplace(bed_, pins_.options(Datapath::kEbpf));
    auto changes = first_state(++revision_);
    add_pod(changes, "a", a_, kDenyAll, egress_of_a);
    add_pod(changes, "b", b_, kAllowAll, kDenyAll);
    changes.absorb(more);
    agent_->put(changes);
    agent_->await_revision(revision_);
  }
  std::filesystem::path maps() const {
    return pins_.path() / fmt::format("maps-v{}", static_cast<int>(bpf::LAYOUT_VERSION));
  }
  // As if another build, which is that of the object, had been at work here, and had ended.
  void install_other_build() {
    agent_.reset();
    own_.clear();
    load_over_pins(kernel::bpf::Skeleton<other_datapath_bpf>::open());
    if (usable_abilities().netfilter) {
      load_over_pins(kernel::bpf::Skeleton<other_host_bpf>::open());
    } else {
      load_over_pins(kernel::bpf::Skeleton<other_host_rules_bpf>::open());
    }
    bed_.host().run([&] { attach(); });
    pins_.change_build();
  }
  // The map that it lays out otherwise is its own.
  void load_over_pins(auto object) {
    using kernel::bpf::fd_of, kernel::bpf::name_of;
    CHECK(object);
    std::vector<const bpf_map*> own;
    for (auto* map : object->maps()) {
      if (map == (*object)->maps.connections && own_.insert(name_of(map)).second) {
        own.push_back(map);
        continue;
      }
      const auto there = kernel::bpf::open_pin(maps() / name_of(map));
      CHECK(there && kernel::bpf::use(map, there->get()));
    }
    const auto loaded = object->load();
    if (!loaded) std::fprintf(stderr, "%s\n", loaded.error().message.c_str());
    CHECK(loaded);
    for (const auto* map : own) {
      const auto fd = fd_of(map);
      CHECK(fd && kernel::bpf::pin(fd->get(), maps() / name_of(map)));
    }
    for (const auto* program : object->programs()) {
      const auto fd = fd_of(program);
      CHECK(fd && kernel::bpf::pin(fd->get(), pins_.path() / "programs" / name_of(program)));
    }
  }
  // In the place of those of this build, at interfaces.
  void attach() {
    std::set<int> interfaces;
    for (const auto* name : {"calia", "calib", "uplink"})
      interfaces.insert(static_cast<int>(::if_nametoindex(name)));
    const auto uplink = static_cast<int>(::if_nametoindex("uplink"));
    auto links = dataplane::ebpf::LinkPlaces(pins_.path() / "links");
    auto filters = dataplane::ebpf::FilterPlaces::open();
    CHECK(filters);
    dataplane::ebpf::ProgramPlaces& places =
        usable_abilities().tcx ? static_cast<dataplane::ebpf::ProgramPlaces&>(links) : **filters;
    const auto there = places.read(interfaces);
    CHECK(there);
    CHECK(!there->empty());
    for (const auto& [place, id] : *there) {
      const char* name = place.interface == uplink      ? "from_network"
                         : place.hook == Hook::kIngress ? "from_workload"
                                                        : "to_workload";
      const auto program = kernel::bpf::open_pin(pins_.path() / "programs" / name);
      CHECK(program && places.put(place, program->get()));
    }
  }
  std::uint32_t shape_of_connections() const {
    const auto map = kernel::bpf::open_pin(maps() / "connections");
    CHECK(map);
    const auto shape = kernel::bpf::shape_of(map->get());
    CHECK(shape);
    return shape->value_size;
  }
  bool passes(const Station& from, const Station& to, const RawPacket& packet) {
    return !bed_.arriving(from, to, {packet}).empty();
  }
  RawPacket of_a(Protocol protocol, Family family) const {
    return probe(a_.address(family), b_.address(family), protocol, 80);
  }

  // As if all maps had been of another version.
  std::filesystem::path age_maps() const {
    const auto older = pins_.path() / "maps-v0";
    std::filesystem::create_directory(older);
    for (const auto& pin : std::filesystem::directory_iterator(maps()))  // they cannot be renamed all at once
      std::filesystem::rename(pin.path(), older / pin.path().filename());
    std::filesystem::remove(maps());
    return older;
  }

  std::uint64_t revision_ = 0;
  std::set<std::string> own_;  // maps that are the other build's
  std::vector<RawPacket> opened_;
  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  Station& b_ = bed_.add_pod("b", "10.65.0.3", "fd00:65::3", Testbed::Routes::kMissing);
  PinFolder pins_;
  std::optional<AgentHost> agent_;
};

TEST_F(EbpfUpgrade, KeepsConnectionsWhoseTableWasLaidOutOtherwise) {
  start();
  install_other_build();
  const auto other = shape_of_connections();
  std::vector<RawPacket> unknown;
  for (const auto family : kFamilies) {
    for (const auto protocol : {kTcp, kUdp}) {
      opened_.push_back(of_a(protocol, family));
      unknown.push_back(of_a(protocol, family));
    }
  }
  for (const auto& packet : opened_) EXPECT_TRUE(passes(a_, b_, packet));
  EXPECT_TRUE(passes(b_, a_, answer_to(opened_[1])));
  start();
  EXPECT_NE(shape_of_connections(), other);
  for (const auto& packet : opened_) EXPECT_TRUE(passes(b_, a_, answer_to(packet)));
  for (const auto& packet : unknown) EXPECT_FALSE(passes(b_, a_, answer_to(packet)));
}

TEST_F(EbpfUpgrade, JudgesThemAgainByThePolicyOfThatMoment) {
  start();
  install_other_build();
  for (const auto family : kFamilies) {
    const auto udp = of_a(kUdp, family);
    EXPECT_TRUE(passes(a_, b_, udp));
    EXPECT_TRUE(passes(b_, a_, answer_to(udp)));
    opened_.push_back(udp);
  }
  start(kDenyAll);
  for (const auto& udp : opened_) {
    EXPECT_FALSE(passes(b_, a_, answer_to(udp)));
    EXPECT_FALSE(passes(a_, b_, udp));
  }
}

TEST_F(EbpfUpgrade, KeepsThemWhereEveryMapIsOfAnotherVersionAndLeavesNoneOfThose) {
  start();
  install_other_build();
  for (const auto family : kFamilies) {
    opened_.push_back(of_a(kUdp, family));
    EXPECT_TRUE(passes(a_, b_, opened_.back()));
  }
  const auto older = age_maps();
  start();
  for (const auto& udp : opened_) EXPECT_TRUE(passes(b_, a_, answer_to(udp)));
  EXPECT_FALSE(passes(b_, a_, answer_to(of_a(kUdp, Family::kIpv4))));
  EXPECT_FALSE(std::filesystem::exists(older));
}

// Datagrams and streams go on all the time, a packet of one or another every millisecond or two: b may send nothing but
// answers, and in the middle of a connection of TCP nothing begins.
class UpgradeUnderTraffic : public EbpfUpgrade {
 protected:
  // What a and b say, in turn, of connections that both have spoken in.
  std::vector<RawPacket> open() {
    std::vector<RawPacket> of_both;
    for (const auto family : kFamilies) {
      for (const auto protocol : {kUdp, kTcp}) {
        auto said = of_a(protocol, family);
        auto answer = answer_to(said);
        EXPECT_TRUE(passes(a_, b_, said));
        EXPECT_TRUE(passes(b_, a_, answer));
        said.tcp_flags = answer.tcp_flags = kAck;
        of_both.push_back(said);
        of_both.push_back(answer);
      }
    }
    return of_both;
  }
  // From the other build to this one. How many packets were on their way meanwhile.
  std::size_t upgrade() {
    install_other_build();
    auto of_both = open();
    a_.received();
    b_.received();
    std::atomic<bool> upgraded = false;
    std::set<std::uint32_t> sent, seen;
    std::thread traffic([&] {
      while (!upgraded) {
        for (std::size_t i = 0; i < of_both.size(); ++i) {
          of_both[i].token = new_token();
          (i % 2 == 0 ? a_ : b_).send({of_both[i]});
          sent.insert(of_both[i].token);
        }
        seen.merge(a_.received());
        seen.merge(b_.received());
        std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the pace, beside what sending takes
      }
    });
    start();
    upgraded = true;
    traffic.join();
    if (sent.empty()) return 0;
    a_.await(of_both.back().token, seen);
    b_.await(of_both[of_both.size() - 2].token, seen);
    for (const auto token : sent) EXPECT_TRUE(seen.contains(token)) << token;
    return sent.size();
  }
};

TEST_F(UpgradeUnderTraffic, LosesNoPacketOfAnOpenConnection) {
  constexpr std::size_t kPackets = 160;  // at least
  start();
  for (std::size_t sent = 0; sent < kPackets && !HasFailure();) sent += upgrade();
}

TEST_F(EbpfUpgrade, KeepsConnectionsOfTheHostItself) {
  HostEndpointState edge{.id = 3, .interface_name = "*"};
  HostChanges with_edge;
  with_edge.tables.chains.update(policy::ChainId{1}, {policy::VocabularyId{1}, kAllowAll});
  with_edge.tables.chains.update(policy::ChainId{2}, {policy::VocabularyId{1}, kDenyAll});
  for (auto& chains : edge.chains) {
    chains[policy::index_of({policy::ChainKind::kNormal, policy::Direction::kEgress})] = policy::ChainId{1};
    chains[policy::index_of({policy::ChainKind::kNormal, policy::Direction::kIngress})] = policy::ChainId{2};
  }
  with_edge.host_endpoints.update({Kind::kHostEndpoint, "", "all"}, edge);
  const auto start_with_edge = [&] { start(kAllowAll, with_edge); };
  const auto runs = [&](kernel::bpf::NetfilterHook hook, const RawPacket& packet) {
    bool result = false;
    bed_.host().run([&] {
      const auto done = pins_.run_at_host(hook, bytes_of(packet));
      CHECK(done);
      result = *done;
    });
    return result;
  };
  start_with_edge();
  install_other_build();
  const auto& host = Testbed::host_address(Family::kIpv6);
  const auto request = probe(host, bed_.outside().address(Family::kIpv6), kUdp, 53);
  EXPECT_TRUE(runs(kernel::bpf::NetfilterHook::kOutput, request));
  age_maps();
  start_with_edge();
  EXPECT_TRUE(runs(kernel::bpf::NetfilterHook::kInput, answer_to(request)));
  const auto unknown = probe(host, bed_.outside().address(Family::kIpv6), kUdp, 53);
  EXPECT_FALSE(runs(kernel::bpf::NetfilterHook::kInput, answer_to(unknown)));
}

}  // namespace
}  // namespace ocicat::test
