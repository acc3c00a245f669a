#include "netns/agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "netns/host_ear.h"
#include "policy/model.h"
#include "test/support/describe.h"
#include "test/support/random_snapshot.h"
#include "test/support/shrink.h"

namespace ocicat::test {
namespace {

using dataplane::Datapath;
using policy::ChainKind;
using policy::Direction;
using policy::Hook;
using policy::Snapshot;
using policy::Verdict;

bool is_workload(Place place) {
  return place == Place::kA || place == Place::kB;
}

// The interface of the host at which it is.
std::string interface_of(Place place) {
  switch (place) {
    case Place::kOutside:
      return "uplink";
    case Place::kA:
      return "calia";
    case Place::kB:
      return "calib";
    case Place::kHost:
      return "lo";
  }
  CHECK(false);
}

dataplane::Links links_of_host() {
  dataplane::Links links;
  for (const auto place : {Place::kOutside, Place::kA, Place::kB, Place::kHost}) {
    const auto name = interface_of(place);
    links[name] = {.index = static_cast<int>(links.size()) + 1, .name = name, .up = true};
  }
  links["uplink"].addresses = {Testbed::host_address(Family::kIpv4), Testbed::host_address(Family::kIpv6)};
  return links;
}

bool is_ours(const Resource& resource) {
  // Failsafe ports let markers through.
  if (std::holds_alternative<HostEndpoint>(resource) || std::holds_alternative<FelixConfiguration>(resource))
    return true;
  const auto* endpoint = std::get_if<WorkloadEndpoint>(&resource);
  return endpoint != nullptr && endpoint->node == "host1";
}

// Of a policy whose selector cannot be read, the last version that could be stays in force: what it means depends
// on what it was, which the evaluator does not know.
bool is_unreadable(const Resource& resource) {
  const auto* policy = std::get_if<NetworkPolicy>(&resource);
  return policy != nullptr && !policy::effective(*policy);
}

bool is_failsafe(const policy::Judgement& judgement) {
  return std::ranges::any_of(judgement.trace,
                             [](const auto& step) { return step.rule == policy::TraceStep::kFailsafe; });
}

std::string text_of(const Phase& phase, const Said& said, const Answers& answers) {
  const auto& packet = said.packet.packet;
  const auto about = said.about ? fmt::format(" about protocol {} ports {} {}", said.about->protocol,
                                              said.about->source_port, said.about->destination_port)
                                : std::string();
  return fmt::format(
      "{} from {} to {}: {} -> {} protocol {} ports {} {} icmp {}/{}{}: the evaluator {}, tables {}, "
      "nftables {}, eBPF {}{}",
      phase.what, name_of(phase.from), name_of(phase.to), packet.source.to_string(),
      packet.destination.to_string(), packet.protocol, packet.source_port, packet.destination_port,
      packet.icmp_type, packet.icmp_code, about, answers.evaluator, answers.tables, answers.nftables,
      answers.ebpf, answers.said);
}

}  // namespace

std::string_view name_of(Place place) {
  switch (place) {
    case Place::kOutside:
      return "outside";
    case Place::kA:
      return "a";
    case Place::kB:
      return "b";
    case Place::kHost:
      return "the host";
  }
  CHECK(false);
}

Addresses addresses_of(Place place) {
  const auto both = [](const char* v4, const char* v6) {
    return Addresses{*IpAddress::parse(v4), *IpAddress::parse(v6)};
  };
  switch (place) {
    case Place::kA:
      return both("10.65.0.2", "fd00:65::2");
    case Place::kB:
      return both("10.65.0.3", "fd00:65::3");
    case Place::kOutside:
      return both("203.0.113.9", "2001:db8:9::9");
    case Place::kHost:
      return {Testbed::host_address(Family::kIpv4), Testbed::host_address(Family::kIpv6)};
  }
  CHECK(false);
}

bool Answers::agree() const {
  if (!counts) return true;
  if (evaluator != tables || tables != nftables) return false;
  if (ebpf_may_refuse && ebpf == 0) return true;
  // Of what is judged by its first fragment, eBPF has none that comes before that; nftables keeps it.
  return ebpf == (shape == Shape::kReversed ? evaluator & 1U : evaluator);
}

ServedHost::ServedHost(Datapath datapath) : policy_(bed_, datapath) {
  bed_.host().run([] {
    // Linux checks sums of UDP-Lite over IPv4 as if they were of UDP, and takes right ones for wrong.
    shell("sysctl -qw net.netfilter.nf_conntrack_checksum=0");
    // What the kernel says by itself would answer first: it has no socket with an owner.
    shell(
        "nft 'add table inet quiet; add chain inet quiet out { type filter hook output priority -400; };"
        "add rule inet quiet out meta skuid 0 accept;"
        "add rule inet quiet out icmpv6 type { 133, 134, 135, 136 } accept;"
        "add rule inet quiet out drop'");
  });
}

Station& ServedHost::station(Place place) {
  CHECK(place != Place::kHost);
  return place == Place::kOutside ? bed_.outside() : place == Place::kA ? a_ : b_;
}

std::set<std::uint32_t> ServedHost::arriving(const Phase& phase) {
  const auto send = [&] {
    if (phase.from == Place::kHost) {
      std::vector<RawPacket> packets;
      for (const auto& said : phase.said) packets.push_back(said.packet);
      bed_.send_of_host(packets);
      return;
    }
    std::vector<Station::Bytes> packets;
    for (const auto& said : phase.said) std::ranges::move(bytes_of(said), std::back_inserter(packets));
    station(phase.from).send_past_rules(packets);
  };
  if (phase.to != Place::kHost) return bed_.arriving(station(phase.to), send);
  if (phase.said.empty()) return {};
  const HostEar ear(bed_, phase.said.front().packet.packet.family());
  return ear.arriving(bed_.outside(), send);
}

void Four::begin() {
  engine_ = Engine({.node = "host1", .dictionary = {}});
  snapshot_.clear();
  state_ = {};
  interfaces_ = {};
  for (auto* host : {&nftables_, &ebpf_}) {
    HostChanges first;
    first.settings.emplace();
    host->policy_.start_anew();
    host->policy_.assign(interfaces_);
    host->policy_.apply(first);
    host->policy_.resync();
  }
}

void Four::become(const Snapshot& snapshot, bool drops_invalid) {
  auto changes = engine_.update(ResourceChanges::between(snapshot_, snapshot));
  if (!changes.settings && drops_invalid != drops_invalid_) changes.settings = state_.settings;
  drops_invalid_ = drops_invalid;
  if (changes.settings) changes.settings->drop_invalid = drops_invalid;
  snapshot_ = snapshot;
  changes.apply_to(state_);
  interfaces_ = dataplane::assign_interfaces(state_.host_endpoints, links_of_host());
  for (auto* host : {&nftables_, &ebpf_}) {
    host->policy_.assign(interfaces_);
    host->policy_.apply(changes);
    if (!host->policy_.policy().in_step()) host->policy_.resync();
  }
}

std::vector<Answers> Four::ask(const std::vector<Phase>& phases, Census* census) {
  const policy::Evaluator evaluator(snapshot_);
  const policy::Simulator simulator(state_.tables);
  for (auto* host : {&nftables_, &ebpf_}) host->policy_.forget_connections();
  const Says evaluates = [&](const ResourceKey& key, Hook hook, const policy::Packet& packet) {
    const auto outcome = evaluator.evaluate(key, hook.direction, packet, hook.chain);
    if (census != nullptr) {
      const bool of_host = key.kind == Kind::kHostEndpoint;
      ++(*census)[fmt::format("{} {} {}: {}{}", of_host ? to_string(hook.chain) : "workload",
                              to_string(hook.direction), packet.family() == Family::kIpv4 ? "IPv4" : "IPv6",
                              to_string(outcome.verdict), is_failsafe(outcome) ? " by failsafe port" : "")];
    }
    return outcome.verdict;
  };
  const Says looks_up = [&](const ResourceKey& key, Hook hook, const policy::Packet& packet) {
    return look_up(simulator, key, hook, packet);
  };
  Memory of_evaluator, of_tables;
  // First packets of which it is nobody's to say what has to become of what follows; and those where a workload may have
  // been let send what a host endpoint has refused: with eBPF that counts as begun by the workload all the same.
  std::set<std::uint32_t> open_ended, begun_in_vain;
  std::vector<Answers> all;
  for (const auto& phase : phases) {
    const auto by_nftables = nftables_.arriving(phase), by_ebpf = ebpf_.arriving(phase);
    const Way way{phase.from, phase.to};
    const bool forwarded = way.from != Place::kHost && way.to != Place::kHost;
    for (const auto& said : phase.said) {
      const unsigned whole = all_parts_of(said);
      const auto first = first_token_of(said);
      const bool is_first = said.packet.token == first;
      const bool is_untracked = untracked(way, said.packet.packet, looks_up) == Verdict::kAllow;
      all.push_back({.evaluator = passes(of_evaluator, way, said, evaluates) ? whole : 0,
                     .tables = passes(of_tables, way, said, looks_up) ? whole : 0,
                     .nftables = parts_of(said, by_nftables),
                     .ebpf = parts_of(said, by_ebpf),
                     .shape = said.shape,
                     .counts = is_first || (!open_ended.contains(first) && !(forwarded && is_untracked)),
                     .ebpf_may_refuse = !is_first && begun_in_vain.contains(first)});
      // Programs at workloads track what untracked policy has allowed. What a host says to itself its kernel's
      // tracking knows once it has left, though it may not come in then.
      if (forwarded ? is_untracked : is_first && way.from == way.to && all.back().evaluator == 0)
        open_ended.insert(first);
      if (is_workload(way.from) && all.back().evaluator == 0) begun_in_vain.insert(first);
      if (!all.back().agree()) {
        const Says tells = [&](const ResourceKey& key, Hook hook, const policy::Packet& packet) {
          const auto verdict = evaluator.evaluate(key, hook.direction, packet, hook.chain).verdict;
          all.back().said += fmt::format("; {} {} {} {}", key.to_string(), to_string(hook.chain),
                                         to_string(hook.direction), to_string(verdict));
          return verdict;
        };
        may_pass(way, said.packet.packet, tells);
      }
      if (census != nullptr)
        ++(*census)[fmt::format("{} from {} to {}: {}", phase.what, name_of(phase.from), name_of(phase.to),
                                all.back().evaluator != 0 ? "passes" : "ends")];
    }
  }
  return all;
}

std::optional<ResourceKey> Four::holder_of(const std::string& interface) const {
  const auto* holder = interfaces_.holder_of(interface);
  return holder == nullptr ? std::optional<ResourceKey>() : *holder;
}

std::optional<ResourceKey> Four::comes_by(Way way) const {
  if (way.from == Place::kHost && way.to != Place::kHost) return {};
  return holder_of(interface_of(way.from));
}

std::optional<ResourceKey> Four::leaves_by(Way way) const {
  if (way.to == Place::kHost && way.from != Place::kHost) return {};
  return holder_of(interface_of(way.to));
}

const ResourceKey& Four::workload(Place place) const {
  const auto interface = interface_of(place);
  const auto found = std::ranges::find_if(
      state_.endpoints, [&](const auto& entry) { return entry.second.interface_name == interface; });
  CHECK(found != state_.endpoints.end());
  return found->first;
}

Verdict Four::look_up(const policy::Simulator& simulator, const ResourceKey& key, Hook hook,
                      const policy::Packet& packet) const {
  const bool in = hook.direction == Direction::kIngress;
  const auto &own = in ? packet.destination : packet.source, &peer = in ? packet.source : packet.destination;
  if (key.kind == Kind::kHostEndpoint) {
    const auto chain = state_.host_endpoints.at(key).chain(own.family(), hook);
    return chain == policy::ChainId{} ? Verdict::kNone : simulator.lookup(chain, own, peer, packet).verdict;
  }
  const auto& addresses = state_.endpoints.at(key).addresses;
  const auto programs = std::ranges::find(addresses, own, &AddressPrograms::address);
  if (programs == addresses.end()) return Verdict::kDeny;
  return simulator.lookup(in ? programs->ingress : programs->egress, peer, packet).verdict;
}

// semantics.md 2.3 and 2.4.
bool Four::may_pass(Way way, const policy::Packet& packet, const Says& says) const {
  using enum ChainKind;
  const bool of_host = way.from == Place::kHost, to_host = way.to == Place::kHost;
  // A host may always reach its own.
  if (of_host && is_workload(way.to)) return true;
  const auto comes = comes_by(way), leaves = leaves_by(way);
  // At one interface, in order: what one of them allows, the others are not asked about.
  const auto at_interface = [&](const auto& holder, Direction direction,
                                std::initializer_list<ChainKind> chains) {
    if (!holder) return true;
    for (const auto chain : chains) {
      const auto verdict = says(*holder, {chain, direction}, packet);
      if (verdict != Verdict::kNone) return verdict == Verdict::kAllow;
    }
    return true;
  };
  const auto at_workload = [&](Place place, Direction direction) {
    return says(workload(place), {kNormal, direction}, packet) == Verdict::kAllow;
  };
  if (of_host && !at_interface(leaves, Direction::kEgress, {kUntracked, kNormal})) return false;
  if (of_host && !to_host) return true;
  if (is_workload(way.from)) {
    if (!(to_host ? at_interface(comes, Direction::kIngress, {kPreDnat})
                  : at_interface(comes, Direction::kIngress, {kPreDnat, kForward})))
      return false;
    if (!at_workload(way.from, Direction::kEgress)) return false;
    if (to_host) return state_.settings.endpoint_to_host != HostSettings::ToHost::kDrop;
  } else if (!at_interface(comes, Direction::kIngress,
                           {kUntracked, kPreDnat, to_host ? kNormal : kForward})) {
    return false;
  }
  if (to_host) return true;
  if (is_workload(way.to) && !at_workload(way.to, Direction::kIngress)) return false;
  return at_interface(leaves, Direction::kEgress, {kForward});
}

Verdict Four::untracked(Way way, const policy::Packet& packet, const Says& says) const {
  const bool of_host = way.from == Place::kHost;
  if (is_workload(way.from) || (of_host && is_workload(way.to))) return Verdict::kNone;
  const auto holder = of_host ? leaves_by(way) : comes_by(way);
  if (!holder) return Verdict::kNone;
  return says(*holder, {ChainKind::kUntracked, of_host ? Direction::kEgress : Direction::kIngress}, packet);
}

bool Four::passes(Memory& memory, Way way, const Said& said, const Says& says) const {
  const auto judge = [&](const policy::Packet& packet) { return may_pass(way, packet, says); };
  // It comes before what is remembered, and what it allows is not.
  if (untracked(way, said.packet.packet, says) != Verdict::kNone) return judge(said.packet.packet);
  // Nobody looks at what a host sends to its own.
  const bool drops_invalid = drops_invalid_ && !(way.from == Place::kHost && is_workload(way.to));
  return memory.passes(said, judge, drops_invalid);
}

Snapshot snapshot_for_two(Random& random, std::size_t policies) {
  auto snapshot = random_snapshot(random, {.policies = policies});
  constexpr std::array kLeftOut{Kind::kHostEndpoint, Kind::kFelixConfiguration, Kind::kNode, Kind::kIpPool,
                                Kind::kIpamBlock};
  std::erase_if(snapshot, [&](const auto& entry) {
    return std::ranges::find(kLeftOut, entry.first.kind) != kLeftOut.end() || is_unreadable(entry.second);
  });
  std::size_t number = 0;
  for (auto& [key, resource] : snapshot) {
    auto* endpoint = std::get_if<WorkloadEndpoint>(&resource);
    if (endpoint == nullptr) continue;
    endpoint->node = "host0";
    endpoint->allowed_source_prefixes.clear();
    if (number == 2) continue;
    const auto place = number == 0 ? Place::kA : Place::kB;
    endpoint->node = "host1";
    endpoint->interface_name = interface_of(place);
    endpoint->addresses = {addresses_of(place).v4, addresses_of(place).v6};
    ++number;
  }
  if (number < 2) return snapshot_for_two(random, policies);
  return snapshot;
}

bool can_be_sent(const policy::Packet& packet, const IpAddress& own) {
  static const std::vector<Prefix> kNowhere = [] {
    std::vector<Prefix> nets;
    for (const auto* text :
         {"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.0.2.0/24", "224.0.0.0/3", "10.65.0.2/31", "::/8",
          "fe80::/10", "ff00::/8", "2001:db8::/64", "fd00:65::2/127"})
      nets.push_back(*Prefix::parse(text));
    return nets;
  }();
  const auto& peer = packet.source == own ? packet.destination : packet.source;
  if (std::ranges::any_of(kNowhere, [&](const Prefix& net) { return net.contains(peer); })) return false;
  switch (packet.protocol) {
    case kTcp:
    case kUdp:
    case kSctp:
    case kUdpLite:
    case 47:
    case 99:
      return true;
    case kIcmp:
      return own.is_v4() && packet.icmp_type == 8;
    case kIcmpV6:
      return !own.is_v4() && packet.icmp_type == 128;
    default:
      return false;
  }
}

std::optional<Disagreement> first_disagreement(const std::vector<Phase>& phases,
                                               const std::vector<Answers>& answers) {
  std::map<std::uint32_t, RawPacket> first;
  auto answer = answers.begin();
  for (const auto& phase : phases) {
    for (const auto& said : phase.said) {
      first.try_emplace(first_token_of(said), said.packet);
      if (!answer->agree())
        return Disagreement{text_of(phase, said, *answer), first.at(first_token_of(said))};
      ++answer;
    }
  }
  return std::nullopt;
}

std::string smallest_case(Four& four, const Snapshot& snapshot, bool drops_invalid,
                          const std::vector<Phase>& phases) {
  using Entry = std::pair<ResourceKey, Resource>;
  Snapshot ours;
  std::vector<Entry> others;
  for (const auto& [key, resource] : snapshot) {
    if (is_ours(resource)) ours.emplace(key, resource);
    if (!is_ours(resource)) others.emplace_back(key, resource);
  }
  const auto with_ours = [&](const std::vector<Entry>& some) {
    auto all = ours;
    all.insert(some.begin(), some.end());
    return all;
  };
  const auto at = [&](const std::vector<Entry>& some) {
    four.become(with_ours(some), drops_invalid);
    return first_disagreement(phases, four.ask(phases));
  };
  const auto left = shrink(others, [&](const auto& some) { return at(some).has_value(); }, 200);
  const auto still = at(left);
  std::string text = still ? still->text : "(not when it is asked alone)";
  for (const auto& [key, resource] : with_ours(left))
    text += fmt::format("\n{}: {}", key.to_string(), describe(resource));
  return text;
}

}  // namespace ocicat::test
