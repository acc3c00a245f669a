#include "lab/fabric.h"

#include "lab/netns.h"
#include "lab/process.h"

namespace ocicat::lab {
namespace {

constexpr std::string_view kGateway = "169.254.1.1";

IpAddress v6_of(std::uint16_t first_group, int last_groups) {
  IpAddress::Bytes bytes{};
  bytes[0] = static_cast<std::uint8_t>(first_group >> 8);
  bytes[1] = static_cast<std::uint8_t>(first_group & 0xff);
  bytes[14] = static_cast<std::uint8_t>(last_groups >> 8);
  bytes[15] = static_cast<std::uint8_t>(last_groups & 0xff);
  return IpAddress::v6(bytes);
}

std::string single(const IpAddress& address) {
  return Prefix::host(address).to_string();
}

Result<void> batch(const std::string& network_namespace, std::string_view lines) {
  TRY([[maybe_unused]] const auto printed, run({"ip", "-n", network_namespace, "-batch", "-"}, lines));
  return {};
}

// Duplicate address detection would keep addresses unusable for a second; no address here can be taken.
Result<void> settle(const std::string& network_namespace) {
  return in_namespace(network_namespace, [&]() -> Result<void> {
    for (const auto* which : {"all", "default"}) {
      TRY_VOID(set_sysctl(fmt::format("net/ipv6/conf/{}/accept_dad", which), "0"));
      TRY_VOID(set_sysctl(fmt::format("net/ipv6/conf/{}/accept_ra", which), "0"));
      TRY_VOID(set_sysctl(fmt::format("net/ipv6/conf/{}/forwarding", which), "1"));
    }
    return set_sysctl("net/ipv4/ip_forward", "1");
  });
}

}  // namespace

IpAddress node_address(int host, int rack, Family family) {
  if (family == Family::kIpv4)
    return IpAddress::v4(0xac1f0000U + static_cast<std::uint32_t>(rack << 8 | host));
  auto bytes = v6_of(0xfd31, host).bytes();
  bytes[7] = static_cast<std::uint8_t>(rack);
  return IpAddress::v6(bytes);
}

Prefix with_rack(const IpAddress& node) {
  return {node, static_cast<std::uint8_t>(node.is_v4() ? 24 : 64)};
}

Prefix pod_net(Family family) {
  return Prefix{pod_address(0, family), static_cast<std::uint8_t>(family == Family::kIpv4 ? 16 : 112)};
}

IpAddress pod_address(int index, Family family) {
  if (family == Family::kIpv4) return IpAddress::v4(0x0a410000U + static_cast<std::uint32_t>(index));
  return v6_of(0xfd65, index);
}

std::string link_name(const std::string& peer) {
  return fmt::format("to-{}", peer);
}

std::string link_lines(const std::vector<HostWiring>& hosts, std::size_t index) {
  std::string lines;
  for (std::size_t peer = index + 1; peer < hosts.size(); ++peer) {
    lines += fmt::format("link add {} type veth peer name {} netns {}\n", link_name(hosts[peer].name),
                         link_name(hosts[index].name), hosts[peer].network_namespace);
  }
  return lines;
}

std::string host_lines(const std::vector<HostWiring>& hosts, std::size_t index) {
  const auto& self = hosts[index];
  // A host answers for the pods' gateway only where it has a route to it by another interface; on a machine
  // with a default route that is so anyway.
  std::string lines = fmt::format("link set lo up\nroute add {} dev lo scope link\n", kGateway);
  for (const auto& address : {self.ipv4, self.ipv6})
    lines += fmt::format("addr add {} dev lo\n", single(address));
  for (const auto& peer : hosts) {
    if (peer.name == self.name) continue;
    const auto link = link_name(peer.name);
    lines += fmt::format("link set {} up\n", link);
    // On every link too: a neighbour solicitation is answered only for addresses of the interface it comes
    // by.
    lines += fmt::format("addr add {} dev {}\n", single(self.ipv4), link);
    lines += fmt::format("addr add {} dev {} nodad\n", single(self.ipv6), link);
    lines += fmt::format("route add {} dev {} src {}\n", single(peer.ipv4), link, self.ipv4.to_string());
    lines += fmt::format("route add {} dev {} src {}\n", single(peer.ipv6), link, self.ipv6.to_string());
  }
  return lines;
}

Result<void> wire_hosts(const std::vector<HostWiring>& hosts) {
  for (const auto& host : hosts) {
    TRY_VOID(create_namespace(host.network_namespace));
    TRY_VOID(settle(host.network_namespace));
  }
  for (std::size_t index = 0; index + 1 < hosts.size(); ++index) {
    TRY_VOID(batch(hosts[index].network_namespace, link_lines(hosts, index)));
  }
  for (std::size_t index = 0; index < hosts.size(); ++index) {
    TRY_VOID(batch(hosts[index].network_namespace, host_lines(hosts, index)));
  }
  return {};
}

Result<void> must_have_ipip(const HostWiring& host) {
  const auto made =
      batch(host.network_namespace, "link add probe type ipip remote 127.0.0.1\nlink del probe\n");
  if (made) return {};
  return fail(ErrorCode::kUnsupported,
              "this kernel has no IPIP: load its module ipip, or choose another --network, such as vxlan; {}",
              made.error().message);
}

}  // namespace ocicat::lab
