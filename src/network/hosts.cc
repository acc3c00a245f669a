#include "network/hosts.h"

#include <algorithm>
#include <utility>

#include "base/digest.h"

namespace ocicat::network {

MacAddress vtep_mac(std::string_view node, Family family) {
  std::string text(node);
  if (family == Family::kIpv6) text += "-v6";
  const auto hash = sha1(text);
  MacAddress mac;
  mac.bytes[0] = 0x66;
  std::copy_n(hash.begin(), 5, mac.bytes.begin() + 1);
  return mac;
}

void Hosts::claim(const std::string& name, const Host& host, std::vector<IpAddress>& touched) {
  for (const auto& address : host.addresses) {
    if (!address) continue;
    names_by_address_[address->address].insert(name);
    touched.push_back(address->address);
  }
}

void Hosts::leave(const std::string& name, const Host& host, std::vector<IpAddress>& touched) {
  for (const auto& address : host.addresses) {
    if (!address) continue;
    const auto it = names_by_address_.find(address->address);
    it->second.erase(name);
    if (it->second.empty()) names_by_address_.erase(it);
    touched.push_back(address->address);
  }
}

std::optional<Vtep> Hosts::vtep_of(const Node& node, Family family, Known& known) {
  const std::size_t index = family == Family::kIpv4 ? 0 : 1;
  const auto& tunnel = node.vxlan[index];
  if (!tunnel.address) return std::nullopt;
  if (tunnel.mac) return Vtep{*tunnel.address, *tunnel.mac};
  auto& mac = known.macs[index];
  if (!mac) mac = vtep_mac(node.metadata.name, family);
  return Vtep{*tunnel.address, *mac};
}

Hosts::Changed Hosts::set(const Node& node) {
  const auto& name = node.metadata.name;
  const auto [it, is_new] = hosts_.try_emplace(name);
  auto& known = it->second;
  const Host host{.addresses = {node.ipv4, node.ipv6},
                  .vteps = {vtep_of(node, Family::kIpv4, known), vtep_of(node, Family::kIpv6, known)},
                  .ipip = node.ipip};
  Changed changed;
  if (!is_new && known.host == host) return changed;
  leave(name, known.host, changed.peers);
  known.host = host;
  claim(name, host, changed.peers);
  changed.host = true;
  return changed;
}

Hosts::Changed Hosts::remove(const std::string& name) {
  Changed changed;
  const auto it = hosts_.find(name);
  if (it == hosts_.end()) return changed;
  leave(name, it->second.host, changed.peers);
  hosts_.erase(it);
  changed.host = true;
  return changed;
}

const Host* Hosts::find(std::string_view name) const {
  const auto it = hosts_.find(name);
  return it == hosts_.end() ? nullptr : &it->second.host;
}

std::optional<Peer> Hosts::peer(const IpAddress& address, const std::optional<std::string>& own) const {
  const auto it = names_by_address_.find(address);
  if (it == names_by_address_.end() || (own && *it->second.begin() == *own)) return std::nullopt;
  return Peer{.vtep = find(*it->second.begin())->vtep(address.family())};
}

}  // namespace ocicat::network
