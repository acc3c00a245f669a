#include "ipam/tunnel_address.h"

#include <array>

namespace ocicat::ipam {
namespace {

struct Names {
  std::string_view handle;
  std::string_view type;
  Family family;
};

// As Calico names them, since its tools go by these.
const Names& names_of(Tunnel tunnel) {
  static constexpr std::array<Names, 5> kNames{
      Names{"ipip-tunnel-addr", "ipipTunnelAddress", Family::kIpv4},
      Names{"vxlan-tunnel-addr", "vxlanTunnelAddress", Family::kIpv4},
      Names{"vxlan-v6-tunnel-addr", "vxlanV6TunnelAddress", Family::kIpv6},
      Names{"wireguard-tunnel-addr", "wireguardTunnelAddress", Family::kIpv4},
      Names{"wireguard-v6-tunnel-addr", "wireguardV6TunnelAddress", Family::kIpv6}};
  return kNames.at(static_cast<std::size_t>(tunnel));
}

}  // namespace

std::string tunnel_handle(Tunnel tunnel, std::string_view host) {
  return fmt::format("{}-{}", names_of(tunnel).handle, host);
}

AssignRequest tunnel_request(Tunnel tunnel, std::string host) {
  const Names& names = names_of(tunnel);
  AssignRequest request;
  request.handle = tunnel_handle(tunnel, host);
  request.attributes = {{"node", host}, {"type", std::string(names.type)}};
  request.host = std::move(host);
  (names.family == Family::kIpv4 ? request.ipv4 : request.ipv6) = 1;
  request.use = PoolUse::kTunnel;
  return request;
}

}  // namespace ocicat::ipam
