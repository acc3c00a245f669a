#include "network/reservations.h"

#include <algorithm>
#include <utility>

namespace ocicat::network {

namespace {

// One family behind the other: as numbers, those of IPv4 lie amid IPv6.
auto place_of(const IpAddress& address) {
  return std::pair(address.family(), address);
}
auto place_in_order(const Prefix& prefix) {
  return std::pair(place_of(prefix.address), prefix.length);
}
auto first_of(const Prefix& prefix) {
  return place_of(prefix.address);
}

}  // namespace

Reservations::Reservations(std::span<const IpReservation> documents) {
  std::vector<Prefix> all;
  for (const auto& document : documents) {
    for (const auto& cidr : document.cidrs) all.push_back(cidr.masked());
  }
  std::ranges::sort(all, {}, place_in_order);  // of two with one address the wider comes first
  for (const auto& prefix : all) {
    if (prefixes_.empty() || !prefixes_.back().contains(prefix)) prefixes_.push_back(prefix);
  }
}

const Prefix* Reservations::covering(const Prefix& prefix) const {
  const auto after = std::ranges::upper_bound(prefixes_, place_of(prefix.first()), {}, first_of);
  if (after == prefixes_.begin()) return nullptr;
  const Prefix& last = *std::prev(after);
  return last.contains(prefix) ? &last : nullptr;
}

bool Reservations::touches(const Prefix& prefix) const {
  if (covering(prefix) != nullptr) return true;
  const auto inside = std::ranges::lower_bound(prefixes_, place_of(prefix.first()), {}, first_of);
  return inside != prefixes_.end() && prefix.contains(*inside);
}

Count Reservations::count_in(const Prefix& prefix) const {
  if (covering(prefix) != nullptr) return size_of(prefix);
  Count count = 0;
  for (const auto& reserved : prefixes_) {
    if (prefix.contains(reserved)) count += size_of(reserved);
  }
  return count;
}

}  // namespace ocicat::network
