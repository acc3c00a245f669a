// Both datapaths against the simulator: the same tables, the same packets, through a real kernel.
#include <gtest/gtest.h>

#include <random>

#include "dataplane/ebpf/ebpf_policy.h"
#include "dataplane/nftables/policy_table.h"
#include "kernel/nft_kernel.h"
#include "netns/agent_host.h"
#include "netns/random_tables.h"
#include "netns/testbed.h"
#include "policy/simulator.h"
#include "test/support/random.h"

namespace ocicat::test {
namespace {

using dataplane::Datapath;
using dataplane::PolicyDatapath;
using policy::Direction;
using policy::ProgramId;
using policy::Verdict;

// A datapath at work on a testbed's host.
class PolicyOfHost {
 public:
  PolicyOfHost(const Testbed& bed, Datapath datapath) : bed_(bed), datapath_(datapath) {
    bed_.host().run([&] {
      auto nft = kernel::nft::NetlinkKernel::open("ocicat");
      auto routes = kernel::NetlinkRoutes::open();
      CHECK(nft && routes);
      nft_ = std::move(*nft);
      routes_ = std::move(*routes);
    });
    start_anew();
  }
  void start_anew() {
    if (datapath_ == Datapath::kEbpf) {
      policy_ = std::make_unique<dataplane::ebpf::EbpfPolicy>(*nft_, *routes_, pins_.path());
    } else {
      policy_ = std::make_unique<dataplane::PolicyTable>(*nft_);
    }
  }
  void apply(const HostChanges& changes) {
    bed_.host().run([&] {
      const auto applied = policy_->apply(changes);
      ASSERT_TRUE(applied) << applied.error().message;
    });
  }
  void assign(const dataplane::HostInterfaces& interfaces) {
    bed_.host().run([&] {
      const auto assigned = policy_->assign(interfaces);
      ASSERT_TRUE(assigned) << assigned.error().message;
    });
  }
  bool resync() {
    bool wrote = false;
    bed_.host().run([&] {
      const auto done = policy_->resync();
      ASSERT_TRUE(done) << done.error().message;
      wrote = *done;
    });
    return wrote;
  }
  void forget_connections() const {
    bed_.forget_connections();
    pins_.forget_connections();
  }
  const PolicyDatapath& policy() const { return *policy_; }

