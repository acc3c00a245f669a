#include "dataplane/nftables/revocation.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace ocicat::dataplane {

using policy::ChainKind;
using policy::Direction;
using policy::Verdict;

namespace {

constexpr const char* kLoopback = "lo";
constexpr std::size_t kMarkedAtOnce = 128;

policy::Packet first_packet(const kernel::Connection& connection) {
  policy::Packet packet;
  packet.source = connection.source;
  packet.destination = connection.destination;
  packet.protocol = connection.protocol;
  packet.source_port = connection.source_port;
  packet.destination_port = connection.destination_port;
  packet.icmp_type = connection.icmp_type;
  packet.icmp_code = connection.icmp_code;
  return packet;
}

// Whose lot it shares: a helper of the kernel may have opened the way for it.
const kernel::Connection& opener_of(const kernel::Connection& connection) {
  return connection.master ? opener_of(*connection.master) : connection;
}

// Gives connections the value of a bit, some at once while a round goes on: what it finds early ends before it does, and need
// not be kept.
class Marks {
 public:
  Marks(kernel::ConnectionKernel& kernel, std::uint32_t value, std::uint32_t bit)
      : kernel_(kernel), value_(value), bit_(bit) {}

  void add(const kernel::Connection& connection) {
    waiting_.push_back(connection);
    ++count_;
    if (waiting_.size() == kMarkedAtOnce) write();
  }
  // How many there were.
  Result<std::size_t> finish() {
    write();
    return done_ ? Result<std::size_t>(count_) : std::unexpected(done_.error());
  }

 private:
  void write() {
    if (done_ && !waiting_.empty()) done_ = kernel_.mark(waiting_, value_, bit_);
    waiting_.clear();
  }

  kernel::ConnectionKernel& kernel_;
  std::uint32_t value_, bit_;
  std::vector<kernel::Connection> waiting_;
  std::size_t count_ = 0;
  Result<void> done_;
};

}  // namespace

ConnectionJudge::ConnectionJudge(const Judgement& by) : by_(by) {
  for (const auto& [key, endpoint] : by_.endpoints) {
    for (const auto& programs : endpoint.addresses)
      workloads_.emplace(programs.address, Workload{programs, &endpoint.interface_name});
    // A program that is not there denies all.
    for (const auto& address : endpoint.denied)
      workloads_.emplace(address, Workload{{address}, &endpoint.interface_name});
    for (const auto& source : endpoint.sources) senders_.try_emplace(source).first->push_back(&endpoint);
  }
}

const policy::Simulator& ConnectionJudge::simulator() {
  if (!simulator_) simulator_.emplace(by_.tables);
  return *simulator_;
}

// Where no rule has noted who sent it, as of what eBPF has let through, the way back tells.
bool ConnectionJudge::is_from_elsewhere(const kernel::Connection& connection) {
  if ((connection.mark & by_.elsewhere_mark) != 0) return true;
  const auto& source = connection.source;
  if (workloads_.contains(source) || by_.own.contains(source)) return false;
  bool leads_there = false;
  senders_.visit_covering(source, [&](const Prefix&, const auto& endpoints) {
    leads_there = std::ranges::any_of(
        endpoints, [&](const auto* endpoint) { return endpoint->interface_name == way(source); });
    return leads_there;
  });
  return leads_there;
}

// Several workloads may have an address, or may send from there: as long as one of them may, it goes on.
bool ConnectionJudge::denies_sender(const kernel::Connection& connection, const policy::Packet& packet) {
  const auto [begin, end] = workloads_.equal_range(packet.source);
  const bool allowed = std::any_of(begin, end, [&](const auto& entry) {
    return simulator().lookup(entry.second.programs.egress, packet.destination, packet).verdict ==
           Verdict::kAllow;
  });
  if (!is_from_elsewhere(connection)) return begin != end && !allowed;
  bool allowed_there = false;  // who may not send from there any more, may do nothing there
  senders_.visit_covering(packet.source, [&](const Prefix&, const auto& endpoints) {
    allowed_there = std::ranges::any_of(endpoints, [&](const auto* endpoint) {
      const auto chain = endpoint->source_chain(packet.source.family());
      return simulator().lookup(chain, packet.source, packet.destination, packet).verdict == Verdict::kAllow;
    });
    return allowed_there;
  });
  return !allowed && !allowed_there;
}

