// Both datapaths against the simulator: the same tables, the same packets, through a real kernel.
#include <gtest/gtest.h>

#include <span>

#include "netns/agent_host.h"
#include "netns/host_ear.h"
#include "netns/policy_of_host.h"
#include "netns/random_tables.h"
#include "netns/testbed.h"
#include "policy/simulator.h"
#include "test/support/random.h"

namespace ocicat::test {
namespace {

using dataplane::Datapath;
using policy::Direction;
using policy::ProgramId;
using policy::Verdict;

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

// The hooks that a packet meets at a host endpoint, in order.
using Hooks = std::vector<policy::Hook>;
const Hooks kComingIn{{policy::ChainKind::kUntracked, Direction::kIngress},
                      {policy::ChainKind::kPreDnat, Direction::kIngress},
                      {policy::ChainKind::kForward, Direction::kIngress}};
const Hooks kGoingOut{{policy::ChainKind::kForward, Direction::kEgress}};
const Hooks kToTheHost{{policy::ChainKind::kUntracked, Direction::kIngress},
                       {policy::ChainKind::kPreDnat, Direction::kIngress},
                       {policy::ChainKind::kNormal, Direction::kIngress}};
const Hooks kFromTheHost{{policy::ChainKind::kUntracked, Direction::kEgress},
                         {policy::ChainKind::kNormal, Direction::kEgress}};

policy::ChainId chain_at(policy::Hook hook) {
  return policy::ChainId{static_cast<std::uint32_t>(index_of(hook) + 1)};
}

// A host endpoint at the uplink, with chains at these hooks.
HostEndpointState uplink_endpoint(const std::vector<Hooks>& ways) {
  HostEndpointState host{.id = 7, .interface_name = "uplink"};
  for (auto& chains : host.chains) {
    for (const auto& hooks : ways) {
      for (const auto hook : hooks) chains[index_of(hook)] = chain_at(hook);
    }
  }
  return host;
}

// What untracked or pre-DNAT policy allows is not asked about again.
bool goes(const policy::Simulator& simulator, const policy::Packet& packet,
          std::span<const policy::Hook> hooks) {
  for (const auto hook : hooks) {
    const bool in = hook.direction == Direction::kIngress;
    const auto verdict = simulator
                             .lookup(chain_at(hook), in ? packet.destination : packet.source,
                                     in ? packet.source : packet.destination, packet)
                             .verdict;
    if (verdict == Verdict::kDeny) return false;
    if (verdict == Verdict::kAllow) return true;
  }
  return true;
}

// One that allows all, for packets that tell when others have arrived.
constexpr ProgramId kOpen{100};

void add_open_program(policy::Tables& tables) {
  const policy::TableId table{300};
  tables.tables.emplace(table, policy::Table{{0, policy::kLastTableKey, policy::OutcomeId{1}, {}}});
  tables.programs.emplace(kOpen, policy::Program{policy::VocabularyId{1}, table});
}

std::string text_of(const policy::Packet& packet) {
  return fmt::format("{} -> {} protocol {} ports {} {} icmp code {}", packet.source.to_string(),
                     packet.destination.to_string(), packet.protocol, packet.source_port,
                     packet.destination_port, packet.icmp_code);
}

class RandomHostLookups : public testing::TestWithParam<std::tuple<Datapath, Family>> {
 protected:
  RandomHostLookups() {
    const bool v4 = family_ == Family::kIpv4;
    strangers_ = v4 ? addresses({"203.0.113.0", "203.0.113.7", "203.0.113.8", "203.0.113.255"})
                    : addresses({"2001:db8:f::", "2001:db8:f::7", "2001:db8:f::8", "2001:db8:f::ffff"});
    options_.programs = ProgramId{6};
    options_.chains = policy::ChainId{policy::kHooks.size()};
    options_.peers = strangers_;
    options_.peers.push_back(pod_.address(family_));
    options_.peers.push_back(host_);
    options_.nets =
        v4 ? prefixes({"203.0.113.0/24", "203.0.113.8/29", "10.65.0.0/16", "192.0.2.0/24", "0.0.0.0/0"})
           : prefixes({"2001:db8:f::/64", "2001:db8:f::8/125", "fd00:65::/64", "2001:db8::/64", "::/0"});
  }

