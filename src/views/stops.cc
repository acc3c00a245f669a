#include "views/stops.h"

namespace ocicat::views {
namespace {

using policy::ChainKind;
using policy::Direction;

bool is_workload(const Party& party) {
  return party.endpoint && !party.is_host;
}

bool on_one_host(const Party& a, const Party& b) {
  return !a.node.empty() && a.node == b.node;
}

class Stops {
 public:
  explicit Stops(const Party& here) : host_(here.host_policy) {}

  void ask_host(ChainKind chain, Direction direction, bool unless_accepted = false) {
    if (host_) stops.push_back({host_->endpoint, {chain, direction}, unless_accepted});
  }
  void come_in() {
    ask_host(ChainKind::kUntracked, Direction::kIngress);
    ask_host(ChainKind::kPreDnat, Direction::kIngress, true);
  }
  // Workloads' interfaces belong to a host endpoint for "*" only.
  bool covers_workloads() const { return host_ && host_->all_interfaces; }

  std::vector<Stop> stops;

 private:
  const std::optional<HostPolicy>& host_;
};

void leave(Stops& at, const Party& from, const Party& to) {
  const bool within = on_one_host(from, to);
  if (is_workload(from)) {
    at.stops.push_back({*from.endpoint, {ChainKind::kNormal, Direction::kEgress}, false});
    if (within ? is_workload(to) && at.covers_workloads() : true)
      at.ask_host(ChainKind::kForward, Direction::kEgress);
  } else if (from.is_host && !within) {
    at.ask_host(ChainKind::kUntracked, Direction::kEgress);
    at.ask_host(ChainKind::kNormal, Direction::kEgress, true);
  }
}

void arrive(Stops& at, const Party& from, const Party& to) {
  const bool within = on_one_host(from, to);
  const bool from_own_host = within && from.is_host;
  if (!from_own_host && (!within || at.covers_workloads())) at.come_in();
  if (is_workload(to)) {
    if (from_own_host) return;
    if (!within || at.covers_workloads()) at.ask_host(ChainKind::kForward, Direction::kIngress, true);
    at.stops.push_back({*to.endpoint, {ChainKind::kNormal, Direction::kIngress}, false});
  } else if (to.is_host && !within) {
    at.ask_host(ChainKind::kNormal, Direction::kIngress, true);
  }
}

}  // namespace

std::vector<Stop> stops_of(const Party& from, const Party& to, Direction direction) {
  const auto& here = direction == Direction::kEgress ? from : to;
  Stops at(here);
  direction == Direction::kEgress ? leave(at, from, to) : arrive(at, from, to);
  return std::move(at.stops);
}

}  // namespace ocicat::views