bool ConnectionJudge::denies_receiver(const policy::Packet& packet) {
  const auto [begin, end] = workloads_.equal_range(packet.destination);
  if (begin == end || by_.own.contains(packet.source)) return false;
  return std::all_of(begin, end, [&](const auto& entry) {
    return simulator().lookup(entry.second.programs.ingress, packet.source, packet).verdict !=
           Verdict::kAllow;
  });
}

std::string ConnectionJudge::interface_of(const IpAddress& address) {
  if (by_.own.contains(address)) return kLoopback;
  if (const auto workload = workloads_.find(address); workload != workloads_.end())
    return *workload->second.interface;
  if (by_.interfaces.by_name.empty()) return {};  // all are alike
  return way(address);
}

const std::string& ConnectionJudge::way(const IpAddress& address) {
  const auto [known, is_new] = ways_.try_emplace(address);
  if (is_new) known->second = by_.way(address);
  return known->second;
}

const HostEndpointState* ConnectionJudge::host_endpoint_at(const std::string& interface) const {
  const auto* holder = by_.interfaces.holder_of(interface);
  if (holder == nullptr) return nullptr;
  const auto found = by_.host_endpoints.find(*holder);
  return found == by_.host_endpoints.end() ? nullptr : &found->second;
}

Verdict ConnectionJudge::ask(const HostEndpointState* endpoint, policy::Hook hook,
                             const policy::Packet& packet) {
  if (endpoint == nullptr) return Verdict::kNone;
  const auto chain = endpoint->chain(packet.source.family(), hook);
  const bool comes = hook.direction == Direction::kIngress;
  return simulator()
      .lookup(chain, comes ? packet.destination : packet.source, comes ? packet.source : packet.destination,
              packet)
      .verdict;
}

// What untracked policy allows is not tracked, and what it denies does not come by (semantics.md 2.4).
bool ConnectionJudge::denies_at_hosts(const kernel::Connection& connection, const policy::Packet& packet) {
  if (by_.host_endpoints.empty()) return false;
  const bool from_host = by_.own.contains(packet.source), to_host = by_.own.contains(packet.destination);
  const bool from_workload = workloads_.contains(packet.source) || is_from_elsewhere(connection);
  const bool forwarded = !from_host && !to_host;
  if (from_host && workloads_.contains(packet.destination)) return false;
  const auto* in = from_host && !to_host ? nullptr : host_endpoint_at(interface_of(packet.source));
  const auto* out = to_host && !from_host ? nullptr : host_endpoint_at(interface_of(packet.destination));
  auto asked = packet;
  asked.destination = connection.asked;
  asked.destination_port = connection.asked_port;
  const auto early = ask(in, {ChainKind::kPreDnat, Direction::kIngress}, asked);
  if (early == Verdict::kDeny) return true;
  const auto kind = forwarded ? ChainKind::kForward : ChainKind::kNormal;
  const bool is_asked = early == Verdict::kNone && (forwarded || !from_workload);
  if (is_asked && ask(in, {kind, Direction::kIngress}, packet) == Verdict::kDeny) return true;
  return ask(out, {kind, Direction::kEgress}, packet) == Verdict::kDeny;
}

bool ConnectionJudge::denies(const kernel::Connection& tracked) {
  const auto& connection = opener_of(tracked);
  const auto packet = first_packet(connection);
  return denies_sender(connection, packet) || denies_receiver(packet) || denies_at_hosts(connection, packet);
}

bool ConnectionJudge::is_of(const Renewed& renewed, const kernel::Connection& tracked) {
  const auto& connection = opener_of(tracked);
  return renewed.addresses.contains(connection.source) ||
         renewed.addresses.contains(connection.destination) ||
         (renewed.sources && is_from_elsewhere(connection));
}

Result<Revoked> revoke(kernel::ConnectionKernel& kernel, ConnectionJudge& judge, std::uint32_t bit,
                       const Renewed* only) {
  Marks denied(kernel, bit, bit), allowed(kernel, 0, bit);
  std::size_t marked_before = 0;
  TRY_VOID(kernel.list([&](const kernel::Connection& connection) {
    const bool marked = (connection.mark & bit) != 0;
    if (marked) ++marked_before;
    if (only != nullptr && !marked && !judge.is_of(*only, connection)) return;
    if (judge.denies(connection) == marked) return;
    (marked ? allowed : denied).add(connection);
  }));
  TRY(const auto newly_denied, denied.finish());
  TRY(const auto newly_allowed, allowed.finish());
  return Revoked{newly_denied, newly_allowed, marked_before + newly_denied - newly_allowed};
}

}  // namespace ocicat::dataplane