  // Random tables in the kernel, of which the simulator is asked.
  policy::Simulator next(int round, const std::vector<Hooks>& ways, ProgramId ingress, ProgramId egress) {
    auto tables = random_tables(random_, options_);
    add_open_program(tables);
    HostChanges changes;
    if (round == 0) {
      auto& settings = changes.settings.emplace();
      settings.drop_invalid = false;
      settings.endpoint_to_host = HostSettings::ToHost::kAccept;
      changes.endpoints.update(pod_key("a"), endpoint(pod_, ingress, egress));
      changes.host_endpoints.update(key_, uplink_endpoint(ways));
    }
    changes.tables = changes_between(before_, tables);
    before_ = tables;
    table_.apply(changes);
    if (round == 0) table_.resync();
    EXPECT_TRUE(table_.policy().in_step());
    return policy::Simulator(before_);
  }
  void assign(bool all_others) {
    dataplane::HostInterfaces interfaces;
    if (all_others) interfaces.all_others = key_;
    if (!all_others) interfaces.by_name.emplace("uplink", key_);
    table_.assign(interfaces);
  }
  template <class Source, class Destination>
  std::vector<RawPacket> packets(Source source, Destination destination) {
    std::vector<RawPacket> packets;
    for (std::uint32_t token = 1; token <= 80; ++token) {
      auto& packet = packets.emplace_back(RawPacket{random_packet(random_, family_), 0x02, token});
      packet.packet.source = source();
      packet.packet.destination = destination();
    }
    table_.forget_connections();
    return packets;
  }
  bool by_ebpf() const { return std::get<Datapath>(GetParam()) == Datapath::kEbpf; }
  const IpAddress& stranger() { return random_.pick(strangers_); }

  const Family family_ = std::get<Family>(GetParam());
  const std::uint64_t seed_ = test::any_seed();
  testing::ScopedTrace trace_{__FILE__, __LINE__, fmt::format("OCICAT_SEED={}", seed_)};
  Random random_{seed_};
  Testbed bed_;
  Station& pod_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2");
  const IpAddress host_ = Testbed::host_address(family_);
  PolicyOfHost table_{bed_, std::get<Datapath>(GetParam())};
  const ResourceKey key_{Kind::kHostEndpoint, "", "edge"};
  std::vector<IpAddress> strangers_;
  RandomTablesOptions options_;
  policy::Tables before_;
};

TEST_P(RandomHostLookups, GiveTheSimulatorsVerdictForForwardedPackets) {
  // By its name, and by being all that is left.
  const bool everywhere = random_.percent(50);
  assign(everywhere);
  for (int round = 0; round < 12; ++round) {
    const auto simulator = next(round, {kComingIn, kGoingOut}, ProgramId{1}, ProgramId{2});
    for (const bool inward : {true, false}) {
      const auto of_pod = [&] { return pod_.address(family_); };
      const auto of_others = [&] { return stranger(); };
      const auto sent = inward ? packets(of_others, of_pod) : packets(of_pod, of_others);
      const auto arrived =
          inward ? bed_.arriving(bed_.outside(), pod_, sent) : bed_.arriving(pod_, bed_.outside(), sent);
      for (const auto& packet : sent) {
        const auto& asked = packet.packet;
        const ProgramId program{inward ? 1U : 2U};
        const auto& peer = inward ? asked.source : asked.destination;
        // No program of a workload ends without an answer, but here: with eBPF that denies.
        const auto said = simulator.lookup(program, peer, asked).verdict;
        const bool at_pod = by_ebpf() ? said == Verdict::kAllow : said != Verdict::kDeny;
        // That of "*" has the workload's interface as well, by which nothing comes in untracked.
        const std::span coming(kComingIn);
        const bool comes = inward       ? goes(simulator, asked, coming)
                           : everywhere ? goes(simulator, asked, coming.subspan(1))
                                        : true;
        const bool leaves = inward && !everywhere ? true : goes(simulator, asked, kGoingOut);
        EXPECT_EQ(arrived.contains(packet.token), at_pod && comes && leaves)
            << "round " << round << ": " << text_of(asked);
      }
    }
  }
}

TEST_P(RandomHostLookups, GiveTheSimulatorsVerdictForPacketsToTheHost) {
  assign(false);
  const HostEar ear(bed_, family_);
  for (int round = 0; round < 12; ++round) {
    const auto simulator = next(round, {kToTheHost}, kOpen, kOpen);
    const auto sent = packets([&] { return stranger(); }, [&] { return host_; });
    const auto arrived = ear.arriving(bed_.outside(), pod_, sent);
    for (const auto& packet : sent) {
      EXPECT_EQ(arrived.contains(packet.token), goes(simulator, packet.packet, kToTheHost))
          << "round " << round << ": " << text_of(packet.packet);
    }
  }
}

TEST_P(RandomHostLookups, GiveTheSimulatorsVerdictForPacketsOfTheHost) {
  assign(false);
  for (int round = 0; round < 12; ++round) {
    const auto simulator = next(round, {kFromTheHost}, kOpen, kOpen);
    const auto sent = packets([&] { return host_; }, [&] { return stranger(); });
    const auto arrived = bed_.leaving_host(pod_, sent);
    for (const auto& packet : sent) {
      EXPECT_EQ(arrived.contains(packet.token), goes(simulator, packet.packet, kFromTheHost))
          << "round " << round << ": " << text_of(packet.packet);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, RandomHostLookups,
                         testing::Combine(testing::Values(Datapath::kNftables, Datapath::kEbpf),
                                          testing::ValuesIn(kFamilies)),
                         name_of);

}  // namespace
}  // namespace ocicat::test
