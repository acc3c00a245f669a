#include "kernel/simulated_tunnels.h"

#include <algorithm>

namespace ocicat::kernel {

std::optional<Error> SimulatedTunnels::fault() {
  ++calls_;
  return fail_when ? fail_when(calls_) : std::nullopt;
}

Result<SimulatedTunnels::Device*> SimulatedTunnels::device(int link) {
  if (const auto error = fault()) return std::unexpected(*error);
  const auto it = devices.find(link);
  if (it == devices.end()) return fail(ErrorCode::kNotFound, "no link {}", link);
  return &it->second;
}

Result<std::optional<VxlanLink>> SimulatedTunnels::vxlan(const std::string& name) {
  if (const auto error = fault()) return std::unexpected(*error);
  const auto it = std::ranges::find(devices, name, [](const auto& entry) { return entry.second.name; });
  if (it == devices.end()) return std::nullopt;
  return it->second.link;
}

Result<TunnelKernel::Parent> SimulatedTunnels::parent(const IpAddress& address) {
  if (const auto error = fault()) return std::unexpected(*error);
  const auto it = parents.find(address);
  if (it == parents.end()) return fail(ErrorCode::kNotFound, "nobody has {}", address.to_string());
  return it->second;
}

Result<void> SimulatedTunnels::create(const std::string& name, const VxlanConfig& config) {
  if (const auto error = fault()) return std::unexpected(*error);
  const auto index = ++last_index_;
  devices[index] = {.name = name,
                    .link = {.index = index, .config = config, .mtu = 1500, .up = false},
                    .addresses = {},
                    .mac_by_address = {},
                    .host_by_mac = {}};
  ++changes;
  return {};
}

Result<std::optional<IpipLink>> SimulatedTunnels::ipip(const std::string& name) {
  TRY(const auto link, vxlan(name));
  if (!link) return std::nullopt;
  return IpipLink{link->index, link->mtu, link->up, devices.at(link->index).ours};
}

Result<void> SimulatedTunnels::create_ipip(const std::string& name) {
  return create(name, {});
}

Result<void> SimulatedTunnels::raise_ipip(int link, std::uint32_t mtu) {
  TRY_VOID(raise(link, mtu));
  devices.at(link).ours = true;
  return {};
}

Result<void> SimulatedTunnels::lower_ipip(int link) {
  TRY(auto* found, device(link));
  found->link.up = found->ours = false;
  ++changes;
  return {};
}

Result<void> SimulatedTunnels::remove(int link) {
  if (const auto error = fault()) return std::unexpected(*error);
  changes += devices.erase(link);
  return {};
}

Result<bool> SimulatedTunnels::offloads_checksums(const std::string& name) {
  if (const auto error = fault()) return std::unexpected(*error);
  for (const auto& [index, there] : devices) {
    if (there.name == name) return there.offloads;
  }
  return fail(ErrorCode::kNotFound, "no link {}", name);
}

Result<void> SimulatedTunnels::offload_checksums(const std::string& name, bool on) {
  if (const auto error = fault()) return std::unexpected(*error);
  for (auto& [index, there] : devices) {
    if (there.name != name) continue;
    there.offloads = on;
    ++changes;
    return {};
  }
  return fail(ErrorCode::kNotFound, "no link {}", name);
}

Result<void> SimulatedTunnels::raise(int link, std::uint32_t mtu) {
  TRY(auto* found, device(link));
  found->link.up = true;
  found->link.mtu = mtu;
  ++changes;
  return {};
}

Result<std::set<IpAddress>> SimulatedTunnels::addresses(int link) {
  TRY(const auto* found, device(link));
  return found->addresses;
}
Result<void> SimulatedTunnels::add_address(int link, const IpAddress& address) {
  TRY(auto* found, device(link));
  changes += found->addresses.insert(address).second;
  return {};
}
Result<void> SimulatedTunnels::remove_address(int link, const IpAddress& address) {
  TRY(auto* found, device(link));
  changes += found->addresses.erase(address);
  return {};
}

Result<std::set<Neighbour>> SimulatedTunnels::neighbours(int link) {
  TRY(const auto* found, device(link));
  std::set<Neighbour> all;
  for (const auto& [address, mac] : found->mac_by_address) all.insert({address, mac});
  return all;
}
Result<void> SimulatedTunnels::add(int link, const Neighbour& neighbour) {
  TRY(auto* found, device(link));
  found->mac_by_address.insert_or_assign(neighbour.address, neighbour.mac);
  ++changes;
  return {};
}
Result<void> SimulatedTunnels::remove(int link, const Neighbour& neighbour) {
  TRY(auto* found, device(link));
  changes += found->mac_by_address.erase(neighbour.address);
  return {};
}

Result<std::set<ForwardingEntry>> SimulatedTunnels::forwarding(int link) {
  TRY(const auto* found, device(link));
  std::set<ForwardingEntry> all;
  for (const auto& [mac, host] : found->host_by_mac) all.insert({mac, host});
  return all;
}
Result<void> SimulatedTunnels::add(int link, const ForwardingEntry& entry) {
  TRY(auto* found, device(link));
  found->host_by_mac.insert_or_assign(entry.mac, entry.host);
  ++changes;
  return {};
}
Result<void> SimulatedTunnels::remove(int link, const ForwardingEntry& entry) {
  TRY(auto* found, device(link));
  changes += found->host_by_mac.erase(entry.mac);
  return {};
}

}  // namespace ocicat::kernel