 private:
  const Testbed& bed_;
  Datapath datapath_;
  PinFolder pins_;
  std::unique_ptr<kernel::nft::NetlinkKernel> nft_;
  std::unique_ptr<kernel::NetlinkRoutes> routes_;
  std::unique_ptr<PolicyDatapath> policy_;
};

EndpointState endpoint(const Station& pod, ProgramId ingress, ProgramId egress) {
  return {pod.interface(),
          {{pod.address(Family::kIpv4), ingress, egress}, {pod.address(Family::kIpv6), ingress, egress}}};
}

std::vector<IpAddress> addresses(std::initializer_list<const char*> texts) {
  std::vector<IpAddress> result;
  for (const auto* text : texts) result.push_back(*IpAddress::parse(text));
  return result;
}

std::vector<Prefix> prefixes(std::initializer_list<const char*> texts) {
  std::vector<Prefix> result;
  for (const auto* text : texts) result.push_back(*Prefix::parse(text));
  return result;
}

// Hooks of what is forwarded, in the order in which a packet meets them; the last one where it leaves.
constexpr std::array kForwarding{policy::Hook{policy::ChainKind::kUntracked, Direction::kIngress},
                                 policy::Hook{policy::ChainKind::kPreDnat, Direction::kIngress},
                                 policy::Hook{policy::ChainKind::kForward, Direction::kIngress},
                                 policy::Hook{policy::ChainKind::kForward, Direction::kEgress}};

class RandomLookups : public testing::TestWithParam<std::tuple<Datapath, Family>> {};

TEST_P(RandomLookups, GiveTheSimulatorsVerdictForEveryPacket) {
  const auto seed = test::any_seed();
  SCOPED_TRACE(fmt::format("OCICAT_SEED={}", seed));
  Random random(seed);
  const auto [datapath, family] = GetParam();
  Testbed bed;
  auto& a = bed.add_pod("a", "10.65.0.2", "fd00:65::2");
  auto& b = bed.add_pod("b", "10.65.0.3", "fd00:65::3");
  PolicyOfHost table(bed, datapath);

  const bool v4 = family == Family::kIpv4;
  const auto strangers =
      v4 ? addresses({"203.0.113.0", "203.0.113.1", "203.0.113.7", "203.0.113.8", "203.0.113.255"})
         : addresses({"2001:db8:f::", "2001:db8:f::1", "2001:db8:f::7", "2001:db8:f::8", "2001:db8:f::ffff"});
  RandomTablesOptions options;
  options.peers = strangers;
  options.peers.push_back(a.address(family));
  options.peers.push_back(b.address(family));
  options.nets = v4 ? prefixes({"203.0.113.0/24", "203.0.113.0/28", "203.0.113.8/29", "203.0.113.255/32",
                                "10.65.0.0/16", "0.0.0.0/0"})
                    : prefixes({"2001:db8:f::/64", "2001:db8:f::/125", "2001:db8:f::8/125", "::/0",
                                "fd00:65::/64", "ff00::/8"});

  policy::Tables before;
  for (int round = 0; round < 12; ++round) {
    const auto tables = random_tables(random, options);
    HostChanges changes;
    if (round == 0) {
      changes.settings.emplace().drop_invalid =
          false;  // what tracking thinks of odd packets is not asked here
      changes.endpoints.update(pod_key("a"), endpoint(a, ProgramId{1}, ProgramId{2}));
      changes.endpoints.update(pod_key("b"), endpoint(b, ProgramId{3}, ProgramId{4}));
    }
    changes.tables = changes_between(before, tables);
    before = tables;
    table.apply(changes);
    if (round == 0) table.resync();
    ASSERT_TRUE(table.policy().in_step());

    const policy::Simulator simulator(tables);
    const auto allowed = [&](std::uint32_t program, const IpAddress& peer, const policy::Packet& packet) {
      return simulator.lookup(ProgramId{program}, peer, packet).verdict == Verdict::kAllow;
    };
    const auto check = [&](const Station& from, const Station& to, auto source, auto destination,
                           auto expected) {
      std::vector<RawPacket> packets;
      std::uint32_t token = 0;
      for (int i = 0; i < 60; ++i) {
        RawPacket packet{random_packet(random, family), 0x02, ++token};
        packet.packet.source = source();
        packet.packet.destination = destination();
        packets.push_back(packet);
      }
      table.forget_connections();  // or one way's packets are replies to another's
      const auto arrived = bed.arriving(from, to, packets);
      for (const auto& packet : packets) {
        const auto& asked = packet.packet;
        EXPECT_EQ(arrived.contains(packet.token), expected(asked))
            << "round " << round << ": " << asked.source.to_string() << " -> "
            << asked.destination.to_string() << " protocol " << int{asked.protocol} << " ports "
            << asked.source_port << " " << asked.destination_port << " icmp code " << int{asked.icmp_code};
      }
    };
    const auto stranger = [&] { return random.pick(strangers); };
    const auto of_a = [&] { return a.address(family); };
    const auto of_b = [&] { return b.address(family); };
    check(bed.outside(), a, stranger, of_a,
          [&](const auto& packet) { return allowed(1, packet.source, packet); });
    check(a, bed.outside(), of_a, stranger,
          [&](const auto& packet) { return allowed(2, packet.destination, packet); });
    check(a, b, of_a, of_b, [&](const auto& packet) {
      return allowed(2, packet.destination, packet) && allowed(3, packet.source, packet);
    });
  }

  // Whatever way it came there, the kernel holds what a fresh start would write.
  table.start_anew();
  HostChanges whole;
  whole.settings.emplace().drop_invalid = false;
  whole.tables = changes_between({}, before);
  whole.endpoints.update(pod_key("a"), endpoint(a, ProgramId{1}, ProgramId{2}));
  whole.endpoints.update(pod_key("b"), endpoint(b, ProgramId{3}, ProgramId{4}));
  table.apply(whole);
  EXPECT_FALSE(table.resync());
  EXPECT_EQ(table.policy().writes(), 0U);
}

std::string name_of(const testing::TestParamInfo<std::tuple<Datapath, Family>>& param) {
  const auto& [datapath, family] = param.param;
  return fmt::format("{}{}", datapath == Datapath::kEbpf ? "Ebpf" : "Nftables",
                     family == Family::kIpv4 ? "Ipv4" : "Ipv6");
}

INSTANTIATE_TEST_SUITE_P(All, RandomLookups,
                         testing::Combine(testing::Values(Datapath::kNftables, Datapath::kEbpf),
                                          testing::ValuesIn(kFamilies)),
                         name_of);

// A host endpoint at the uplink, with chains for what the host forwards.
HostEndpointState uplink_endpoint() {
  HostEndpointState host{.id = 7, .interface_name = "uplink"};
  for (auto& chains : host.chains) {
    for (std::uint32_t i = 0; i < kForwarding.size(); ++i)
      chains[index_of(kForwarding[i])] = policy::ChainId{i + 1};
  }
  return host;
}

// What comes in is asked about from left to right; what untracked or pre-DNAT policy allows is not asked
// about again.
bool comes_in(const policy::Simulator& simulator, const policy::Packet& packet, std::uint32_t first) {
  for (std::uint32_t i = first; i + 1 < kForwarding.size(); ++i) {
    const auto verdict =
        simulator.lookup(policy::ChainId{i + 1}, packet.destination, packet.source, packet).verdict;
    if (verdict == Verdict::kDeny) return false;
    if (verdict == Verdict::kAllow) return true;
  }
  return true;
}

bool goes_out(const policy::Simulator& simulator, const policy::Packet& packet) {
  const policy::ChainId last{kForwarding.size()};
  return simulator.lookup(last, packet.source, packet.destination, packet).verdict != Verdict::kDeny;
}

class RandomHostLookups : public testing::TestWithParam<Family> {};

TEST_P(RandomHostLookups, GiveTheSimulatorsVerdictForForwardedPackets) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  Random random(seed);
  const Family family = GetParam();
  Testbed bed;
  auto& pod = bed.add_pod("a", "10.65.0.2", "fd00:65::2");
  PolicyOfHost table(bed, Datapath::kNftables);
  const bool v4 = family == Family::kIpv4;
  const auto strangers =
      v4 ? addresses({"203.0.113.0", "203.0.113.7", "203.0.113.8", "203.0.113.255"})
         : addresses({"2001:db8:f::", "2001:db8:f::7", "2001:db8:f::8", "2001:db8:f::ffff"});
  RandomTablesOptions options;
  options.programs = ProgramId{6};
  options.chains = policy::ChainId{kForwarding.size()};
  options.peers = strangers;
  options.peers.push_back(pod.address(family));
  options.nets = v4 ? prefixes({"203.0.113.0/24", "203.0.113.8/29", "10.65.0.0/16", "0.0.0.0/0"})
                    : prefixes({"2001:db8:f::/64", "2001:db8:f::8/125", "fd00:65::/64", "::/0"});
  dataplane::HostInterfaces interfaces;
  const auto key = ResourceKey{Kind::kHostEndpoint, "", "edge"};
  // By its name, and by being all that is left.
  if (random.percent(50)) {
    interfaces.all_others = key;
  } else {
    interfaces.by_name.emplace("uplink", key);
  }
  table.assign(interfaces);

