#include "network/floating_addresses.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/result.h"

namespace ocicat::network {

// RFC 6890: this network, loopback, link-local; multicast, and all that is above it in IPv4.
bool may_float(const IpAddress& address) {
  static const std::array kNot{*Prefix::parse("0.0.0.0/8"),      *Prefix::parse("127.0.0.0/8"),
                               *Prefix::parse("169.254.0.0/16"), *Prefix::parse("224.0.0.0/3"),
                               *Prefix::parse("::/127"),         *Prefix::parse("fe80::/10"),
                               *Prefix::parse("ff00::/8")};
  return std::ranges::none_of(kNot, [&](const Prefix& net) { return net.contains(address); });
}

void FloatingAddresses::set(const ResourceKey& endpoint, const std::vector<FloatingAddress>& asked) {
  std::map<IpAddress, IpAddress> now;
  for (const auto& [address, own] : asked) now.emplace(address, own);
  const auto known = asked_.find(endpoint);
  if (known == asked_.end() ? now.empty() : known->second == now) return;
  changed_.insert(endpoint);
  if (known != asked_.end()) {
    touch(endpoint);
    for (const auto& [address, own] : known->second) {
      const auto claim = claims_.find(address);
      claim->second.erase(endpoint);
      if (claim->second.empty()) claims_.erase(claim);
    }
    asked_.erase(known);
  }
  if (now.empty()) return;
  for (const auto& [address, own] : now) claims_[address].insert(endpoint);
  asked_.emplace(endpoint, std::move(now));
  touch(endpoint);
}

const ResourceKey* FloatingAddresses::first(const IpAddress& address) const {
  const auto claim = claims_.find(address);
  return claim == claims_.end() ? nullptr : &*claim->second.begin();
}

const IpAddress& FloatingAddresses::own(const ResourceKey& endpoint, const IpAddress& address) const {
  return asked_.at(endpoint).at(address);
}

const std::set<ResourceKey>& FloatingAddresses::claimants(const IpAddress& address) const {
  static const std::set<ResourceKey> kNobody;
  const auto claim = claims_.find(address);
  return claim == claims_.end() ? kNobody : claim->second;
}

const std::map<IpAddress, IpAddress>& FloatingAddresses::asked_by(const ResourceKey& endpoint) const {
  static const std::map<IpAddress, IpAddress> kNothing;
  const auto known = asked_.find(endpoint);
  return known == asked_.end() ? kNothing : known->second;
}

void FloatingAddresses::touch(const ResourceKey& endpoint) {
  for (const auto& [address, own] : asked_by(endpoint)) touched_.insert(address);
}

void FloatingAddresses::touch(const IpAddress& address) {
  if (claims_.contains(address)) touched_.insert(address);
}

void FloatingAddresses::touch_all() {
  for (const auto& [address, claimants] : claims_) touched_.insert(address);
}

}  // namespace ocicat::network
