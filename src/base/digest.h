// A short name for a long meaning, the same in every process and at every start.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace ocicat {

// The first 128 bits of SHA-256. Cryptographic, since tenants choose the labels that go into it: two meanings
// that could be made to share a digest would share a verdict.
struct Digest {
  std::array<std::uint8_t, 16> bytes{};

  static Digest of(std::string_view meaning);
  std::string to_hex() const;
  auto operator<=>(const Digest&) const = default;
  friend std::size_t hash_value(const Digest& digest) {
    std::size_t value = 0;
    std::memcpy(&value, digest.bytes.data(), sizeof value);
    return value;
  }
};

}  // namespace ocicat

template <>
struct std::hash<ocicat::Digest> {
  std::size_t operator()(const ocicat::Digest& digest) const { return hash_value(digest); }
};
