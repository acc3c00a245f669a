// Ethernet addresses.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/short_hash.h"

namespace ocicat {

struct MacAddress {
  std::array<std::uint8_t, 6> bytes{};

  // Six pairs of hexadecimal digits between colons.
  static std::optional<MacAddress> parse(std::string_view text);
  std::string to_string() const;  // in lower case
  // No group's, and not all zeros.
  bool is_of_one_interface() const { return (bytes[0] & 1) == 0 && *this != MacAddress{}; }

  auto operator<=>(const MacAddress&) const = default;
  friend std::size_t hash_value(const MacAddress& mac) {
    return short_hash(std::as_bytes(std::span(mac.bytes)));
  }
};

}  // namespace ocicat
