// Addresses that are given only to who names them.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "network/address_block.h"
#include "resources/ipam.h"

namespace ocicat::network {

class Reservations {
 public:
  Reservations() = default;
  explicit Reservations(std::span<const IpReservation> documents);

  // O(log reserved prefixes).
  bool contains(const IpAddress& address) const { return covering(Prefix::host(address)) != nullptr; }
  // The reserved prefix that all of `prefix` is in; the widest one. nullptr: none.
  const Prefix* covering(const Prefix& prefix) const;
  bool touches(const Prefix& prefix) const;
  // How many addresses of `prefix` are reserved.
  Count count_in(const Prefix& prefix) const;

 private:
  std::vector<Prefix> prefixes_;  // sorted, none in another
};

}  // namespace ocicat::network
