#include "dataplane/nftables/revocation.h"

#include <algorithm>
#include <vector>

namespace ocicat::dataplane {

using policy::Direction;

ConnectionJudge::ConnectionJudge(const policy::Tables& tables,
                                 const std::map<ResourceKey, EndpointState>& endpoints,
                                 const std::set<IpAddress>& own)
    : tables_(tables), own_(own) {
  for (const auto& [key, endpoint] : endpoints) {
    for (const auto& programs : endpoint.addresses) programs_.emplace(programs.address, programs);
  }
}

// Several workloads may have an address: as long as one of them may, it goes on.
bool ConnectionJudge::denies(Direction direction, const IpAddress& side, const policy::Packet& packet) {
  const auto [begin, end] = programs_.equal_range(side);
  if (begin == end) return false;
  if (!simulator_) simulator_.emplace(tables_);
  const auto& peer = direction == Direction::kIngress ? packet.source : packet.destination;
  return std::all_of(begin, end, [&](const auto& entry) {
    const auto program = direction == Direction::kIngress ? entry.second.ingress : entry.second.egress;
    return simulator_->lookup(program, peer, packet).verdict != policy::Verdict::kAllow;
  });
}

bool ConnectionJudge::denies(const kernel::Connection& connection) {
  if (connection.expected) return false;
  policy::Packet packet;
  packet.source = connection.source;
  packet.destination = connection.destination;
  packet.protocol = connection.protocol;
  packet.source_port = connection.source_port;
  packet.destination_port = connection.destination_port;
  packet.icmp_type = connection.icmp_type;
  packet.icmp_code = connection.icmp_code;
  if (denies(Direction::kEgress, packet.source, packet)) return true;
  return !own_.contains(packet.source) && denies(Direction::kIngress, packet.destination, packet);
}

Result<Revoked> revoke(kernel::ConnectionKernel& kernel, ConnectionJudge& judge, std::uint32_t bit) {
  std::vector<kernel::Connection> denied, allowed;
  TRY_VOID(kernel.list([&](const kernel::Connection& connection) {
    const bool marked = (connection.mark & bit) != 0;
    if (judge.denies(connection) == marked) return;
    (marked ? allowed : denied).push_back(connection);
  }));
  TRY_VOID(kernel.mark(denied, bit, bit));
  TRY_VOID(kernel.mark(allowed, 0, bit));
  return Revoked{denied.size(), allowed.size()};
}

}  // namespace ocicat::dataplane
