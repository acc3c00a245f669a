#include "flows/replay.h"

#include <linux/netfilter.h>

#include <algorithm>

#include "flows/headers.h"

namespace ocicat::flows {
namespace {

using policy::ChainKind;
using policy::Direction;
using policy::OutcomeId;
using policy::Verdict;

// In the order in which they are asked. `early`: what is let through has been so before others are asked.
std::vector<ChainKind> chains_at(std::uint8_t hook, bool early) {
  if (early) return {ChainKind::kUntracked, ChainKind::kPreDnat};
  switch (hook) {
    case NF_INET_PRE_ROUTING:
      return {ChainKind::kUntracked, ChainKind::kPreDnat};
    case NF_INET_FORWARD:
      return {ChainKind::kForward};
    case NF_INET_LOCAL_OUT:
      return {ChainKind::kUntracked, ChainKind::kNormal};
    default:
      return {ChainKind::kNormal};
  }
}

Event event_of(const Headers& headers, const kernel::LoggedPacket& logged) {
  const auto& packet = headers.packet;
  Event event;
  event.time = logged.time.value_or(std::chrono::system_clock::now());
  event.source = packet.source;
  event.destination = packet.destination;
  event.protocol = packet.protocol;
  event.source_port = packet.source_port;
  event.destination_port = packet.protocol == kIcmp || packet.protocol == kIcmpV6
                               ? static_cast<std::uint16_t>(packet.icmp_type << 8 | packet.icmp_code)
                               : packet.destination_port;
  event.comes_in = logged.came_by != 0;
  event.from_host =
      logged.hook == NF_INET_LOCAL_OUT || (logged.hook == NF_INET_POST_ROUTING && !event.comes_in);
  event.interface = event.comes_in ? logged.came_by : logged.leaves_by;
  event.reason = find_reason(logged.prefix).value_or(Reason::kOther);
  event.size = headers.size;
  return event;
}

}  // namespace

Replay::Replay(NameOf name_of, AskedFor asked_for)
    : tables_(std::make_unique<policy::Tables>()),
      simulator_(*tables_),
      name_of_(std::move(name_of)),
      asked_for_(std::move(asked_for)) {}

void Replay::update(const HostChanges& changes) {
  tables_->apply(changes.tables);
  simulator_.changed(changes.tables.classes);
  if (!changes.tables.empty() || !changes.endpoints.empty() || !changes.host_endpoints.empty()) changed();
  changes.host_endpoints.apply_to(host_endpoints_);
  if (changes.settings) accept_mark_ = changes.settings->accept_mark;
  if (changes.endpoints.empty()) return;
  changes.endpoints.apply_to(endpoints_);
  programs_.clear();
  for (const auto& [key, endpoint] : endpoints_) {
    for (const auto& programs : endpoint.addresses) programs_.emplace(programs.address, programs);
  }
}

bool Replay::says(OutcomeId outcome, Verdict verdict) const {
  const auto found = tables_->outcomes.find(outcome);
  return found != tables_->outcomes.end() && found->second.verdict == verdict;
}

// Of the workload here; 0 where there is none. Of several with one address the first counts.
OutcomeId Replay::answer(const policy::Packet& packet, Direction end) const {
  const bool egress = end == Direction::kEgress;
  const auto found = programs_.find(egress ? packet.source : packet.destination);
  if (found == programs_.end()) return {};
  return simulator_.find(egress ? found->second.egress : found->second.ingress,
                         egress ? packet.destination : packet.source, packet);
}

const HostEndpointState* Replay::host_endpoint_at(std::uint32_t interface) const {
  const auto* holder = interface == 0 ? nullptr : interfaces_.holder_of(name_of_(interface));
  const auto found = holder == nullptr ? host_endpoints_.end() : host_endpoints_.find(*holder);
  return found == host_endpoints_.end() ? nullptr : &found->second;
}

OutcomeId Replay::answer_at_host(const policy::Packet& packet, const kernel::LoggedPacket& logged,
                                 Direction end, Verdict verdict) const {
  const bool egress = end == Direction::kEgress;
  const auto* endpoint = host_endpoint_at(egress ? logged.leaves_by : logged.came_by);
  if (endpoint == nullptr) return {};
  const bool early = verdict == Verdict::kAllow && (logged.mark & accept_mark_) != 0;
  for (const auto chain : chains_at(logged.hook, early)) {
    const auto id = endpoint->chain(packet.family(), {chain, end});
    if (id == policy::ChainId{}) continue;
    auto question = packet;
    if (early && chain == ChainKind::kPreDnat && has_ports(packet.protocol)) {
      const auto asked = asked_for_(packet);
      if (!asked) continue;
      question.destination = asked->address;
      question.destination_port = asked->port;
    }
    const auto outcome = simulator_.find(id, egress ? packet.source : question.destination,
                                         egress ? packet.destination : packet.source, question);
    if (says(outcome, verdict)) return outcome;
  }
  return {};
}

void Replay::events_of(const kernel::LoggedPacket& logged,
                       const std::function<void(const Event&)>& visit) const {
  const auto headers = headers_of(logged.packet);
  if (!headers) return;
  const auto& packet = headers->packet;
  auto event = event_of(*headers, logged);
  const auto tell = [&](Direction end, OutcomeId outcome) {
    event.end = end;
    event.outcomes = {};
    event.outcome(end) = outcome;
    visit(event);
  };
  const bool from_here = logged.came_by != 0 && has(packet.source), to_here = has(packet.destination);
  if (event.allowed()) {
    // What the host sends to its own workloads nobody is asked about.
    if (event.from_host && to_here) return tell(Direction::kIngress, {});
    if (event.from_host)
      return tell(Direction::kEgress, answer_at_host(packet, logged, Direction::kEgress, Verdict::kAllow));
    const auto allowed = [&](Direction end) {
      const auto outcome = answer(packet, end);
      tell(end, says(outcome, Verdict::kAllow) ? outcome : OutcomeId{});
    };
    if (from_here) allowed(Direction::kEgress);
    if (to_here) allowed(Direction::kIngress);
    if (!from_here && !to_here)
      tell(Direction::kIngress, answer_at_host(packet, logged, Direction::kIngress, Verdict::kAllow));
    return;
  }
  // Others than policy name no outcome; they are told by whom the packet came from, if it did from here.
  const bool by_policy = event.reason == Reason::kPolicy || event.reason == Reason::kRevoked;
  for (const auto end : {Direction::kEgress, Direction::kIngress}) {
    const auto outcome = by_policy ? answer(packet, end) : OutcomeId{};
    if (says(outcome, Verdict::kDeny)) return tell(end, outcome);
  }
  const bool spoofed = event.reason == Reason::kSpoofed;
  const auto end = spoofed || from_here || event.from_host ? Direction::kEgress : Direction::kIngress;
  for (const auto side : {Direction::kIngress, Direction::kEgress}) {
    const auto outcome = by_policy ? answer_at_host(packet, logged, side, Verdict::kDeny) : OutcomeId{};
    if (outcome != OutcomeId{}) return tell(side, outcome);
  }
  tell(end, {});
}

OutcomeId Replay::first_allowing(const HostEndpointState& endpoint, Direction end,
                                 std::initializer_list<ChainKind> chains, const policy::Packet& packet,
                                 const policy::Packet& asked) const {
  const bool egress = end == Direction::kEgress;
  for (const auto chain : chains) {
    const auto id = endpoint.chain(packet.family(), {chain, end});
    if (id == policy::ChainId{}) continue;
    const auto& question = chain == ChainKind::kPreDnat ? asked : packet;
    const auto outcome = simulator_.find(id, egress ? question.source : question.destination,
                                         egress ? question.destination : question.source, question);
    if (says(outcome, Verdict::kAllow)) return outcome;
    if (says(outcome, Verdict::kDeny)) return {};
  }
  return {};
}

// What a host forwards is told once, as it comes.
void Replay::add_ends_at_hosts(const kernel::Connection& connection, const policy::Packet& packet,
                               const Ways& ways, Ends& ends) const {
  using enum ChainKind;
  const bool from_host = ways.is_own(packet.source), to_host = ways.is_own(packet.destination);
  const auto side = [&](const IpAddress& address) {
    return from_host && to_host ? Ways::kLoopback : ways.leads_to(address);
  };
  auto asked = packet;
  asked.destination = connection.asked;
  asked.destination_port = connection.asked_port;
  const auto tell = [&](Direction end, const HostEndpointState* by, ChainKind kind) {
    ends.tells[static_cast<std::size_t>(end)] = true;
    if (by == nullptr) return;
    auto& outcome = ends.outcomes[static_cast<std::size_t>(end)];
    outcome = end == Direction::kIngress ? first_allowing(*by, end, {kPreDnat, kind}, packet, asked)
                                         : first_allowing(*by, end, {kind}, packet, asked);
  };
  if (from_host) {
    const auto leaves_by = side(packet.destination);
    if (const auto* endpoint = host_endpoint_at(leaves_by)) {
      ends.from_host = true;
      ends.interface = leaves_by;
      tell(Direction::kEgress, endpoint, kNormal);
    }
  }
  if (from_host && !to_host) return;
  const auto* in = host_endpoint_at(side(packet.source));
  const auto* out = to_host ? nullptr : host_endpoint_at(side(packet.destination));
  if (in != nullptr || out != nullptr) tell(Direction::kIngress, in, to_host ? kNormal : kForward);
}

Ends Replay::ends_of(const kernel::Connection& connection, const Ways& ways) const {
  policy::Packet packet;
  packet.source = connection.source;
  packet.destination = connection.destination;
  packet.protocol = connection.protocol;
  packet.source_port = connection.source_port;
  packet.destination_port = connection.destination_port;
  packet.icmp_type = connection.icmp_type;
  packet.icmp_code = connection.icmp_code;
  Ends ends;
  const std::array here{has(packet.source), has(packet.destination)};
  if (!here[0] && !here[1]) {
    if (!host_endpoints_.empty()) add_ends_at_hosts(connection, packet, ways, ends);
    return ends;
  }
  for (const auto end : {Direction::kEgress, Direction::kIngress}) {
    const bool egress = end == Direction::kEgress;
    if (!here[egress ? 0 : 1]) continue;
    ends.tells[static_cast<std::size_t>(end)] = true;
    if (!egress && !here[0] && ways.is_own(packet.source)) continue;  // a host may always reach its own
    const auto outcome = answer(packet, end);
    if (says(outcome, Verdict::kAllow)) ends.outcomes[static_cast<std::size_t>(end)] = outcome;
  }
  return ends;
}

}  // namespace ocicat::flows