  policy::Tables before;
  for (int round = 0; round < 12; ++round) {
    const auto tables = random_tables(random, options);
    HostChanges changes;
    if (round == 0) {
      changes.settings.emplace().drop_invalid = false;
      changes.endpoints.update(pod_key("a"), endpoint(pod, ProgramId{1}, ProgramId{2}));
      changes.host_endpoints.update(key, uplink_endpoint());
    }
    changes.tables = changes_between(before, tables);
    before = tables;
    table.apply(changes);
    if (round == 0) table.resync();
    ASSERT_TRUE(table.policy().in_step());
    const policy::Simulator simulator(tables);
    for (const bool inward : {true, false}) {
      std::vector<RawPacket> packets;
      for (std::uint32_t token = 1; token <= 80; ++token) {
        RawPacket packet{random_packet(random, family), 0x02, token};
        packet.packet.source = inward ? random.pick(strangers) : pod.address(family);
        packet.packet.destination = inward ? pod.address(family) : random.pick(strangers);
        packets.push_back(packet);
      }
      table.forget_connections();
      const auto arrived =
          inward ? bed.arriving(bed.outside(), pod, packets) : bed.arriving(pod, bed.outside(), packets);
      for (const auto& packet : packets) {
        const auto& asked = packet.packet;
        const ProgramId program{inward ? 1U : 2U};
        const auto& peer = inward ? asked.source : asked.destination;
        const bool at_pod = simulator.lookup(program, peer, asked).verdict != Verdict::kDeny;
        // That of "*" has the workload's interface as well, by which nothing comes in untracked.
        const bool everywhere = interfaces.all_others.has_value();
        const bool comes = !inward && !everywhere ? true : comes_in(simulator, asked, inward ? 0 : 1);
        const bool goes = inward && !everywhere ? true : goes_out(simulator, asked);
        const bool at_host = comes && goes;
        EXPECT_EQ(arrived.contains(packet.token), at_pod && at_host)
            << "round " << round << ": " << asked.source.to_string() << " -> "
            << asked.destination.to_string() << " protocol " << int{asked.protocol} << " ports "
            << asked.source_port << " " << asked.destination_port << " icmp code " << int{asked.icmp_code};
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(BothFamilies, RandomHostLookups, testing::ValuesIn(kFamilies),
                         [](const auto& family) { return family.param == Family::kIpv4 ? "Ipv4" : "Ipv6"; });

}  // namespace
}  // namespace ocicat::test
