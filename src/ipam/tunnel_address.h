// Addresses of hosts' own tunnel devices.
#pragma once

#include <string>
#include <string_view>

#include "ipam/allocator.h"

namespace ocicat::ipam {

enum class Tunnel : std::uint8_t { kIpip, kVxlan, kVxlanV6, kWireguard, kWireguardV6 };

// "vxlan-tunnel-addr-host1": under which the host's address is found again.
std::string tunnel_handle(Tunnel tunnel, std::string_view host);
// One address for the host's device, noted as such, from pools that allow the use Tunnel. Which of them have
// the encapsulation is for the caller to say (`pools`).
AssignRequest tunnel_request(Tunnel tunnel, std::string host);

}  // namespace ocicat::ipam
