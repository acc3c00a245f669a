#include "network/hosts.h"

#include <openssl/evp.h>

#include <algorithm>
#include <utility>

#include "base/result.h"

namespace ocicat::network {
namespace {

std::optional<Vtep> vtep_of(const Node& node, Family family) {
  const auto& tunnel = node.vxlan[family == Family::kIpv4 ? 0 : 1];
  if (!tunnel.address) return std::nullopt;
  return Vtep{*tunnel.address, tunnel.mac.value_or(vtep_mac(node.metadata.name, family))};
}

}  // namespace

MacAddress vtep_mac(std::string_view node, Family family) {
  std::string text(node);
  if (family == Family::kIpv6) text += "-v6";
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> sum{};
  CHECK(EVP_Q_digest(nullptr, "SHA1", nullptr, text.data(), text.size(), sum.data(), nullptr) == 1);
  MacAddress mac;
  mac.bytes[0] = 0x66;
  std::copy_n(sum.begin(), 5, mac.bytes.begin() + 1);
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

Hosts::Changed Hosts::set(const Node& node) {
  const Host host{.addresses = {node.ipv4, node.ipv6},
                  .vteps = {vtep_of(node, Family::kIpv4), vtep_of(node, Family::kIpv6)},
                  .ipip = node.ipip};
  const auto& name = node.metadata.name;
  const auto [it, is_new] = hosts_.try_emplace(name);
  Changed changed;
  if (!is_new && it->second == host) return changed;
  leave(name, it->second, changed.peers);
  it->second = host;
  claim(name, host, changed.peers);
  changed.host = true;
  return changed;
}

Hosts::Changed Hosts::remove(const std::string& name) {
  Changed changed;
  const auto it = hosts_.find(name);
  if (it == hosts_.end()) return changed;
  leave(name, it->second, changed.peers);
  hosts_.erase(it);
  changed.host = true;
  return changed;
}

const Host* Hosts::find(std::string_view name) const {
  const auto it = hosts_.find(name);
  return it == hosts_.end() ? nullptr : &it->second;
}

std::optional<Peer> Hosts::peer(const IpAddress& address, const std::optional<std::string>& own) const {
  const auto it = names_by_address_.find(address);
  if (it == names_by_address_.end() || (own && *it->second.begin() == *own)) return std::nullopt;
  return Peer{.vtep = hosts_.at(*it->second.begin()).vtep(address.family())};
}

}  // namespace ocicat::network
